"""Points with a bar: the median of a quantity, and how far it reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.figures import labels, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from analysis.stats.rates import Spread


def points(axes: Axes, places: Sequence[float], spreads: Sequence[Spread], scale: float = 1.0, **looks: Any) -> None:
    """Draw medians times ``scale``, each with a bar up to its 95th percentile; a spread of nothing is left out."""
    known = [
        (place, scale * spread.median, scale * spread.p95)
        for place, spread in zip(places, spreads, strict=True)
        if spread.median is not None and spread.p95 is not None
    ]
    if not known:
        return
    at, medians, tops = zip(*known, strict=True)
    above = [top - median for top, median in zip(tops, medians, strict=True)]
    axes.errorbar(at, medians, yerr=[[0.0] * len(above), above], marker="o", markersize=3, capsize=2, **looks)


def grouped(axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[Spread]], scale: float = 1.0) -> None:
    """Draw one spread per group of every source, side by side, each source named at the right edge.

    A source that has none at all is left out.
    """
    shown = [source for source, spreads in series.items() if any(spread.count for spread in spreads)]
    for number, source in enumerate(shown):
        beside = 0.12 * (number - (len(shown) - 1) / 2)
        places = [group + beside for group in range(len(groups))]
        colour = style.colour(source)
        points(axes, places, series[source], scale, color=colour, linestyle="none")
        last = [spread.median for spread in series[source] if spread.median is not None][-1]
        labels.at_end(axes, style.label(source), scale * last, colour)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(bottom=0)
    style.plain_numbers(axes.yaxis)
    axes.grid(axis="y")
