"""What a timeline shows of one source on one node: a difference over time, its interval, and where that contradicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.by_event import verdicts
from analysis.clocks import coverage
from analysis.stats import rates, thinning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints
    from analysis.by_event.event_rows import Instants
    from analysis.by_event.table import Readings, Table
    from analysis.clocks.clock import Clock

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
    """Numbers of a line, event by event, in ns.

    ``there``: there is a point. ``can``: it has an interval (or could contradict as a point); ``wrong``: it does.
    """

    there: Bools
    can: Bools
    y: Ints | Floats
    below: Ints
    above: Ints
    half: Floats
    wrong: Bools


def of_errors(clock: Clock, first_sent_ns: int) -> Trace:
    """Return a source's errors: estimate - the middle of the standard, in its width; contradicting where it misses.

    The interval misses the standard for certain if the two have no instant in common. ``first_sent_ns``: when the run's
    first event was sent.
    """
    drawn = _Drawing(first_sent_ns)
    for piece in clock.pieces:
        errors = piece.errors
        half, wrong = (errors.high - errors.low) / 2, coverage.misses(errors)
        line = _Line(errors.judged, errors.bounded, errors.middle, errors.below, errors.above, half, wrong)
        drawn.add(line, piece.beside.sent, piece.beside.begins_at)
    return drawn.trace


def of_flights(table: Table, worker: str, source: str) -> Trace:
    """Return how much later one source says that a worker received than that it was sent to it.

    What was received before it was sent is a contradiction: of an interval if all of it is below 0, of a point clock if
    the point is.
    """
    as_points, as_intervals = _Drawing(table.facts.first_sent_ns), _Drawing(table.facts.first_sent_ns)
    for part in table.parts():
        points, intervals = _flights(part.sends(worker, source), part.readings(worker, source))
        as_points.add(points, part.sent, part.begins_at)
        as_intervals.add(intervals, part.sent, part.begins_at)
    return as_intervals.trace if as_intervals.can else as_points.trace


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
    drawn = _Drawing(table.facts.first_sent_ns)
    for part in table.parts():
        drawn.add(_apart(part.readings(node_id, source), part.readings(node_id, other)), part.sent, part.begins_at)
    return drawn.trace


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


class _Drawing:
    """The points of a line that are drawn, of all pieces so far, and how many there are."""

    def __init__(self, first_sent_ns: int) -> None:
        self._first_sent_ns = first_sent_ns
        self._picked: list[NDArray[Any]] = []  # positions, whether each is wrong, and the columns of a trace
        self._points = self._wrong = 0
        self.can = 0

    def add(self, line: _Line, sent: Instants, begins_at: int) -> None:
        """Add a piece: the events from ``begins_at`` on. What is thinned of pieces, and together, is of the whole."""
        events = np.flatnonzero(line.there & sent.known)
        picked = events[thinning.chosen(events + begins_at, line.wrong[events])]
        columns: list[NDArray[Any]] = [
            picked + begins_at,
            line.wrong[picked],
            (sent.ns[picked] - self._first_sent_ns) / 1e9,
            *(np.asarray(own[picked], dtype=np.float64) / US for own in (line.y, line.below, line.above, line.half)),
            (line.below + line.above > 0)[picked],
        ]
        both = [np.concatenate(pair) for pair in zip(self._picked, columns, strict=True)] if self._picked else columns
        kept = thinning.chosen(both[0], both[1])
        self._picked = [column[kept] for column in both]
        self._points += len(events)
        self._wrong += int(line.wrong.sum())
        self.can += int(line.can.sum())

    @property
    def trace(self) -> Trace:
        """Return the line."""
        _, wrong, at_s, y_us, below_us, above_us, standard_us, bounded = self._picked
        contradictions = rates.rate(self._wrong, self.can)
        return Trace(at_s, y_us, below_us, above_us, standard_us, bounded, wrong, contradictions, self._points)
