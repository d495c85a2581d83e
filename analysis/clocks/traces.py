"""What a timeline shows of one source on one node: a difference over time, its interval, and where that contradicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.clocks import coverage
from analysis.run import verdicts
from analysis.run.joining import joined
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


class _Line(NamedTuple):
    """Numbers of a line, event by event, in ns; see ``trace``."""

    there: Bools
    can: Bools
    y: Ints | Floats
    below: Ints
    above: Ints
    half: Floats
    wrong: Bools


def of_errors(table: Table, errors: Errors) -> Trace:
    """Return a source's errors: estimate - the middle of the standard, in its width; contradicting where it misses.

    The interval misses the standard for certain if the two have no instant in common.
    """
    half = (errors.high - errors.low) / 2
    missed = coverage.misses(errors)
    return _trace(table, _Line(errors.judged, errors.bounded, errors.middle, errors.below, errors.above, half, missed))


def of_flights(table: Table, worker: str, source: str) -> Trace:
    """Return how much later one source says that a worker received than that it was sent to it.

    What was received before it was sent is a contradiction: of an interval if all of it is below 0, of a point clock if
    the point is.
    """
    lines = [_flights(part.sends(worker, source), part.readings(worker, source)) for part in table.parts()]
    as_points, as_intervals = joined([points for points, _ in lines]), joined([intervals for _, intervals in lines])
    return _trace(table, as_intervals if as_intervals.can.any() else as_points)


def _flights(send: Readings, receive: Readings) -> tuple[_Line, _Line]:
    """Return what contradicts as points, and what as intervals."""
    as_points, as_intervals = verdicts.points(send, receive), verdicts.intervals(send, receive)
    known, bounded = (labels != verdicts.NOT_EVALUABLE for labels in (as_points, as_intervals))
    apart = np.where(known, receive.est - send.est, 0)
    below = np.where(bounded, (receive.est - receive.earliest) + (send.latest - send.est), 0)
    above = np.where(bounded, (receive.latest - receive.est) + (send.est - send.earliest), 0)
    points = _Line(known, known, apart, below, above, np.zeros(len(apart)), as_points == verdicts.AFTER)
    return points, points._replace(can=bounded, wrong=as_intervals == verdicts.AFTER)


def between(table: Table, node_id: str, source: str, other: str) -> Trace:
    """Return what one source says of a node's stamps minus what another says of the same; of both their intervals.

    They contradict each other where their intervals have no instant in common; neither of them is the truth.
    """
    return _trace(
        table, joined([_apart(part.readings(node_id, source), part.readings(node_id, other)) for part in table.parts()])
    )


def _apart(readings: Readings, other: Readings) -> _Line:
    known = readings.known & other.known
    both = known & readings.bounded & other.bounded
    apart = np.where(known, readings.est - other.est, 0)
    bounded = known & readings.bounded
    below = np.where(bounded, readings.est - readings.earliest, 0)
    above = np.where(bounded, readings.latest - readings.est, 0)
    half = np.where(both, (other.latest - other.earliest) / 2, 0.0)
    disjoint = both & ((readings.earliest > other.latest) | (readings.latest < other.earliest))
    return _Line(known, both, apart, below, above, half, disjoint)


def _trace(table: Table, line: _Line) -> Trace:
    """Return the points of a line that are drawn, of all that are ``there``.

    ``can``: points that have an interval (or whose point alone could contradict); ``wrong``: those that contradict.
    """
    events = np.flatnonzero(line.there & table.sent.known)
    picked = events[thinning.chosen(events, line.wrong[events])]
    y_us, below_us, above_us, half_us = (
        np.asarray(numbers[picked], dtype=np.float64) / US for numbers in (line.y, line.below, line.above, line.half)
    )
    return Trace(
        (table.sent.ns[picked] - table.facts.first_sent_ns) / 1e9,
        y_us,
        below_us,
        above_us,
        half_us,
        bounded=(line.below + line.above > 0)[picked],
        contradicts=line.wrong[picked],
        contradictions=rates.rate(int(line.wrong.sum()), int(line.can.sum())),
        points=len(events),
    )
