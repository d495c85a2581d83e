"""The figure of the reference: how wide its intervals are over time, pair by pair, and where it knows nothing.

Pairs of nodes are grey: colours are the sources'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.figures import style
from analysis.figures.bars import PERCENT, legend
from analysis.figures.plotting import Line2D, Patch
from analysis.reference import even_instants

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.arrays import Floats, Ints
    from analysis.reference import Reference
    from analysis.reference.envelope import Envelope

FIGURE: Final = "reference_width"
MOST_PAIRS: Final = 3  # panels above each other; all pairs are in the right panel and in the statistics

_INSTANTS: Final = 4_000
_BINS: Final = 160
_INK: Final = "#222222"
_BAND: Final = "#b5b5b5"
_NOBODYS: Final = "#e9e9e9"
_SECOND_NS: Final = 1e9
_US: Final = 1e3


def width_over_time(axes: Axes, reference: Reference, pair: tuple[str, str]) -> None:
    """Draw one known pair's half-width: median over each 160th of the time, least and most; grey where none is valid.

    Beside the pair's name stands in which share of the probed time it is known.
    """
    envelope = reference.envelopes[pair]
    share = {(known.first, known.second): known.known_share for known in reference.pairs}.get(pair)
    note = "" if share is None else f", known in {PERCENT * share:.1f} % of the time"
    axes.set_title(f"{pair[0]} and {pair[1]}{note}", loc="left")
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


def known_half_widths(envelope: Envelope) -> tuple[Ints, Floats]:
    """Return the instants, evenly over a pair's segments, at which theta is known, and its half-widths there in µs."""
    at = even_instants(envelope, _INSTANTS)
    theta = envelope.theta(at)
    known = theta.segment >= 0
    return at[known], (theta.high - theta.low)[known] / (2 * _US)


def widths(axes: Axes, reference: Reference) -> None:
    """Draw, pair by pair, in which share of the time the half-width is at most that."""
    axes.set_title("All pairs", loc="left")
    for envelope in reference.envelopes.values():
        _, half = known_half_widths(envelope)
        if len(half):
            share = PERCENT * np.arange(1, len(half) + 1) / len(half)
            axes.plot(np.sort(half), share, color=_INK, alpha=0.6, linewidth=0.8)
    axes.set_xlabel("half-width at most (µs)")
    axes.set_ylabel("time in which it is known (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    axes.grid()


def draw(reference: Reference) -> Figure:
    """Draw the figure ``reference_width``: the widest pairs over time, and all pairs' widths."""
    median = {(known_pair.first, known_pair.second): known_pair.half_width_us.median for known_pair in reference.pairs}
    known = {pair: width for pair, width in median.items() if width is not None}
    shown = [pair for pair in reference.envelopes if pair in known]
    with style.context():
        if not shown:
            figure = style.canvas(style.PAGE_IN, 1.6)
            (axes,) = style.panels(figure, 1, 1)
            style.say(axes, f"no reference: {reference.reason or 'no two nodes are bounded by probes'}")
            return figure
        widest = sorted(shown, key=lambda pair: -known[pair])[:MOST_PAIRS]
        figure = style.canvas(style.PAGE_IN, max(2.4, 0.9 + 1.25 * len(widest)))
        grid = figure.add_gridspec(len(widest), 2, width_ratios=(2.2, 1))
        panels = [figure.add_subplot(grid[row, 0]) for row in range(len(widest))]
        for axes, pair in zip(panels, sorted(widest, key=shown.index), strict=True):
            width_over_time(axes, reference, pair)
        panels[-1].set_xlabel("time since the pair's first probes (s)")
        widths(figure.add_subplot(grid[:, 1]), reference)
        if len(shown) > len(widest):
            some = f" (the widest {len(widest)} of {len(shown)} pairs)"
            panels[0].set_title(panels[0].get_title(loc="left") + some, loc="left")
        line = Line2D([], [], color=_INK, linewidth=0.8, label="median")
        band = Patch(facecolor=_BAND, label="least to most")
        unknown = Patch(facecolor=_NOBODYS, edgecolor="#888888", hatch="////", label="around a step: not known")
        legend(figure, [line, band, unknown])
    return figure
