"""Distributions as curves: which share of the values is at most so much, on a logarithmic axis, a curve per source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.figures import labels, style
from analysis.figures.dots import PERCENT, percent_axis
from analysis.figures.sheet import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from analysis.arrays import Floats
    from analysis.stats.histogram import Histogram

MOST_STEPS: Final = 1_000  # of a curve
BAND_ALPHA: Final = 0.2
LEAST_SHARE: Final = 0.001  # of the values; what is less than those of every curve is at the left end
HEIGHT_IN: Final = 1.6


@dataclass(frozen=True)
class Curve:
    """A source's distribution: ``values`` in order, and which share is at most that.

    ``least``: where the values are only known to lie between two numbers, the distribution of the least.
    """

    source: str
    name: str
    values: Floats
    shares: Floats
    count: int
    least: tuple[Floats, Floats] | None = None


def of_histogram(source: str, name: str, counted: Histogram, least: Histogram | None = None) -> Curve:
    """Return the curve of a histogram, and of that of the least values where it is another."""
    below = None if least is None or bool((least.counts == counted.counts).all()) else least.at_most()
    return Curve(source, name, *counted.at_most(), count=counted.total, least=below)


def of_values(source: str, name: str, values: Floats) -> Curve:
    """Return the curve of some values, thinned to quantiles that are among them."""
    ordered = np.sort(values)
    if len(ordered) > MOST_STEPS:
        places = np.linspace(0, len(ordered) - 1, MOST_STEPS).astype(int)
        return Curve(source, name, ordered[places], (places + 1) / len(ordered), len(ordered))
    return Curve(source, name, ordered, np.arange(1, len(ordered) + 1) / max(1, len(ordered)), len(ordered))


def panel(title: str, curves: Sequence[Curve], what: str, unit: str, of: str, nothing: str) -> Panel:
    """Return the panel of some curves: ``what`` (in ``unit``) at most, for which share of ``of``."""
    shown = [curve for curve in curves if curve.count]
    if not shown:
        return Panel(title, nothing)
    says = f"share of {of} whose {what} is at most so much; "
    says += ", ".join(f"{curve.name} {curve.count:,}" for curve in shown)
    if any(curve.least is not None for curve in shown):
        says += "; shaded, from the greatest to the least that the standard allows"
    if len({float(end) for curve in shown for end in (curve.values[0], curve.values[-1])}) == 1:
        everywhere = f"{shown[0].values[0]:.3g} {unit or 'times'} for {', '.join(curve.name for curve in shown)}"
        return Panel(title, says, line=everywhere)
    return Panel(
        title, says, lambda axes: draw(axes, shown, f"{what} ({unit})" if unit else what, of), height_in=HEIGHT_IN
    )


def draw(axes: Axes, curves: Sequence[Curve], what: str, of: str) -> None:
    """Draw the curves, each named along its course."""
    begins = [value for curve in curves for value in _begins(curve)]
    low = min(begins, default=0.5)
    high = max((float(curve.values[-1]) for curve in curves if curve.values[-1] > 0), default=2.0)
    floor = low / (high / low) ** 0.03 if high > low else low / 2
    for curve in curves:
        colour = style.colour(curve.source)
        if curve.least is not None:
            grid = np.geomspace(floor, high, 300)
            ends = (_at(grid, *curve.least), _at(grid, curve.values, curve.shares))
            axes.fill_between(grid, *ends, color=colour, alpha=BAND_ALPHA, linewidth=0)
        steps = _steps(curve, floor, 1.05 * high)
        (line,) = axes.plot(*steps, color=colour, linestyle=style.dashes(curve.source), linewidth=1.2)
        if len(curves) > 1:
            labels.along(line, curve.name)
    axes.set_xlim(floor, 1.05 * high)
    style.readable_log(axes.xaxis)
    percent_axis(axes, f"{of} (%)", upright=True)
    axes.set_xlabel(f"{what}{'' if len(curves) > 1 else f', {curves[0].name}'}")


def _begins(curve: Curve) -> list[float]:
    """Return where a curve, and that of its least values, leave 0: a few of a million are no reason for a decade."""
    ways = [(curve.values, curve.shares), *([curve.least] if curve.least is not None else [])]
    return [float(values[some][0]) for values, shares in ways if (some := (values > 0) & (shares >= LEAST_SHARE)).any()]


def _at(grid: Floats, values: Floats, shares: Floats) -> Floats:
    """Return, in percent, which share of the values is at most what is in the grid."""
    known = np.concatenate([[0.0], shares])
    return PERCENT * known[np.searchsorted(values, grid, side="right")]


def _steps(curve: Curve, low: float, high: float) -> tuple[Floats, Floats]:
    """Return a curve's corners between two ends of an axis."""
    at = np.clip(np.concatenate([curve.values, [high]]), low, None)
    up = PERCENT * np.concatenate([[0.0], curve.shares])
    x = np.concatenate([[low], np.repeat(at, 2)[:-1], [high]])[: 2 * len(up)]
    return x, np.repeat(up, 2)[: len(x)]
