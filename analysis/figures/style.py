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
from node_agent.clocks.sources import BY_NAME
from node_agent.contract.records import SYSTEM

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from matplotlib.axis import Axis

    from analysis.figures.plotting import Figure

COLUMN_IN: Final = 3.3  # one column of a two-column paper
PAGE_IN: Final = 7.0  # both
TEXT_PT: Final = 8.0  # of all text, as printed
DPI: Final = 300.0
KINDS: Final = ("png", "pdf")  # files of a figure
FASTER: Final[dict[str, Any]] = {"compress_level": 3}

LITTLE: Final = 2.0  # a logarithmic axis that spans less is labelled like a linear one
MOST_POWERS: Final = 5  # of ten, that have a label on one axis
LOG_STEPS: Final = (
    (7.0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)),
    (300.0, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)  # up to so many times the least, these ticks in each power of ten

INK: Final = "#333333"  # of marks that are no source's
_GREY: Final = "#666666"
_DARKER: Final = 0.45  # what is left of a colour's brightness where it stands for something wrong
_DASHES: Final[tuple[Any, ...]] = (
    "solid", (0, (4, 1.3)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (2, 1)), (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)),
)  # fmt: skip
_PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

RC: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT_PT,
    "axes.titlesize": TEXT_PT,
    "axes.labelsize": TEXT_PT,
    "xtick.labelsize": TEXT_PT,
    "ytick.labelsize": TEXT_PT,
    "legend.fontsize": TEXT_PT,
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


def dark(source: str) -> str:
    """Return a source's colour for what it got wrong: the same hue, dark, so that it stands out in grey as well."""
    wanted = colour(source).lstrip("#")
    parts = (round(_DARKER * int(wanted[place : place + 2], 16)) for place in (0, 2, 4))
    return "#" + "".join(f"{part:02x}" for part in parts)


def dashes(source: str) -> Any:
    """Return the dashes of a source's lines, which tell sources apart where there is no colour."""
    if source == SYSTEM:
        return (0, (1, 2))
    names = list(BY_NAME)
    return _DASHES[(names.index(source) if source in names else sum(source.encode())) % len(_DASHES)]


def label(source: str) -> str:
    """Return how a source is written in a figure."""
    return BY_NAME[source].label if source in BY_NAME else source


def canvas(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that lays itself out."""
    figure = plotting.Figure(
        figsize=(width_in, height_in), dpi=DPI, layout=plotting.ConstrainedLayoutEngine(w_pad=0.06)
    )
    plotting.FigureCanvasAgg(figure)
    return figure


def plain(value: float) -> str:
    """Return a number as figures write it: with commas between thousands, and a minus."""
    return f"{value:,.10g}".replace("-", "−")  # noqa: RUF001 - a minus


def plain_numbers(axis: Axis) -> None:
    """Write the numbers on an axis as all figures do."""
    axis.set_major_formatter(plotting.FuncFormatter(lambda value, _place: plain(value)))


def readable_log(axis: Axis) -> None:
    """Make an axis logarithmic whose labels are plain numbers, at least two of them however little it spans.

    Call it when everything is drawn and the limits stand.
    """
    axes = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    low, high = sorted(float(end) for end in axis.get_view_interval())
    if high / low < LITTLE:
        ticks = [float(tick) for tick in plotting.MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)]
    else:
        steps = next(steps for most, steps in LOG_STEPS if high / low <= most)
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        apart = max(1, -(-(last - first + 1) // MOST_POWERS))
        powers = range(first, last + 1, apart) if len(steps) == 1 else range(first - 1, last + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
    axis.set_major_locator(plotting.FixedLocator([tick for tick in ticks if low <= tick <= high]))
    plain_numbers(axis)
    axis.set_minor_locator(plotting.NullLocator())


def save(figure: Figure, directory: Path, name: str, caption: str = "") -> list[Path]:
    """Write ``name``.png (300 dpi) and ``name``.pdf atomically, without dates, so that equal data gives equal bytes.

    The ``caption`` goes with them: as *Description* of the one, as *Subject* of the other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pixels, pdf = png(figure, caption), io.BytesIO()
    with context():
        figure.set_layout_engine("none")  # the panels stay where they are now
        pages: Any = plotting.FigureCanvasPdf(figure)
        nameless = {"Creator": None, "Producer": None, "CreationDate": None}
        with plotting.fonts_of_outlines():
            pages.print_pdf(pdf, metadata={**nameless, "Subject": caption})
    paths = []
    for kind, drawn in zip(KINDS, (pixels, pdf.getvalue()), strict=True):
        path = directory / f"{name}.{kind}"
        output.write_bytes(path, drawn)
        paths.append(path)
    return paths


def png(figure: Figure, caption: str = "") -> bytes:
    """Return a figure as a PNG of its own resolution that says the ``caption`` as its *Description*, without a date."""
    pixels = io.BytesIO()
    with context():
        # Not by savefig, which draws a figure that lays itself out twice per file: once to lay it out, once to keep it.
        agg: Any = plotting.FigureCanvasAgg(figure)  # Any: matplotlib publishes no type of printing
        agg.print_png(pixels, metadata={"Software": None, "Description": caption}, pil_kwargs=FASTER)
    return pixels.getvalue()
