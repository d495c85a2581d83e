"""The figure ``series_agreement``: how wide each source's claims are, and how far apart two sources are beside them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.figures import style
from analysis.figures.sheet import Panel, Sheet
from analysis.series import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from analysis.series.agreement import Agreement, Pair
    from analysis.series.course import Course
    from analysis.stats.rates import Spread

FIGURE: Final = "series_agreement"
MOST_ROWS: Final = 10  # of each panel: the widest claims, and the pairs that are farthest apart for their claims
INK: Final = "#222222"
CLAIMS: Final = "#888888"
MOST_TICKS: Final = 5
ROW_IN: Final = 0.24
LEAST_MS: Final = 1e-6  # a logarithmic axis has no 0


def draw(courses: Sequence[Course], agreement: Agreement) -> Sheet:
    """Return the figure."""
    claiming = [course for course in courses if len(course.half_width_ms) or len(course.stated_ms)]
    widest = sorted(claiming, key=lambda course: -_claim(course))[:MOST_ROWS]
    compared = worst(agreement)
    farthest = compared[:MOST_ROWS]
    several = len({course.node_id for course in courses}) > 1
    colours = look.colours(course.source for course in courses)
    widths = Panel("What each source claims", "no source states an interval or an uncertainty")
    if widest:
        widths = Panel(
            widths.title,
            f"{_part('the widest', len(widest), len(claiming))}; dot: median, line to 95 %; "
            "hollow: a stated uncertainty, no interval",
            partial(_widths, courses=widest, colours=colours, several=several),
            height_in=ROW_IN * max(2, len(widest)),
        )
    pairs = Panel("How far two are apart", "no two sources to compare")
    if farthest:
        pairs = Panel(
            pairs.title,
            f"{_part('the worst', len(farthest), len(compared))}; grey: their half-widths together; "
            "beside it how often both intervals meet, or one's estimate is inside the other's interval",
            partial(_pairs, pairs=farthest, several=several),
            height_in=ROW_IN * max(2, len(farthest)),
        )
    return Sheet("Agreement of the sources", (widths, pairs))


def _part(which: str, shown: int, of: int) -> str:
    """Say how many of all are shown."""
    return f"all {of:,}" if shown == of else f"{which} {shown:,} of {of:,}"


def worst(agreement: Agreement) -> list[Pair]:
    """Return the pairs that were compared, those that are farthest apart for what they claim first."""
    compared = [pair for pair in agreement.pairs if pair.count]
    return sorted(compared, key=lambda pair: (-_ratio(pair), -(pair.apart_ms.median or 0.0)))


def _ratio(pair: Pair) -> float:
    return float(np.median(pair.of_claims)) if len(pair.of_claims) else -1.0


def _claim(course: Course) -> float:
    return float(np.median(course.half_width_ms if len(course.half_width_ms) else course.stated_ms))


def _name(name: str, node_id: str, *, several: bool) -> str:
    return f"{name} ({node_id})" if several else name


def _widths(axes: Axes, *, courses: Sequence[Course], colours: dict[str, str], several: bool) -> None:
    for place, course in enumerate(courses):
        stated = not len(course.half_width_ms)
        values = course.stated_ms if stated else course.half_width_ms
        median, p95 = (max(float(value), LEAST_MS) for value in np.percentile(values, (50, 95)))
        colour = colours[course.source]
        axes.plot([median, p95], [place, place], color=colour, linewidth=1.2)
        axes.plot(median, place, "o", color=colour, markersize=5, markerfacecolor="white" if stated else colour)
    names = [_name(style.label(course.source), course.node_id, several=several) for course in courses]
    _rows(axes, names, "half-width (ms): median, line to 95 %")


def _pairs(axes: Axes, *, pairs: Sequence[Pair], several: bool) -> None:
    for place, pair in enumerate(pairs):
        median, p95 = _shown(pair.apart_ms)
        claims = _claims(pair)
        if claims is not None:
            axes.plot([claims, claims], [place - 0.3, place + 0.3], color=CLAIMS, linewidth=2.4)
        axes.plot([median, p95], [place, place], color=INK, linewidth=1.2)
        axes.plot(median, place, "o", color=INK, markersize=4)
        axes.annotate(_meeting(pair), (1.0, place), xycoords=("axes fraction", "data"), xytext=(3, 0),
                      textcoords="offset points", va="center", fontsize=7)  # fmt: skip
    named = (f"{style.label(pair.first)} / {style.label(pair.second)}" for pair in pairs)
    names = [_name(name, pair.node_id, several=several) for name, pair in zip(named, pairs, strict=True)]
    _rows(axes, names, "apart (ms): median, line to 95 %")


def _rows(axes: Axes, names: Sequence[str], what: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.08)
    style.readable_log(axes.xaxis)
    ticks = axes.get_xticks()
    axes.set_xticks(ticks[:: max(1, -(-len(ticks) // MOST_TICKS))])
    axes.set_xlabel(what)
    axes.grid(axis="x")


def _shown(spread: Spread) -> tuple[float, float]:
    return max(spread.median or 0.0, LEAST_MS), max(spread.p95 or 0.0, LEAST_MS)


def _claims(pair: Pair) -> float | None:
    """Return the median of both half-widths together, or of the only one, in ms; None without any."""
    return pair.claims_ms.median or None


def _meeting(pair: Pair) -> str:
    """Return how often both intervals meet; of a pair with one interval, how often the other's estimate is inside."""
    if pair.meet.value is not None:
        return f"{100 * pair.meet.value:.0f} % meet"
    inside = pair.inside.value
    return "no interval" if inside is None else f"{100 * inside:.0f} % inside"
