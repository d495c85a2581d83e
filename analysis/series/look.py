"""How series are drawn: a colour per source, a bounded number of points, readable units of time and offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.figures import style
from node_agent.clocks.sources import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.arrays import Bools, Floats, Ints, Places
    from analysis.series.course import Course

BINS: Final = 400  # of the time; of each at most six readings are drawn
MOST_POINTS: Final = 6 * BINS
MIDDLE: Final = (5.0, 95.0)  # percent: what an axis always shows
FAR: Final = 3.0  # an axis leaves out what would make it so many times as long
MARGIN: Final = 0.08
_OTHERS: Final = ("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#0072B2", "#000000")


class Unit(NamedTuple):
    """A unit that numbers are shown in: its name, and how many of it are one of the unit they are kept in."""

    name: str
    factor: float


class Limits(NamedTuple):
    """The ends of an axis, and how many estimates lie beyond them."""

    low: float
    high: float
    beyond: int


def colours(sources: Iterable[str]) -> dict[str, str]:
    """Return a colour per source: the house's own where it has one, else those that are left, in order."""
    names = list(dict.fromkeys(sources))
    taken = {source: style.colour(source) for source in names if source in BY_NAME}
    free = [colour for colour in _OTHERS if colour not in taken.values()] or list(_OTHERS)
    others = [source for source in names if source not in taken]
    return taken | {source: free[place % len(free)] for place, source in enumerate(others)}


def time_unit(span_s: float) -> Unit:
    """Return the unit for a time axis of so many seconds."""
    if span_s > 3 * 86_400:
        return Unit("days", 1 / 86_400)
    if span_s > 3 * 3_600:
        return Unit("h", 1 / 3_600)
    return Unit("min", 1 / 60) if span_s > 300 else Unit("s", 1.0)


def offset_unit(most_ms: float) -> Unit:
    """Return the unit for offsets of up to so many ms."""
    if most_ms < 1.0:
        return Unit("µs", 1_000.0)
    return Unit("s", 0.001) if most_ms > 5_000.0 else Unit("ms", 1.0)


def drawn(course: Course) -> Places:
    """Return which readings are drawn: all, or of each of 400 equal times the extremes and the first and last.

    Every drawn point is a reading. An outlier is never left out.
    """
    if course.count <= MOST_POINTS:
        return np.arange(course.count)
    length = int(course.at_ns[-1] - course.at_ns[0]) + 1
    bins = (course.at_ns - course.at_ns[0]) * BINS // length
    edges = np.flatnonzero(np.diff(bins, prepend=-1))
    chosen = []
    for start, end in zip(edges, [*edges[1:], course.count], strict=True):
        part = slice(start, end)
        least, most = course.offset_ms[part].argmin(), course.offset_ms[part].argmax()
        low, high = course.low_ms[part].argmin(), course.high_ms[part].argmax()
        chosen += [start, start + least, start + most, start + low, start + high, end - 1]
    return np.unique(np.array(chosen, dtype=np.intp))


def breaks(at_ns: Ints, course: Course, gap: int) -> Bools:
    """Tell before which readings a line is broken: after a pause of ``gap`` usual spacings, or of drawn ones."""
    spacing = np.diff(at_ns, prepend=at_ns[:1]) / 1e9
    usual = course.usual_spacing_s
    if course.count > len(at_ns):  # of drawn readings some are farther apart than they were
        usual = max(usual, float(course.at_ns[-1] - course.at_ns[0]) / 1e9 / BINS)
    broken: Bools = spacing > gap * usual
    return broken


def limits(courses: Sequence[Course]) -> Limits:
    """Return the limits (ms) of an axis for some courses: of all estimates, or of the middle 90 % and their intervals.

    A few outliers of a second would make a wander of milliseconds a line; they are counted and marked at the edge.
    """
    estimates = np.concatenate([course.offset_ms for course in courses])
    least, most = float(estimates.min()), float(estimates.max())
    ends = [np.percentile(course.offset_ms, MIDDLE) for course in courses]
    for course in courses:
        ends += [_reach(course)] if course.bounded.any() else []
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    span = max(high - low, 1e-6)
    if most - least > FAR * span or most > high + span or least < low - span:
        low, high = low - 0.5 * span, high + 0.5 * span
    else:
        low, high = min(low, least), max(high, most)
    margin = MARGIN * max(high - low, 1e-6)
    low, high = low - margin, high + margin
    return Limits(low, high, int(((estimates < low) | (estimates > high)).sum()))


def _reach(course: Course) -> Floats:
    """Return from where to where an axis shows a course's intervals: 90 % of them, half if far wider."""
    low, high = course.low_ms[course.bounded], course.high_ms[course.bounded]
    half = np.array([np.median(low), np.median(high)])
    most = np.array([np.percentile(low, MIDDLE[0]), np.percentile(high, MIDDLE[1])])
    return most if most[1] - most[0] <= FAR * (half[1] - half[0]) else half


def with_breaks(values: Floats, broken: Bools) -> Floats:
    """Return values with a NaN before each break, where a line and a band end."""
    return np.insert(values.astype(np.float64), np.flatnonzero(broken), np.nan)
