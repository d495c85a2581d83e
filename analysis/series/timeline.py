"""The figure ``series_timeline``: offsets with their intervals over time, a panel per node and clock, gaps as gaps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.figures import labels, style
from analysis.figures.sheet import Panel, Sheet
from analysis.series import look
from analysis.series.course import GAP, SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from analysis.arrays import Floats, Ints
    from analysis.series.course import Course

FIGURE: Final = "series_timeline"
TITLE: Final = "Offsets over time"
MOST_PANELS: Final = 4
MOST_SOURCES: Final = 7  # in a panel
MARKED: Final = 400  # readings; more of them are a line without marks
BAND, BARS = 0.2, 0.35  # how opaque an interval is, of many readings and of few
KNOWN: Final = "#222222"
DASHES: Final = (0, (4, 2))


class Known(NamedTuple):
    """What is known of an offset without any source: between two limits (ms) at instants of a course's time."""

    at_ns: Ints
    low_ms: Floats
    high_ms: Floats
    label: str


class Clock(NamedTuple):
    """What one panel is about: a node, which of its clocks the offsets are of, and the sources."""

    node_id: str
    clock: str
    courses: tuple[Course, ...]


def clocks_of(courses: Sequence[Course]) -> list[Clock]:
    """Return the clocks that there are readings of."""
    groups: dict[tuple[str, str], list[Course]] = {}
    for course in courses:
        if course.count:
            groups.setdefault((course.node_id, course.claims.clock), []).append(course)
    return [Clock(*key, tuple(of_clock)) for key, of_clock in groups.items()]


def draw(
    courses: Sequence[Course],
    known: Mapping[str, Known],
    title: str = TITLE,
    what: str = "reference − local",  # noqa: RUF001
) -> Sheet:
    """Return the figure; ``known``: what is known of each node's offsets without the sources, where anything is.

    ``what`` names the axis.
    """
    clocks = clocks_of(courses)
    if not clocks:
        return Sheet(title, (Panel("Offsets", "no source has a reading"),))
    colours = look.colours(course.source for course in courses)
    shown = clocks[:MOST_PANELS]
    panels = tuple(_panel(clock, colours, known.get(clock.node_id), what) for clock in shown)
    rest = f"; the first {len(shown)} of {len(clocks)} clocks" if len(shown) < len(clocks) else ""
    return Sheet(title, panels, f"Lines: offsets, broken at gaps; shades or bars: their intervals{rest}")


def _panel(clock: Clock, colours: Mapping[str, str], known: Known | None, what: str) -> Panel:
    """Return the panel of one clock, with what its part of the caption says."""
    sources = sorted(clock.courses, key=lambda course: -course.count)[:MOST_SOURCES]
    beyond = look.limits(sources).beyond
    says = ", ".join(f"{style.label(course.source)} {course.count:,} readings" for course in sources)
    if len(sources) < len(clock.courses):
        says += f" (the {MOST_SOURCES} of {len(clock.courses)} sources that were read most)"
    if beyond:
        says += f"; {beyond} {'reading lies' if beyond == 1 else 'readings lie'} beyond the axis (triangles)"
    if known is not None:
        says += f"; dashed: {known.label}"
    name = clock.node_id if clock.clock == SYSTEM_CLOCK else f"{clock.node_id}, {clock.clock.partition(',')[0]}"
    drawn = partial(_draw, sources=sources, colours=colours, known=known, what=what)
    return Panel(name, says, drawn, whole=True, group=FIGURE)


def _draw(axes: Axes, *, sources: Sequence[Course], colours: Mapping[str, str], known: Known | None, what: str) -> None:
    span_s = max(float(course.at_ns[-1]) for course in sources) / 1e9
    time, limits = look.time_unit(span_s), look.limits(sources)
    unit = look.offset_unit(max(abs(limits.low), abs(limits.high)))
    widest_first = sorted(
        sources, key=lambda course: -float(np.median(course.half_width_ms)) if course.bounded.any() else 0.0
    )
    for course in widest_first:
        _course(axes, course, colours[course.source], time, unit, limits)
        last = min(max(float(course.offset_ms[-1]), limits.low), limits.high)
        labels.at_end(axes, style.label(course.source), last * unit.factor, colours[course.source])
    if known is not None:
        every = max(1, -(-len(known.at_ns) // look.MOST_POINTS))
        at = known.at_ns[::every] / 1e9 * time.factor
        low, high = (side[::every] * unit.factor for side in (known.low_ms, known.high_ms))
        axes.fill_between(at, low, high, color=KNOWN, alpha=0.5, linewidth=0, zorder=2)
        axes.plot(at, (low + high) / 2, color=KNOWN, linewidth=0.8, linestyle=DASHES, zorder=4)
    axes.axhline(0, color="black", linewidth=0.4, zorder=0)
    axes.set_ylim(limits.low * unit.factor, limits.high * unit.factor)
    axes.set_xlim(-0.01 * span_s * time.factor, 1.01 * span_s * time.factor)
    axes.set_ylabel(f"{what} ({unit.name})")
    axes.set_xlabel(f"time since the first reading ({time.name})")


def _course(axes: Axes, course: Course, colour: str, time: look.Unit, unit: look.Unit, limits: look.Limits) -> None:
    chosen = look.drawn(course)
    at_ns, bounded = course.at_ns[chosen], course.bounded[chosen]
    broken = look.breaks(at_ns, course, GAP)
    at = at_ns / 1e9 * time.factor
    x = look.with_breaks(at, broken)
    low, high = (
        look.with_breaks(np.where(bounded, side[chosen], np.nan) * unit.factor, broken)
        for side in (course.low_ms, course.high_ms)
    )
    if course.count <= MARKED:  # each interval holds at its own instant
        axes.vlines(x, low, high, color=colour, alpha=BARS, linewidth=0.8)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=BAND, linewidth=0)
    offsets = course.offset_ms[chosen] * unit.factor
    marks: dict[str, Any] = {"marker": "o", "markersize": 1.8} if course.count <= MARKED else {}
    axes.plot(x, look.with_breaks(offsets, broken), color=colour, linewidth=0.7, zorder=3, **marks)
    for mark, edge, beyond in (
        ("^", limits.high, course.offset_ms[chosen] > limits.high),
        ("v", limits.low, course.offset_ms[chosen] < limits.low),
    ):
        inside = edge - np.sign(edge - (limits.low + limits.high) / 2) * 0.03 * (limits.high - limits.low)
        axes.plot(
            at[beyond], np.full(int(beyond.sum()), inside * unit.factor), mark, color=colour, markersize=4, zorder=5
        )
