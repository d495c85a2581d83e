"""Commit-wait: how often waiting makes an ambiguous event certain.

Of the (event, worker) pairs ambiguous at first, the share certain with the uncertainty re-measured at each delay, and
how many of these proved and how many violated (certain of what cannot be, or of a wrong window): the estimates stay,
their half-widths become what the source claimed that much later (ntp: the half-width; chronotick: its sigma times the
configured multiplier), at the coordinator as well where it re-measured. Real commit-waits are counted by outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event import scopes, utc, verdicts
from analysis.by_event.table import INTERVAL
from analysis.questions import answers, decisions, judges
from analysis.questions.answers import Answer, Answers, Judgement
from analysis.questions.causality import QUESTION as CAUSALITY
from analysis.questions.decisions import Decisions
from analysis.questions.true_windows import DIFFER, SAME
from analysis.questions.waits import held_events, remeasurement
from analysis.questions.waits.remeasurement import Remeasured, Width, again_as_wide
from analysis.questions.windows import MS_NS, WINDOW_SIZES_MS
from analysis.run import csv_tables
from analysis.stats import rates
from analysis.stats.counts import first_served
from analysis.stats.dependence import Latent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from analysis.arrays import Bools, Floats, Labels
    from analysis.by_event.event_rows import Instants
    from analysis.by_event.table import Readings, Table
    from analysis.questions.decisions import Key
    from analysis.questions.judges import Judge
    from analysis.questions.waits.holds import Held
    from analysis.questions.waits.remeasurement import Claimed
    from analysis.stats.counts import Counts, Outcomes

    Growth = Floats | None  # how much wider a node's claim became, in ns; None: it never measured again

QUESTION: Final = "commit_wait"
STATISTICS_FILE: Final = "commit_wait_stats.json"
ABSOLUTE: Final = "which window it was is absolute, and the reference knows lags only"
RATES: Final = (
    "ambiguous_at_first", "certain_after", "proved_after", "violated_after", "receive_interval_contains_truth"
)  # fmt: skip
CERTAIN: Final = "certain_is_right"  # ground truths: whether what became certain is right,
CONTAINED: Final = "contains_truth"  # and whether the re-measured receive interval has the true time in it


@dataclass(frozen=True)
class CommitWait(Answers):
    """All results; empty tuples where nothing was re-measured, or nothing waited.

    An answer's subject is ``subject(question, delay)``. Of what was ambiguous at first, and re-measured, ``certain`` is
    decided with the re-measured width: ``proved`` rightly, ``violated`` wrongly. Causality is violated whatever the
    truth; a window only where a truth is known. Both know the server's root distance (see ``utc``): a certain window
    may be neither, and where the root distance is not known nothing is said.
    """

    widths: tuple[Width, ...]
    waits: tuple[held_events.Waits, ...]
    planned_share: float | None  # of the events, to be held by real commit-waits; None where the manifest does not say

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {question: {delay: …}, uncertainty: {delay: …}}}, commit_waits: …}``."""
        sources: dict[str, Any] = {}
        for answer in self:
            question, delay_s = asked(answer)
            sources.setdefault(answer.source, {}).setdefault(question, {})[f"{delay_s:g}s"] = _as_dict(answer)
        for width in self.widths:
            spreads = ("uncertainty_ms", "half_width_ms", "read_half_width_ms")
            sources.setdefault(width.source, {}).setdefault("uncertainty", {})[f"{width.delay_s:g}s"] = {
                "available": rates.rate(width.available, width.due).as_dict(),
                "unavailable": width.reasons,
                **{name: getattr(width, name).as_dict() for name in spreads},
                "claim": width.claim,
                "lateness_ms": width.late_ms.as_dict(),
            }
        return {"sources": sources, "commit_waits": {wait.source: wait.as_dict() for wait in self.waits}}


def compute(
    table: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS, known: Sequence[Judge] | None = None
) -> CommitWait:
    """Judge causality and windows again with every re-measured uncertainty, beside the judges (None: all there are)."""
    judging = judges.of(table) if known is None else known
    measured = Remeasured(table)
    counts = count(table, judging, measured, window_sizes_ms)
    return result(table, counts, judging, measured.claimed, measured.waits)


