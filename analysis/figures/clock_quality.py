"""The figure of clock quality: how errors and half-widths are distributed, reliability, coverage by age."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event.table import INTERVAL
from analysis.by_event.table import POINT as POINT_CLOCK
from analysis.figures import curves, dots, labels, style
from analysis.figures.dots import PERCENT
from analysis.figures.sheet import Panel, Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes

    from analysis.clocks.coverage import Coverage
    from analysis.clocks.quality import ClockQuality, Quality, Steps

BAND_ALPHA: Final = 0.2
YOUNGEST_S: Final = 1e-6  # a logarithmic axis has no 0
MOST_LINES: Final = 5  # of one source: a line per node, of many nodes of those whose intervals hold the least
HEIGHT_IN: Final = 1.6


def errors_panel(clocks: Sequence[Quality]) -> Panel:
    """Show how |error| is distributed, of all nodes together, a curve per source."""
    judged = [clock for clock in clocks if clock.abs_error_us.count]
    title = f"Errors{_of_pairs(judged)}"
    own = [
        curves.of_histogram(source, dots.name(source, POINT_CLOCK), steps.errors, steps.least_errors)
        for source, steps in _together(judged).items()
    ]
    why = "; ".join(dict.fromkeys(clock.standard.removeprefix("none: ") for clock in clocks)) or "no source"
    return curves.panel(title, own, "|error|", "µs", "readings", f"no errors: {why}")


def widths_panel(clocks: Sequence[Quality]) -> Panel:
    """Show how half-widths are distributed: of what was judged or, where nobody judges, of one reading."""
    judged = [clock for clock in clocks if clock.judged_width_us.count]
    shown = judged or [clock for clock in clocks if clock.width_us.count]
    own = [
        curves.of_histogram(source, dots.name(source, INTERVAL), steps.judged_halves if judged else steps.halves)
        for source, steps in _together(shown).items()
    ]
    nothing = "no source with intervals in this run"
    return curves.panel(f"Half-widths{_of_pairs(judged)}", own, "half-width", "µs", "intervals", nothing)


def _of_pairs(clocks: Iterable[Quality]) -> str:
    return " of differences of two readings" if any(clock.relative for clock in clocks) else ""


def _together(clocks: Iterable[Quality]) -> dict[str, Steps]:
    """Return the distributions of every source, of all its nodes."""
    by_source: dict[str, list[Steps]] = {}
    for clock in clocks:
        by_source.setdefault(clock.source, []).append(clock.steps)
    return {source: reduce(add, steps) for source, steps in by_source.items()}


def reliability_panel(clocks: Sequence[Quality]) -> Panel:
    """Show how many intervals held the truth over how many claimed to, at every level.

    Where the standard has a width too, it is a band: from those that held it for certain to all that did not miss it.
    """
    shown = [clock for clock in clocks if clock.reliability]
    title = "Reliability"
    if not shown:
        return Panel(title, "no probabilistic source could be judged")

    def draw_levels(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":")
        for clock in _fewest_held(shown):
            rungs = [rung for rung in clock.reliability if rung.claimed]  # a difference of two may claim nothing at all
            _shares(axes, [PERCENT * rung.claimed for rung in rungs], [rung.coverage for rung in rungs], clock)
        axes.set_xlim(0, 104)
        dots.percent_axis(axes, "observed (%)", upright=True)
        axes.set_xlabel("claimed (%)")
        axes.grid(visible=True)
        _name_sources(axes, shown)

    says = "share of intervals that hold the truth, over the share that is claimed to; dotted: as many as claimed"
    return Panel(title, says + _of_nodes(shown) + _band(shown), draw_levels, height_in=HEIGHT_IN)


def ages_panel(clocks: Sequence[Quality]) -> Panel:
    """Show the share of intervals that held the truth over the age of the sample they rest on, as in ``reliability``.

    The axis is logarithmic: one source is asked every second, another one every minute.
    """
    shown = [clock for clock in clocks if clock.by_age]
    title = "Coverage by age of sample"
    if not shown:
        return Panel(title, "no interval with an age could be judged")
    counted = [(clock, bin_.coverage.contained) for clock in shown for bin_ in clock.by_age]
    says = f"intervals that hold the truth; {_counts(counted)}{_of_nodes(shown)}{_band(shown)}"
    if {rate.value for _, rate in counted if rate.value is not None} == {1.0}:
        names = dict.fromkeys(dots.name(clock.source, INTERVAL) for clock in shown)
        return Panel(title, says, line=f"100 % at every age for {', '.join(names)}")

    def draw_ages(axes: Axes) -> None:
        drawn = list(_fewest_held(shown))
        for clock in drawn:
            bins = [bin_ for bin_ in clock.by_age if bin_.coverage.contained.denominator]
            ages = [max((bin_.from_ms + bin_.to_ms) / 2e3, YOUNGEST_S) for bin_ in bins]
            _shares(axes, ages, [bin_.coverage for bin_ in bins], clock)
        least = _floor([bin_.coverage for clock in drawn for bin_ in clock.by_age])
        dots.percent_axis(axes, "holds the truth (%)", upright=True, least=least)
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, min(_ages(drawn)) / 1.2), high)
        style.readable_log(axes.xaxis)
        axes.set_xlabel("age (s)")
        _name_sources(axes, shown)

    return Panel(title, says, draw_ages, height_in=HEIGHT_IN)


def _ages(clocks: Sequence[Quality]) -> list[float]:
    return [max((bin_.from_ms + bin_.to_ms) / 2e3, YOUNGEST_S) for clock in clocks for bin_ in clock.by_age]


def _fewest_held(clocks: Sequence[Quality]) -> Iterable[Quality]:
    """Return the clocks to draw: of each source all nodes or, of many, those whose intervals hold the truth least."""
    for source in dict.fromkeys(clock.source for clock in clocks):
        own = [clock for clock in clocks if clock.source == source]
        yield from sorted(own, key=lambda clock: clock.coverage.contained.value or 0.0)[:MOST_LINES]


def _of_nodes(clocks: Sequence[Quality]) -> str:
    nodes = len(dict.fromkeys(clock.node_id for clock in clocks))
    some = f"; of each source the {MOST_LINES} nodes of {nodes} that hold it least" if nodes > MOST_LINES else ""
    return some or ("; a line per node" if nodes > 1 else "")


def _band(clocks: Sequence[Quality]) -> str:
    undecided = any(clock.relative and clock.coverage.undecided.numerator for clock in clocks)
    return "; bands: from surely held (full) to not surely missed (dotted)" if undecided else ""


def _counts(counted: Sequence[tuple[Quality, Any]]) -> str:
    """Return how many intervals of every source were judged, and how many held the truth for certain."""
    held: dict[str, list[int]] = {}
    for clock, _ in counted:
        held[dots.name(clock.source, INTERVAL)] = [0, 0]
    seen: set[tuple[str, str]] = set()
    for clock, _ in counted:
        if (clock.source, clock.node_id) not in seen:
            seen.add((clock.source, clock.node_id))
            of_source = held[dots.name(clock.source, INTERVAL)]
            of_source[0] += clock.coverage.contained.numerator
            of_source[1] += clock.coverage.contained.denominator
    return ", ".join(f"{name} {hits:,}/{judged:,}" for name, (hits, judged) in held.items())


def _name_sources(axes: Axes, clocks: Sequence[Quality]) -> None:
    """Name the first line of every source, if there are several."""
    sources = list(dict.fromkeys(clock.source for clock in clocks))
    for source in sources:
        line = next((line for line in axes.lines if line.get_gid() == source), None)
        if line is not None:
            labels.along(line, dots.name(source, INTERVAL))


def _shares(axes: Axes, places: list[float], coverages: list[Coverage], clock: Quality) -> None:
    """Draw coverages with their intervals: one line or, where some are undecided, a band."""
    colour = style.colour(clock.source)
    certain = [coverage.contained for coverage in coverages]
    possible = [coverage.not_missed for coverage in coverages]
    low, high = ([PERCENT * (rate.value or 0.0) for rate in edge] for edge in (certain, possible))
    # a share whose interval nobody can tell has no whiskers
    down = [0.0 if rate.low is None else value - PERCENT * rate.low for value, rate in zip(low, certain, strict=True)]
    up = [0.0 if rate.high is None else PERCENT * rate.high - value for value, rate in zip(high, possible, strict=True)]
    none = [0.0] * len(places)
    looks: dict[str, Any] = {"color": colour, "linewidth": 0.9, "elinewidth": 0.5, "capsize": 0}
    dashes = style.dashes(clock.source)
    if low == high:
        drawn = axes.errorbar(places, low, yerr=[down, up], linestyle=dashes, **looks)
    else:
        axes.fill_between(places, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0)
        drawn = axes.errorbar(places, low, yerr=[down, none], linestyle=dashes, **looks)
        axes.errorbar(places, high, yerr=[none, up], linestyle=":", **looks)
    drawn.lines[0].set_gid(clock.source)


def _floor(coverages: Sequence[Coverage]) -> float:
    """Return tens of percent, below 100, above which every interval is."""
    certain = [coverage.contained for coverage in coverages if coverage.contained.value is not None]
    lowest = min((PERCENT * ((rate.value or 0.0) if rate.low is None else rate.low) for rate in certain), default=0.0)
    return float(np.floor(max(0.0, lowest - 3.0) / 10.0) * 10.0)


def draw(result: ClockQuality) -> Sheet:
    """Return the figure ``clock_quality``."""
    clocks = result.clocks
    parts: tuple[Callable[[Sequence[Quality]], Panel], ...] = (
        errors_panel, widths_panel, reliability_panel, ages_panel,
    )  # fmt: skip
    return Sheet("Clock quality: errors, and what the clocks claim of them", tuple(part(clocks) for part in parts))
