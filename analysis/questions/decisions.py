"""What every question yields, its decisions, and what every answer is made of: their counts.

A question says which label a clock gives to each event. Nothing here knows which question it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from analysis.stats import counts as counting
from analysis.stats.counts import Counts, FirstServed, Outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.arrays import Bools, Ints, Labels
    from analysis.stats.dependence import Latent

ALL: Final = "all"
MESSAGES_PER_ROUND: Final = 2  # a question and an answer


@dataclass(frozen=True)
class Decisions:
    """What one clock of a source says of each event, in order of time, and what it is judged by.

    ``labels`` are those of ``verdicts``. ``received``: there was something to decide on. ``due``: it had to be decided.
    ``samples``: per clock that has a part in it, which sample served first where: what events share.
    ``latents``: the quantities whose crossing of a limit makes the label. ``by_ground_truth``: the labels that are
    right. ``reasons``: why labels are not evaluable, counted. ``messages``: what a round about each event would send.
    ``values``: quantities to summarise, in ns. ``tallies``: counts of their own.
    """

    question: str
    source: str
    clock: str
    subject: str
    labels: Labels
    received: Bools
    due: Bools
    samples: tuple[FirstServed, ...]
    latents: tuple[Latent, ...] = ()
    by_ground_truth: Mapping[str, Labels] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    messages: Ints | None = None
    values: Mapping[str, Ints] = field(default_factory=dict)
    tallies: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Return what these decisions are about."""
        return self.question, self.source, self.clock, self.subject


Key = tuple[str, str, str, str]  # question, source, clock, subject


def count(parts: Sequence[Decisions]) -> Counts:
    """Return the counts of several nodes' decisions about the same events, taken together."""
    latents = zip(*(part.latents for part in parts), strict=True)
    reasons, tallies = Counter[str](), Counter[str]()
    for part in parts:
        reasons.update(part.reasons)
        tallies.update(part.tallies)
    return counting.counts(
        [Outcomes(part.labels, part.received, part.due, part.by_ground_truth) for part in parts],
        [served for part in parts for served in part.samples],
        list(latents),
        messages=[part.messages for part in parts if part.messages is not None] or MESSAGES_PER_ROUND,
        values={name: tuple(part.values[name] for part in parts) for name in parts[0].values},
        reasons=reasons,
        tallies=tallies,
    )
