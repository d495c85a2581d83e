"""Lines over time with their intervals, named at their ends, a dark cross at every point that contradicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.figures import labels, plotting, style
from analysis.figures.sheet import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from analysis.arrays import Bools, Floats
    from analysis.clocks.traces import Trace

BAND_ALPHA: Final = 0.16
STANDARD: Final = "#bdbdbd"
GAP: Final = 8.0  # times the usual distance between points: there the line is broken
FEW: Final = 150  # points; each is drawn as one
APART: Final = 30.0  # times farther does one line go than another, where the axis becomes logarithmic away from 0
HEIGHT_IN: Final = 1.35
MOST_TURNS: Final = 300  # of an edge that is drawn
UNITS: Final = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))
ENOUGH: Final = 5.0  # of a unit, to be the unit of an axis
MOST_DIGITS: Final = 1e4  # from there on powers of ten are written as such


@dataclass(frozen=True)
class Line:
    """One line: whose it is, how it is called, and its points."""

    source: str
    name: str
    trace: Trace


def panel(title: str, lines: Sequence[Line], what: str, says: str, how: str) -> Panel:
    """Return the panel of some lines: ``what`` is on the axis, in a unit that suits; the rest is as in ``Panel``."""
    return Panel(
        title, says, lambda axes: _draw(axes, lines, what), height_in=HEIGHT_IN, whole=True, group="timeline", how=how
    )


def _draw(axes: Axes, lines: Sequence[Line], what: str) -> None:
    shown = sorted(lines, key=lambda line: -line.trace.reach_us)  # whoever goes farthest lies at the back
    _standard(axes, max((line.trace for line in lines), key=lambda trace: trace.points))
    for depth, line in enumerate(shown):
        _line(axes, line, 2.0 + 0.1 * depth)
    axes.axhline(0, color="black", linewidth=0.5, zorder=1.5)
    _limits(axes, lines)
    axes.set_xlabel("time (s)")
    style.plain_numbers(axes.xaxis)
    scale, unit = _unit(max(abs(limit) for limit in axes.get_ylim()))
    axes.yaxis.set_major_formatter(plotting.FuncFormatter(lambda value, _place: _plain(value / scale)))
    axes.set_ylabel(f"{what} ({unit})")
    for line in lines:
        labels.at_end(axes, line.name, float(np.median(line.trace.y_us[-20:])), style.colour(line.source))


def _line(axes: Axes, line: Line, depth: float) -> None:
    trace, colour = line.trace, style.colour(line.source)
    low, high = trace.y_us - trace.below_us, trace.y_us + trace.above_us
    after_gap = _after_gap(trace.at_s)
    at, y, low, high, bounded = _broken(~after_gap, trace.at_s, trace.y_us, low, high, trace.bounded.astype(float))
    has = np.nan_to_num(bounded) > 0
    axes.fill_between(at, low, high, where=has.tolist(), color=colour, alpha=BAND_ALPHA, linewidth=0, zorder=depth)
    for edge in () if _restless(low[has]) else (low, high):
        axes.plot(at, np.where(has, edge, np.nan), color=colour, linewidth=0.35, zorder=depth)
    marks: dict[str, Any] = {"marker": "o", "markersize": 1.5} if len(trace.at_s) <= FEW else {}
    axes.plot(at, y, color=colour, linestyle=style.dashes(line.source), linewidth=0.9, zorder=depth + 3, **marks)
    alone = trace.bounded & after_gap & np.append(after_gap[1:], True)  # a band of one point is none
    if alone.any():
        arms = np.stack([trace.below_us, trace.above_us])[:, alone]
        axes.errorbar(
            trace.at_s[alone], trace.y_us[alone], yerr=arms, color=colour, elinewidth=0.5, fmt="none", zorder=depth
        )
    if (wrong := trace.contradicts).any():
        axes.plot(
            trace.at_s[wrong], trace.y_us[wrong], linestyle="none", marker="x", markersize=3.5, markeredgewidth=0.9,
            color=style.dark(line.source), zorder=9,
        )  # fmt: skip


def _restless(edge: Floats) -> bool:
    """Tell whether an edge turns so often that it would be drawn as one mass, and hide what it is the edge of."""
    rises = np.sign(np.diff(edge))
    rises = rises[rises != 0]
    return int(np.count_nonzero(rises[1:] != rises[:-1])) > MOST_TURNS


def _standard(axes: Axes, trace: Trace) -> None:
    """Draw how wide that is which the lines are held against, where it has a width."""
    if trace.standard_us.any():
        at, half = _broken(~_after_gap(trace.at_s), trace.at_s, trace.standard_us)
        axes.fill_between(at, -half, half, color=STANDARD, linewidth=0, zorder=1)


def _after_gap(at_s: Floats) -> Bools:
    """Tell which points come after more than the usual distance."""
    apart = np.diff(at_s, prepend=at_s[:1])
    usual = float(np.median(apart[1:])) if len(apart) > 1 else 0.0
    late: Bools = apart > max(GAP * usual, 1e-9)
    return late


def _broken(whole: Bools, *columns: Floats) -> list[Floats]:
    """Return columns with a gap before each point that does not belong to the one before it."""
    places = np.flatnonzero(~whole)
    return [np.insert(np.asarray(column, dtype=np.float64), places, np.nan) for column in columns]


def _limits(axes: Axes, lines: Sequence[Line]) -> None:
    """Set the limits; where some lines go much farther than others, logarithmic ones away from 0."""
    reaches = [line.trace.reach_us for line in lines if line.trace.reach_us > 0]
    if not reaches:
        axes.set_ylim(-1, 1)
        return
    ends = [
        (float((line.trace.y_us - line.trace.below_us).min()), float((line.trace.y_us + line.trace.above_us).max()))
        for line in lines
    ]
    low, high = min(end for end, _ in ends), max(end for _, end in ends)
    if max(reaches) < APART * min(reaches) and high - low < APART * 2 * max(reaches):
        room = 0.06 * (high - low)
        axes.set_ylim(low - room, high + room)
        return
    linear = 10.0 ** np.floor(np.log10(min(reaches)))
    axes.set_yscale("symlog", linthresh=linear, linscale=0.6)
    axes.set_ylim(1.6 * min(low, -linear), 1.6 * max(high, linear))
    _ticks(axes, linear, low, high)


def _ticks(axes: Axes, linear: float, low: float, high: float) -> None:
    """Put plain numbers on a logarithmic axis through 0: at most seven, the powers of ten at equal steps."""
    top = int(np.ceil(np.log10(max(abs(low), abs(high), linear)) + 0.2))
    first = int(np.log10(linear))
    step = max(1, -(-(top - first + 1) // 3))
    powers = [10.0**power for power in range(first, top + 1, step)]
    bottom_px, top_px = axes.get_ylim()
    ticks = [sign * power for sign in (-1, 1) for power in powers if bottom_px <= sign * power <= top_px]
    axes.set_yticks(sorted([0.0, *ticks]))
    axes.yaxis.set_minor_locator(plotting.NullLocator())


def _unit(most_us: float) -> tuple[float, str]:
    """Return the unit in which numbers up to so many us have few digits: how many us it is, and its name."""
    return next(unit for unit in UNITS if most_us >= unit[0] * ENOUGH or unit is UNITS[-1])


def _plain(value: float) -> str:
    """Return a number on an axis, in few letters."""
    if abs(value) < MOST_DIGITS:
        return style.plain(value)
    power = str(round(np.log10(abs(value)))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'−' if value < 0 else ''}10{power}"  # noqa: RUF001 - a minus
