"""What a timeline shows of one source on one node: a difference over time, its interval, and where that contradicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.clocks import coverage
from analysis.run import verdicts
from analysis.stats import rates, thinning

if TYPE_CHECKING:
    from analysis.arrays import Bools, Floats, Ints
    from analysis.clocks.standards import Errors
    from analysis.run.table import Readings, Table

US: Final = 1_000.0


@dataclass(frozen=True)
class Trace:
    """Some points of a line (``thinning`` says which): seconds since the run's first event, and numbers in us.

    ``y_us``: the difference, as estimated. Where ``bounded`` its interval reaches ``below_us`` under and ``above_us``
    over it. ``standard_us``: the half-width of what it is held against. ``contradicts``: both cannot be right.
    ``contradictions``: how many of *all* points do, of those that could; ``points``: how many there are in all.
    """

    at_s: Floats
    y_us: Floats
    below_us: Floats
    above_us: Floats
    standard_us: Floats
    bounded: Bools
    contradicts: Bools
    contradictions: rates.Rate
    points: int

    @property
    def reach_us(self) -> float:
        """Return how far from 0 the line and its intervals go, but for the farthest twentieth of the points shown."""
        if not len(self.at_s):
            return 0.0
        low, high = self.y_us - self.below_us, self.y_us + self.above_us
        return float(np.percentile(np.maximum(np.abs(low), np.abs(high)), 95))


def of_errors(table: Table, errors: Errors) -> Trace:
    """Return a source's errors: estimate - the middle of the standard, in its width; contradicting where it misses.

    The interval misses the standard for certain if the two have no instant in common.
    """
    half = (errors.high - errors.low) / 2
    missed = coverage.misses(errors)
    return trace(table, errors.judged, errors.bounded, errors.middle, errors.below, errors.above, half, missed)


def of_flights(table: Table, worker: str, source: str) -> Trace:
    """Return how much later one source says that a worker received than that it was sent to it.

    What was received before it was sent is a contradiction: of an interval if all of it is below 0, of a point clock if
    the point is.
    """
    send, receive = table.sends(worker, source), table.readings(worker, source)
    as_points, as_intervals = verdicts.points(send, receive), verdicts.intervals(send, receive)
    known, bounded = (labels != verdicts.NOT_EVALUABLE for labels in (as_points, as_intervals))
    apart = np.where(known, receive.est - send.est, 0)
    below = np.where(bounded, (receive.est - receive.earliest) + (send.latest - send.est), 0)
    above = np.where(bounded, (receive.latest - receive.est) + (send.est - send.earliest), 0)
    can, labels = (bounded, as_intervals) if bounded.any() else (known, as_points)
    return trace(table, known, can, apart, below, above, np.zeros(len(apart)), labels == verdicts.AFTER)


def between(table: Table, readings: Readings, other: Readings) -> Trace:
    """Return what one source says of a node's stamps minus what another says of the same; of both their intervals.

    They contradict each other where their intervals have no instant in common; neither of them is the truth.
    """
    known = readings.known & other.known
    both = known & readings.bounded & other.bounded
    apart = np.where(known, readings.est - other.est, 0)
    bounded = known & readings.bounded
    below = np.where(bounded, readings.est - readings.earliest, 0)
    above = np.where(bounded, readings.latest - readings.est, 0)
    half = np.where(both, (other.latest - other.earliest) / 2, 0.0)
    disjoint = both & ((readings.earliest > other.latest) | (readings.latest < other.earliest))
    return trace(table, known, both, apart, below, above, half, disjoint)


def trace(
    table: Table, there: Bools, can: Bools, y: Ints | Floats, below: Ints, above: Ints, half: Floats, wrong: Bools
) -> Trace:
    """Return the points of a line that are drawn, of all that are ``there``; numbers are in ns.

    ``can``: points that have an interval (or whose point alone could contradict); ``wrong``: those that contradict.
    """
    events = np.flatnonzero(there & table.sent.known)
    picked = events[thinning.chosen(events, wrong[events])]
    start = int(table.sent.ns[table.sent.known].min()) if table.sent.known.any() else 0
    y_us, below_us, above_us, half_us = (
        np.asarray(numbers[picked], dtype=np.float64) / US for numbers in (y, below, above, half)
    )
    return Trace(
        (table.sent.ns[picked] - start) / 1e9,
        y_us,
        below_us,
        above_us,
        half_us,
        bounded=(below + above > 0)[picked],
        contradicts=wrong[picked],
        contradictions=rates.rate(int(wrong.sum()), int(can.sum())),
        points=len(events),
    )
