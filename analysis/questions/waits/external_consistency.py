"""What commit-wait is for: whoever begins after another's release gets the later timestamp (external consistency).

J. C. Corbett et al., Spanner, OSDI 2012, section 4.1.2. No absolute time is needed to see it broken: if the reference
proves that a wait on one node began after a release on another, its timestamp must be the greater. Each wait is held
against the greatest timestamp of all waits of another node that were provably released before it began.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.by_event.event_rows import RawStamps
from analysis.questions.waits import holds
from analysis.stats import rates
from analysis.stats.dependence import Latent, dependence, segments_of_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints
    from analysis.questions.judges import Probed
    from analysis.questions.waits.holds import Held


@dataclass(frozen=True)
class Consistency:
    """One source's waits: of those that provably began after a release elsewhere, how many got no later timestamp."""

    source: str
    reason: str
    violated: rates.Rate | None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        if self.violated is None:
            return {"status": "not_evaluable", "reason": self.reason}
        return {"status": "evaluated", "violated": self.violated.as_dict()}


@dataclass(frozen=True)
class _Waits:
    """One node's waits, by the instant they began and by the instant they were released, on its raw oscillator.

    ``samples`` and ``greatest_samples`` number the samples that the timestamps beside them were taken from, -1: none.
    """

    begun_raw: Ints
    event_ids: Ints
    assigned: Ints
    samples: Ints
    released_raw: Ints
    greatest: Ints  # of the timestamps released until then
    greatest_samples: Ints


def judge(held: Mapping[str, Held], reference: Probed | None, source: str) -> Consistency:
    """Judge one source's waits, of every node, by the reference of the probe mesh."""
    if reference is None or reference.reason:
        return Consistency(source, reference.reason if reference else "no reference", None)
    numbers: dict[str, int] = {}
    waits = {node: found for node, own in held.items() if (found := _waits(holds.of_node(own, node), numbers))}
    parts: list[tuple[NDArray[Any], ...]] = []
    for released, began in permutations(waits, 2):
        first, second = waits[released], waits[began]
        earlier = _released_before(reference, released, first, began, second)
        judged, before = earlier >= 0, np.maximum(earlier, 0)
        violated = judged & (second.assigned <= first.greatest[before])
        later_ns = (second.assigned - first.greatest[before]).astype(np.float64)
        parts.append((second.event_ids, judged, violated, later_ns, second.samples, first.greatest_samples[before]))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if not columns or not columns[1].any():
        return Consistency(source, "no wait provably began after a release on another node", None)
    event_ids, judged, violated, later_ns, *samples = (column[columns[1]] for column in columns)
    order = np.argsort(event_ids, kind="stable")
    return Consistency(source, "", rate(violated[order], later_ns[order], *(column[order] for column in samples)))


def rate(hits: Bools, margins_ns: Floats, *samples: Ints) -> rates.Rate:
    """Return a rate of waits in order of time, each with the samples it rests on, and by how much it was no hit.

    Samples are numbered together, -1 for none. Where none is there nobody knows what the waits share, and they are a
    mere count.
    """
    if not any((column >= 0).any() for column in samples):
        return rates.rate(int(hits.sum()), len(hits))
    judged = np.ones(len(hits), dtype=np.bool_)
    shared = dependence(segments_of_any(*samples), Latent(margins_ns, judged))
    return rates.rate_of(hits, judged, shared)


def _waits(held: Held, numbers: dict[str, int]) -> _Waits | None:
    """Return the waits of a node that say when; None where none began, or none was released."""
    (samples,) = holds.numbered((held.begun_sample,), numbers)
    begun, released = (
        some[np.argsort(instants.ns[some], kind="stable")]
        for instants in (held.begun, held.released)
        for some in (np.flatnonzero(instants.known),)
    )
    if not len(begun) or not len(released):
        return None
    assigned = held.released_assigned.ns[released]
    greatest = np.maximum.accumulate(assigned)
    holder = np.maximum.accumulate(np.where(assigned == greatest, np.arange(len(assigned)), 0))
    return _Waits(
        begun_raw=held.begun.ns[begun],
        event_ids=held.event_ids[begun],
        assigned=held.begun_assigned.ns[begun],
        samples=samples[begun],
        released_raw=held.released.ns[released],
        greatest=greatest,
        greatest_samples=samples[released[holder]],
    )


def _released_before(reference: Probed, node: str, held: _Waits, other: str, began: _Waits) -> Ints:
    """Return, per wait of the other node, a release that provably came before it began, the last; -1 if there is none.

    A wait's start less what the lag is at least is the latest that counts on the first node's oscillator: looked for
    twice from the release of the same rank, then proved. What is not proved is not judged. Releases of one node are
    in order, so that with one of them all earlier ones are proved too.
    """
    shown = reference.shown(node, other, _exact(began.begun_raw))
    releases = held.released_raw
    latest = releases[np.minimum(np.arange(len(began.begun_raw)), len(releases) - 1)]
    for _ in range(2):
        latest = latest + reference.lag_from(node, _exact(latest), other, shown).low
    place = np.searchsorted(releases, latest) - 1
    proved = np.full(len(place), -1, dtype=np.int64)
    for candidate in (place, place - 1):
        unproved = (proved < 0) & (candidate >= 0)
        if not unproved.any():
            break
        lag = reference.lag_from(node, _exact(releases[np.maximum(candidate, 0)]), other, shown)
        proved = np.where(unproved & lag.known & (lag.low > 0), candidate, proved)
    return proved


def _exact(raw: Ints) -> RawStamps:
    return RawStamps(raw, np.zeros(len(raw), dtype=np.int64), np.ones(len(raw), dtype=np.bool_))
