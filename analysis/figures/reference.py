"""The figure of the reference: how wide its intervals are over time, pair by pair, and where it knows nothing.

Pairs of nodes are grey: colours are the sources'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.figures import curves, labels, style
from analysis.figures.dots import PERCENT, percent_axis
from analysis.figures.sheet import Panel, Sheet
from analysis.reference import even_instants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from analysis.arrays import Floats, Ints
    from analysis.reference import Reference
    from analysis.reference.envelope import Envelope

FIGURE: Final = "reference_width"
MOST_PAIRS: Final = 3  # panels above each other; all pairs are in the last panel and in the statistics
MOST_CURVES: Final = 15  # pairs with a curve each; of more, one shows how their medians lie
NAMED: Final = 5  # of the widest pairs in the caption

_INSTANTS: Final = 4_000
_BINS: Final = 160
_INK: Final = "#222222"
_BAND: Final = "#b5b5b5"
_NOBODYS: Final = "#e9e9e9"
_SECOND_NS: Final = 1e9
_US: Final = 1e3
_DASHES: Final[tuple[Any, ...]] = ("solid", (0, (1, 1)), (0, (4, 1.3)))  # tell apart as many as have names


def over_time_panel(reference: Reference, pair: tuple[str, str]) -> Panel:
    """Show one known pair's half-width over time; its caption says in which share of the probed time it is known."""
    share = {(known.first, known.second): known.known_share for known in reference.pairs}.get(pair)
    says = "over time" if share is None else f"known in {PERCENT * share:.1f} % of the probed time"
    return Panel(
        f"{pair[0]} and {pair[1]}: half-width",
        says,
        lambda axes: width_over_time(axes, reference, pair),
        height_in=1.0,
        whole=True,
        group=FIGURE,
        how="line: median; shaded: least to most; hatched: not known, around a step",
    )


def width_over_time(axes: Axes, reference: Reference, pair: tuple[str, str]) -> None:
    """Draw a known pair's half-width: median over each 160th of the time, least and most; grey where none is valid."""
    envelope = reference.envelopes[pair]
    at, half = known_half_widths(envelope)
    segments = envelope.segment_at(at)
    start, stop = int(envelope.begins[0]), int(envelope.ends[-1])
    bins = np.minimum((at - start) * _BINS // max(stop - start, 1), _BINS - 1)
    for segment in range(len(envelope.begins)):
        inside = segments == segment
        if not inside.any():
            continue
        places = np.unique(bins[inside])
        parts = [half[inside & (bins == place)] for place in places]
        when = [float((at[inside & (bins == place)] - start).mean()) / _SECOND_NS for place in places]
        ends = [part.min() for part in parts], [part.max() for part in parts]
        axes.fill_between(when, *ends, color=_BAND, linewidth=0)
        axes.plot(when, [float(np.median(part)) for part in parts], color=_INK, linewidth=0.8)
    for end, begin in zip(envelope.ends[:-1].tolist(), envelope.begins[1:].tolist(), strict=True):
        edges = (end - start) / _SECOND_NS, (begin - start) / _SECOND_NS
        axes.axvspan(*edges, facecolor=_NOBODYS, edgecolor="#888888", hatch="////", linewidth=0.4)
    axes.set_ylim(0, 1.08 * float(half.max()))
    axes.set_ylabel("half-width (µs)")
    axes.set_xlabel("time since the pair's first probes (s)")
    style.plain_numbers(axes.xaxis)
    style.plain_numbers(axes.yaxis)


def known_half_widths(envelope: Envelope) -> tuple[Ints, Floats]:
    """Return the instants, evenly over a pair's segments, at which theta is known, and its half-widths there in µs."""
    at = even_instants(envelope, _INSTANTS)
    theta = envelope.theta(at)
    known = theta.segment >= 0
    return at[known], (theta.high - theta.low)[known] / (2 * _US)


def widths_panel(reference: Reference, known: Mapping[tuple[str, str], float]) -> Panel:
    """Show in which share of the time a half-width is at most that, pair by pair; of many pairs, how they lie."""
    title = "Half-width of all pairs"
    if len(known) <= MOST_CURVES:
        says = f"share of the time in which it is known, with at most so much; a line for each of {len(known):,} pairs"

        def draw_pairs(axes: Axes) -> None:
            halves = [known_half_widths(reference.envelopes[pair])[1] for pair in known]
            names = [f"{first}/{second}" for first, second in known] if 1 < len(known) <= MOST_PAIRS else []
            _all_pairs(axes, halves, "time in which it is known", names)

        return Panel(title, says, draw_pairs, height_in=1.6)
    summaries = [pair.half_width_us for pair in reference.pairs if (pair.first, pair.second) in known]
    ends = [np.array([getattr(width, name) for width in summaries]) for name in ("median", "p95")]
    worst = sorted(known, key=lambda pair: -known[pair])[:NAMED]
    named = ", ".join(f"{first}/{second} {known[first, second]:,.2f}" for first, second in worst)
    says = f"share of the {len(known):,} pairs whose median, or 95th percentile, is at most so much; widest: {named} µs"
    names = ("median", "95th percentile")
    return Panel(title, says, lambda axes: _all_pairs(axes, ends, "pairs", names), height_in=1.6)


def _all_pairs(axes: Axes, halves: Sequence[Floats], of: str, names: Sequence[str] = ()) -> None:
    """Draw, of each list of half-widths, which share is at most that; each named, if there are names."""
    for place, half in enumerate(halves):
        curve = curves.of_values("", "", half)
        dashes = _DASHES[place] if names else "solid"
        looks: dict[str, Any] = {"color": _INK, "linewidth": 0.8, "linestyle": dashes}
        (drawn,) = axes.step(curve.values, PERCENT * curve.shares, where="post", **looks)
        if names:
            labels.along(drawn, names[place])
    axes.set_xlabel("half-width at most (µs)")
    style.plain_numbers(axes.xaxis)
    axes.set_xlim(left=0)
    percent_axis(axes, f"{of} (%)", upright=True)


def draw(reference: Reference) -> Sheet:
    """Return the figure ``reference_width``: the widest pairs over time, and all pairs' widths."""
    title = "The reference: how well it knows two nodes' clocks to each other"
    median = {(pair.first, pair.second): pair.half_width_us.median for pair in reference.pairs}
    known = {pair: width for pair, width in median.items() if width is not None and pair in reference.envelopes}
    if not known:
        why = f"no reference: {reference.reason or 'no two nodes are bounded by probes'}"
        return Sheet(title, (Panel("Half-width", why),))
    shown = [pair for pair in reference.envelopes if pair in known]
    widest = sorted(shown, key=lambda pair: -known[pair])[:MOST_PAIRS]
    panels = [over_time_panel(reference, pair) for pair in sorted(widest, key=shown.index)]
    some = f"Shown are the widest {len(widest)} of {len(shown):,} pairs" if len(shown) > len(widest) else ""
    return Sheet(title, (*panels, widths_panel(reference, known)), some)
