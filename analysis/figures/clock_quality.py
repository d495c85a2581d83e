"""The figure of clock quality: errors over time against what was claimed, reliability, coverage by age, width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.figures import style
from analysis.figures.bars import PERCENT, legend
from analysis.figures.plotting import Line2D, Patch
from analysis.run.table import POINT as POINT_CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.clocks.coverage import Coverage
    from analysis.clocks.quality import ClockQuality, Quality

MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
CLAIMED_ALPHA: Final = 0.18
BAND_ALPHA: Final = 0.25
ASIDE: Final = 1.025
YOUNGEST_S: Final = 1e-6  # a logarithmic axis has no 0
OF_PAIRS: Final = "\nof differences of readings"
ARROW: Final = 0.5  # of the greatest error: how far an arrow points that means "at most"
MOST_LEVEL_NAMES: Final = 3  # beside each other under a third of a page
MOST_NODES: Final = 3  # error panels in a row; the statistics have all nodes


def errors_over_time(axes: Axes, clocks: Sequence[Quality], node_id: str) -> None:
    """Draw one node's errors (a line, as wide as the standard) over the range its intervals claim (shaded)."""
    axes.set_title(node_id)
    here = [clock for clock in clocks if clock.node_id == node_id]
    own = [clock for clock in here if clock.kind != POINT_CLOCK and len(clock.trace.at_s)]
    if not own:
        why = here[0].standard if here else "no readings"
        style.say(axes, f"no errors: {why.removeprefix('none: ')}".replace("; ", ";\n").replace(" and ", "\nand "))
        return
    for clock in sorted(own, key=lambda clock: -(clock.width_us.median or 0.0)):  # the widest claim lies at the back
        trace, colour = clock.trace, style.colour(clock.source)
        claimed = trace.bounded
        ends = (-trace.above_us[claimed], trace.below_us[claimed])
        axes.fill_between(trace.at_s[claimed], *ends, color=colour, alpha=CLAIMED_ALPHA, linewidth=0)
        axes.fill_between(trace.at_s, trace.low_us, trace.high_us, color=colour, alpha=0.5, linewidth=0)
        axes.plot(trace.at_s, (trace.low_us + trace.high_us) / 2, color=colour, linewidth=0.7)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("error of estimate (µs)")


def reliability(axes: Axes, clocks: Sequence[Quality], markers: dict[str, str]) -> None:
    """Draw how many intervals held the truth over how many claimed to, at every level.

    Where the standard has a width too, it is a band: from those that held it for certain to all that did not miss it.
    """
    axes.set_title("Reliability")
    shown = [clock for clock in clocks if clock.reliability]
    if not shown:
        style.say(axes, "no probabilistic source\ncould be judged")
        return
    axes.plot([0, 100], [0, 100], color="black", linewidth=0.5, linestyle=":")
    for clock in shown:
        rungs = [rung for rung in clock.reliability if rung.claimed]  # a difference of two may claim nothing at all
        _shares(axes, [PERCENT * rung.claimed for rung in rungs], [rung.coverage for rung in rungs], clock, markers)
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 102)
    axes.set_xlabel("claimed (%)")
    axes.set_ylabel("observed (%)")
    axes.grid(visible=True)


def coverage_by_age(axes: Axes, clocks: Sequence[Quality], markers: dict[str, str]) -> None:
    """Draw the share of intervals that held the truth over the age of the sample they rest on, as in ``reliability``.

    The axis is logarithmic: one source is asked every second, another one every minute.
    """
    axes.set_title("Coverage by age of sample")
    shown = [clock for clock in clocks if clock.by_age]
    if not shown:
        style.say(axes, "no interval with an age\ncould be judged")
        return
    for place, clock in enumerate(shown):
        bins = [bin_ for bin_ in clock.by_age if bin_.coverage.contained.denominator]
        aside = ASIDE ** (place - (len(shown) - 1) / 2)  # so that equal shares do not hide each other
        ages = [max((bin_.from_ms + bin_.to_ms) / 2e3, YOUNGEST_S) * aside for bin_ in bins]
        _shares(axes, ages, [bin_.coverage for bin_ in bins], clock, markers)
    levels = {clock.claimed_level for clock in shown if clock.claimed_level is not None}
    for level in sorted(levels):
        axes.axhline(PERCENT * level, color="black", linewidth=0.5, linestyle=":")
    axes.set_ylim(*_room([bin_.coverage for clock in shown for bin_ in clock.by_age]))
    style.readable_log(axes.xaxis)
    axes.set_xlabel("age (s), logarithmic")
    axes.set_ylabel("contains the truth (%)")
    axes.grid(axis="y")