def result(
    table: Table,
    counts: Iterable[tuple[Key, Counts]],
    judging: Sequence[Judge],
    claimed: Mapping[tuple[str, float], Claimed],
    held: Mapping[str, Mapping[str, Held]],
) -> CommitWait:
    """Return the answers that are in the counts, what was claimed again, and all real commit-waits.

    ``held``: these, by node and source.
    """
    widths = [width for source in table.sources for width in remeasurement.widths(table.run, claimed, source)]
    probed = next((judge for judge in judging if isinstance(judge, judges.Probed)), None)
    waits = held_events.judge(table.run, probed, held)
    csv_tables.release_memory()
    worker = table.run.manifest.config.get("worker") or {}
    planned = (worker.get("timing") or {}).get("commit_wait_share")
    return CommitWait(answer(counts, judging), tuple(widths), waits, None if planned is None else float(planned))


def count(
    table: Table, known: Sequence[Judge], measured: Remeasured, window_sizes_ms: Sequence[int]
) -> Iterator[tuple[Key, Counts]]:
    """Yield the counts of every source, question and delay, of all workers together."""
    for parts in decide(table, known, measured, window_sizes_ms):
        yield parts[0].key, decisions.count(parts)


def answer(counts: Iterable[tuple[Key, Counts]], known: Sequence[Judge]) -> tuple[Answer, ...]:
    """Return the answers that are in the counts."""
    return tuple(_answer(key, part, known) for key, part in counts)


def decide(
    table: Table, known: Sequence[Judge], measured: Remeasured, window_sizes_ms: Sequence[int]
) -> Iterator[list[Decisions]]:
    """Yield, per source, delay and question, the decisions of all workers.

    What they are due for is what was ambiguous at first; labels are those of what was re-measured of it.
    """
    telling = [judge for judge in known if not judge.reason]
    flights = {worker: {judge.name: judge.flights(worker).order for judge in telling} for worker in table.present}
    for source in table.sources:
        factor = held_events.half_width_per_uncertainty(table.run, source)
        if factor is None:
            continue
        true = {worker: _True.of(table, worker, source) for worker in table.present}
        for delay in measured.delays(source):
            grown = {node: measured.growth_ns(node, source, delay, factor) for node in table.nodes}
            yield [
                _flight(table, source, delay, worker, grown, true[worker], flights[worker]) for worker in table.present
            ]
            for width_ms in window_sizes_ms:
                yield [
                    _window(table.readings(worker, source), delay, grown[worker], true[worker], width_ms)
                    for worker in table.present
                ]


@dataclass(frozen=True)
class _True:
    """What readings of one source on one worker are judged by: the true instants, None where there are none.

    ``root``: the root distance of their server. ``about_the_server``: which of them are about its own clock.
    """

    instants: Instants | None
    root: utc.RootDistance
    about_the_server: Bools

    @classmethod
    def of(cls, table: Table, worker: str, source: str) -> _True:
        root, about_server = utc.of(table, worker, source), scopes.about_the_server(table, worker, source)
        return cls(table.truth(worker), root, about_server)

    def contained(self, readings: Readings, judged: Bools) -> Labels:
        """Label which intervals contain the true time (SAME), and which do not, where that can be told.

        Of readings of a server's time with its root distance added; not of those that are about the server's own clock.
        """
        if self.instants is None:
            return np.zeros(len(judged), dtype=np.int8)
        to_utc = utc.absolute(readings, self.root)
        known = judged & self.instants.known & to_utc.bounded & ~self.about_the_server
        inside = (to_utc.earliest <= self.instants.ns) & (self.instants.ns <= to_utc.latest)
        return verdicts.labelled(known, inside, ~inside)


def _flight(
    table: Table,
    source: str,
    delay: float,
    worker: str,
    grown: Mapping[str, Growth],
    true: _True,
    by_judge: Mapping[str, Labels],
) -> Decisions:
    """Judge one worker's flights again."""
    send, receive = table.sends(worker, source), table.readings(worker, source)
    first = verdicts.intervals(send, receive)
    wider = again_as_wide(receive, grown[worker])
    labels = verdicts.intervals(again_as_wide(send, grown[table.coordinator_id]), wider)
    judged = (first == verdicts.AMBIGUOUS) & (labels != verdicts.NOT_EVALUABLE) & (grown[worker] is not None)
    return Decisions(
        question=QUESTION,
        source=source,
        clock=INTERVAL,
        subject=subject(CAUSALITY, delay),
        labels=verdicts.among(judged, labels),
        received=first != verdicts.NOT_EVALUABLE,
        due=first == verdicts.AMBIGUOUS,
        samples=(first_served(send.sample), first_served(receive.sample)),
        latents=verdicts.latents(INTERVAL, send, receive),
        by_ground_truth={CERTAIN: labels, CONTAINED: true.contained(wider, judged), **by_judge},
    )


