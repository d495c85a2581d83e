"""The figure ``series_timeline``: offsets with their intervals over time, a panel per node and clock, gaps as gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.figures import style
from analysis.figures.bars import legend
from analysis.figures.plotting import Line2D, Patch
from analysis.series import look
from analysis.series.course import GAP, SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.arrays import Floats, Ints
    from analysis.series.course import Course

FIGURE: Final = "series_timeline"
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


class Panel(NamedTuple):
    """One panel: a node, which of its clocks the offsets are of, and the sources."""

    node_id: str
    clock: str
    courses: tuple[Course, ...]


def panels_of(courses: Sequence[Course]) -> list[Panel]:
    """Return the panels that there are readings for."""
    groups: dict[tuple[str, str], list[Course]] = {}
    for course in courses:
        if course.count:
            groups.setdefault((course.node_id, course.claims.clock), []).append(course)
    return [Panel(*key, tuple(of_panel)) for key, of_panel in groups.items()]


def draw(courses: Sequence[Course], known: Mapping[str, Known], what: str = "reference − local") -> Figure:  # noqa: RUF001
    """Draw offsets over time; ``known``: what is known of each node's without the sources, where anything is.

    ``what`` names the axis.
    """
    panels = panels_of(courses)
    shown = panels[:MOST_PANELS]
    colours = look.colours(course.source for course in courses)
    with style.context():
        if not shown:
            figure = style.canvas(style.PAGE_IN, 1.2)
            (axes,) = style.panels(figure, 1, 1)
            style.say(axes, "no source has a reading")
            return figure
        figure = style.canvas(style.PAGE_IN, 0.7 + (2.6 if len(shown) == 1 else 1.75 * len(shown)))
        for place, (axes, panel) in enumerate(zip(style.panels(figure, len(shown), 1), shown, strict=True)):
            _panel(axes, panel, colours, known.get(panel.node_id), what, last=place == len(shown) - 1)
        if len(panels) > len(shown):
            first = figure.axes[0]
            first.set_title(f"{first.get_title(loc='left')} (the first {len(shown)} of {len(panels)})", loc="left")
        legend(figure, _handles(shown, colours, known))
    return figure


def _panel(axes: Axes, panel: Panel, colours: Mapping[str, str], known: Known | None, what: str, *, last: bool) -> None:
    sources = sorted(panel.courses, key=lambda course: -course.count)[:MOST_SOURCES]
    span_s = max(float(course.at_ns[-1]) for course in sources) / 1e9
    time, limits = look.time_unit(span_s), look.limits(sources)
    unit = look.offset_unit(max(abs(limits.low), abs(limits.high)))
    notes = (
        [f"the {MOST_SOURCES} of {len(panel.courses)} sources that were read most"]
        if len(sources) < len(panel.courses)
        else []
    )
    if limits.beyond:
        notes.append(f"{limits.beyond} {'reading lies' if limits.beyond == 1 else 'readings lie'} beyond the axis")
    clock = "" if panel.clock == SYSTEM_CLOCK else f", {panel.clock.partition(',')[0]}"
    axes.set_title(f"{panel.node_id}{clock}{''.join(f'; {note}' for note in notes)}", loc="left")
    widest_first = sorted(
        sources, key=lambda course: -float(np.median(course.half_width_ms)) if course.bounded.any() else 0.0
    )
    for course in widest_first:
        _course(axes, course, colours[course.source], time, unit, limits)
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
    if last:
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


def _handles(shown: Sequence[Panel], colours: Mapping[str, str], known: Mapping[str, Known]) -> list[Line2D | Patch]:
    drawn = dict.fromkeys(course.source for panel in shown for course in panel.courses)
    bounded = any(course.bounded.any() for panel in shown for course in panel.courses)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colours[source], linewidth=1.4, label=style.label(source)) for source in drawn
    ]
    if bounded:
        handles.append(Patch(facecolor="#666666", alpha=BAND, label="its interval"))
    labels = dict.fromkeys(known[panel.node_id].label for panel in shown if panel.node_id in known)
    handles += [Line2D([], [], color=KNOWN, linewidth=0.8, linestyle=DASHES, label=label) for label in labels]
    return handles
