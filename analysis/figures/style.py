"""How every figure looks: sizes of a two-column paper, one colour per source, reproducible bytes.

Colours: Okabe and Ito's palette for the colour-blind (Color Universal Design, 2008).
"""

from __future__ import annotations

import io
import math
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from analysis import output
from analysis.figures import plotting
from analysis.figures.plotting import (
    ConstrainedLayoutEngine,
    Figure,
    FigureCanvasAgg,
    FigureCanvasPdf,
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
)
from node_agent.clocks.sources import BY_NAME
from node_agent.contract.records import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLUMN_IN: Final = 3.4  # one column of a two-column paper
PAGE_IN: Final = 7.0  # both
DPI: Final = 300
FASTER: Final[dict[str, Any]] = {"compress_level": 3}

LITTLE: Final = 2.0  # a logarithmic axis that spans less is labelled like a linear one
LOG_STEPS: Final = (
    (7.0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)),
    (300.0, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)  # up to so many times the least, these ticks in each power of ten

_GREY: Final = "#666666"
_PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

RC: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,  # editable, searchable text in the paper
    "path.simplify": False,
}


def context() -> AbstractContextManager[None]:
    """Return the context in which every figure is drawn and saved."""
    return plotting.settings(RC)


def colour(source: str) -> str:
    """Return the one colour of a source; a new source gets one by its name, the same in every figure."""
    colours = {SYSTEM: _GREY, **dict(zip(BY_NAME, cycle(_PALETTE), strict=False))}
    others = _PALETTE[len(BY_NAME) :] or _PALETTE
    return colours.get(source) or others[sum(source.encode()) % len(others)]


def label(source: str) -> str:
    """Return how a source is written in a figure."""
    return BY_NAME[source].label if source in BY_NAME else source


def canvas(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that lays itself out."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def say(axes: Axes, text: str) -> None:
    """Write, in place of a plot, why there is none: never an empty frame, never an invented zero."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=axes.transAxes, color="#444444")


def readable_log(axis: Axis) -> None:
    """Make an axis logarithmic whose labels are plain numbers, at least two of them however little it spans.

    Call it when everything is drawn and the limits stand.
    """
    axes = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    low, high = sorted(float(end) for end in axis.get_view_interval())
    if high / low < LITTLE:
        ticks = [float(tick) for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)]
    else:
        steps = next(steps for most, steps in LOG_STEPS if high / low <= most)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write ``name``.png (300 dpi) and ``name``.pdf atomically, without dates, so that equal data gives equal bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    png, pdf = io.BytesIO(), io.BytesIO()
    with context():
        # Not by savefig, which draws a figure that lays itself out twice per file: once to lay it out, once to keep it.
        agg: Any = FigureCanvasAgg(figure)  # Any: matplotlib publishes no type of printing
        agg.print_png(png, metadata={"Software": None}, pil_kwargs=FASTER)
        figure.set_layout_engine("none")  # the panels stay where they are now
        pages: Any = FigureCanvasPdf(figure)
        pages.print_pdf(pdf, metadata={"Creator": None, "Producer": None, "CreationDate": None})
    paths = []
    for kind, drawn in (("png", png), ("pdf", pdf)):
        path = directory / f"{name}.{kind}"
        output.write_bytes(path, drawn.getvalue())
        paths.append(path)
    return paths


def panels(figure: Figure, rows: int, columns: int, **options: Any) -> Iterator[Axes]:
    """Yield the figure's panels, row by row."""
    yield from figure.subplots(rows, columns, squeeze=False, **options).flat


def two_over_one(figure: Figure, heights: list[float]) -> tuple[Axes, Axes, Axes]:
    """Return two panels side by side and one under both, with heights in proportion."""
    axes = figure.subplot_mosaic([["left", "right"], ["bottom", "bottom"]], height_ratios=heights)
    return axes["left"], axes["right"], axes["bottom"]