def _window(first: Readings, delay: float, grown: Growth, true: _True, width_ms: int) -> Decisions:
    """Judge one worker's windows again. Ambiguous means here: it is not certain of the receipt's window."""
    width = width_ms * MS_NS
    unclear = first.bounded & (first.earliest // width != first.latest // width)
    wider = again_as_wide(first, grown)
    judged = unclear & wider.bounded & (grown is not None)
    decided = judged & (wider.earliest // width == wider.latest // width)
    right = wrong = np.zeros(len(decided), dtype=np.bool_)
    untold = decided
    if true.instants is not None:
        right, wrong = utc.window_verdicts(wider, true.root, true.instants, width)
        untold = decided & ~(true.instants.known & true.root.known)
    certain = np.where(right, SAME, np.where(wrong, DIFFER, verdicts.AMBIGUOUS)).astype(np.int8)
    return Decisions(
        question=QUESTION,
        source=first.source,
        clock=INTERVAL,
        subject=subject(f"window_{width_ms}ms", delay),
        labels=verdicts.among(judged, np.where(decided, verdicts.BEFORE, verdicts.AMBIGUOUS)),
        received=first.bounded,
        due=unclear,
        samples=(first_served(first.sample),),
        latents=(Latent(first.latest - first.earliest, first.bounded),),
        by_ground_truth={CERTAIN: certain, CONTAINED: true.contained(wider, judged)},
        tallies={"untold": int(untold.sum()), "truthless": int(true.instants is None)},
    )


def subject(question: str, delay_s: float) -> str:
    """Return the subject of an answer about a question after a delay."""
    return f"{question} after {delay_s:g}s"


def asked(answer: Answer) -> tuple[str, float]:
    """Return the question and the delay (s) that an answer is about."""
    question, _, delay = answer.subject.partition(" after ")
    return question, float(delay.removesuffix("s"))


def _certainly(label: int) -> answers.Metric:
    """Return the metric of what became certain and is right (SAME) or wrong, among what was re-measured."""
    return lambda outcomes: (
        answers.decided(outcomes) & (outcomes.by_truth[CERTAIN] == label),
        answers.evaluable(outcomes),
    )


def _contains(outcomes: Outcomes) -> tuple[Bools, Bools]:
    inside = outcomes.by_truth[CONTAINED]
    return inside == SAME, inside != verdicts.NOT_EVALUABLE


def _answer(key: Key, counts: Counts, known: Sequence[Judge]) -> Answer:
    shares = {
        "ambiguous_at_first": answers.rate(counts, lambda found: (found.due, found.received)),
        "certain_after": answers.rate(counts, answers.share_of(verdicts.BEFORE, verdicts.AFTER)),
    }
    if not counts.tallies.get("untold") and not counts.tallies.get("truthless"):
        shares["proved_after"] = answers.rate(counts, _certainly(SAME))
        shares["violated_after"] = answers.rate(counts, _certainly(DIFFER))
    contained = answers.rate(counts, _contains)
    if contained.denominator:
        shares["receive_interval_contains_truth"] = contained
    if key[3].startswith(CAUSALITY):
        judged = tuple(answers.judged(counts, judge.name, judge.reason) for judge in known)
    else:
        probed = [judge for judge in known if judge.name == judges.REFERENCE]
        judged = tuple(Judgement(judge.name, judge.reason or ABSOLUTE) for judge in probed)
    return Answer(*key, counts=counts.summary, rates=shares, judgements=judged)


def ambiguous(answer: Answer) -> int:
    """Return how many pairs were ambiguous at first."""
    return answer.rates["ambiguous_at_first"].numerator


def not_remeasured(answer: Answer) -> int:
    """Return how many of these have no re-measured claim."""
    return ambiguous(answer) - answer.rates["certain_after"].denominator


def _as_dict(answer: Answer) -> dict[str, Any]:
    rates_of = {name: answer.rates[name].as_dict() if name in answer.rates else None for name in RATES}
    return {**rates_of, "not_remeasured": not_remeasured(answer), "against": answer.against}