def widths(axes: Axes, clocks: Sequence[Quality], markers: dict[str, str]) -> None:
    """Draw the half-width of what was judged, median and a bar to its 99th percentile, beside the median error.

    An error that is known between limits is a bar between them, and one that may be 0 an arrow from the greatest.
    Where the reference judges, both are of the difference of two readings. Where nobody judges, the width is of one.
    """
    relative = any(clock.relative and clock.judged_width_us.median for clock in clocks)
    axes.set_title(f"Half-width, and error (black){OF_PAIRS if relative else ''}")
    judged = [(clock, clock.judged_width_us) for clock in clocks if clock.judged_width_us.median]
    shown = judged or [(clock, clock.width_us) for clock in clocks if clock.width_us.median]
    if not shown:
        style.say(axes, "no source with intervals\nin this run")
        return
    sources = list(dict.fromkeys(clock.source for clock, _ in shown))
    nodes = list(dict.fromkeys(clock.node_id for clock, _ in shown))
    for clock, width in shown:
        group, count = sources.index(clock.source), len(nodes)
        place = group + 0.7 * ((nodes.index(clock.node_id) + 0.5) / count - 0.5)
        median, high = (width.median or 0.0) / 2, (width.p99 or 0.0) / 2
        colour = style.colour(clock.source)
        axes.errorbar(
            place, median, yerr=[[0.0], [high - median]], color=colour, marker=markers[clock.node_id], markersize=3,
            capsize=1.5, elinewidth=0.8,
        )  # fmt: skip
        if clock.abs_error_us.median:
            low_us, high_us = clock.least_error_us.median or 0.0, clock.abs_error_us.median
            if clock.relative:  # from the least to the greatest that the standard allows
                down_us = high_us - low_us if low_us > 0 else ARROW * high_us
                axes.errorbar(
                    place, high_us, yerr=[[down_us], [0.0]], uplims=low_us == 0, color="black", elinewidth=1.2,
                    capsize=2, fmt="none",
                )  # fmt: skip
            else:
                axes.plot(place, high_us, color="black", marker=markers[clock.node_id], markersize=2.5)
    style.readable_log(axes.yaxis)
    aslant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    names = [style.label(source) for source in sources]
    axes.set_xticks(range(len(sources)), names, **(aslant if len(sources) > MOST_LEVEL_NAMES else {}))
    axes.set_xlim(-0.6, len(sources) - 0.4)
    axes.set_ylabel("median, bar to p99 (µs)")
    axes.grid(axis="y")


def draw(result: ClockQuality) -> Figure:
    """Draw the figure ``clock_quality``."""
    clocks = result.clocks
    nodes = list(dict.fromkeys(clock.node_id for clock in clocks))
    judged = [node for node in nodes if any(clock.node_id == node and clock.abs_error_us.count for clock in clocks)]
    above = (judged or nodes)[:MOST_NODES]
    markers = {node: MARKERS[place % len(MARKERS)] for place, node in enumerate(nodes)}
    with style.context():
        figure = style.canvas(style.PAGE_IN, 4.6)
        grid = figure.add_gridspec(2, 6)
        wide = 6 // len(above)
        for place, node in enumerate(above):
            errors_over_time(figure.add_subplot(grid[0, wide * place : wide * (place + 1)]), clocks, node)
        left, middle, right = (figure.add_subplot(grid[1, 2 * place : 2 * place + 2]) for place in range(3))
        reliability(left, clocks, markers)
        coverage_by_age(middle, clocks, markers)
        widths(right, clocks, markers)
        legend(figure, _handles(clocks, markers))
    return figure


def _shares(
    axes: Axes, places: list[float], coverages: list[Coverage], clock: Quality, markers: dict[str, str]
) -> None:
    """Draw coverages with their intervals: one line or, where some are undecided, a band."""
    colour = style.colour(clock.source)
    certain = [coverage.contained for coverage in coverages]
    possible = [coverage.not_missed for coverage in coverages]
    low, high = ([PERCENT * (rate.value or 0.0) for rate in edge] for edge in (certain, possible))
    # a share whose interval nobody can tell has no whiskers
    down = [0.0 if rate.low is None else value - PERCENT * rate.low for value, rate in zip(low, certain, strict=True)]
    up = [0.0 if rate.high is None else PERCENT * rate.high - value for value, rate in zip(high, possible, strict=True)]
    none = [0.0] * len(places)
    looks: dict[str, Any] = {
        "color": colour, "marker": markers[clock.node_id], "markersize": 3, "markerfacecolor": "white",
        "linewidth": 0.8, "elinewidth": 0.5, "capsize": 1.5,
    }  # fmt: skip
    if low == high:
        axes.errorbar(places, low, yerr=[down, up], **looks)
        return
    axes.fill_between(places, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0)
    axes.errorbar(places, low, yerr=[down, none], **looks)
    axes.errorbar(places, high, yerr=[none, up], **looks, linestyle=":")


def _room(coverages: Sequence[Coverage]) -> tuple[float, float]:
    """Return limits in percent that show every interval, and 100."""
    certain = [coverage.contained for coverage in coverages if coverage.contained.value is not None]
    lowest = min((PERCENT * ((rate.value or 0.0) if rate.low is None else rate.low) for rate in certain), default=0.0)
    down = float(np.floor(max(0.0, lowest - 3.0) / 10.0) * 10.0)
    return down, 100.0 + 0.04 * (100.0 - down)


def _handles(clocks: Sequence[Quality], markers: dict[str, str]) -> list[Any]:
    sources = list(dict.fromkeys(clock.source for clock in clocks if clock.kind != POINT_CLOCK))
    handles: list[Any] = [Line2D([], [], color=style.colour(source), label=style.label(source)) for source in sources]
    handles.append(Patch(facecolor="#444444", alpha=CLAIMED_ALPHA, label="claimed"))
    if any(clock.relative and clock.coverage.undecided.numerator for clock in clocks):
        band = "from contained (solid) to not missed (dotted)"
        handles.append(Patch(facecolor="#444444", alpha=BAND_ALPHA, label=band))
    looks: dict[str, Any] = {"color": "#444444", "markersize": 3, "linestyle": "none"}
    return [*handles, *(Line2D([], [], marker=marker, label=node, **looks) for node, marker in markers.items())]
