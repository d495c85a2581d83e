"""A figure as a page shows it, within the page: as SVG or, where that is too large, as pixels, fewer where need be.

The same figure gives the same bytes: letters are shapes, and there is no date.
"""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any, Final

from analysis.figures import plotting, style

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.figures.plotting import Figure

RC: Final[dict[str, Any]] = {"svg.hashsalt": "chronotick", "svg.fonttype": "path"}
NO_METADATA: Final = {"Creator": None, "Date": None, "Format": None, "Type": None}
MOST_BYTES: Final = 400_000  # of a figure within a page
_PATH: Final = re.compile(r'(?<= d=")[^"]*')
_LONG: Final = re.compile(r"\d+\.\d{3,}")


def within_page(figure: Figure, png: Path) -> str:
    """Return a figure that is laid out already, and saved as ``png``, as the address of an image that is all in it."""
    kind, content = "svg+xml", svg(figure).encode("utf-8")
    if len(content) > MOST_BYTES:
        kind, content = "png", png.read_bytes()
    dpi = style.DPI
    while len(content) > MOST_BYTES:
        dpi /= 2
        figure.set_dpi(dpi)  # drawing an SVG has left its own there
        content = style.png(figure)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def svg(figure: Figure) -> str:
    """Return a figure that is laid out already as SVG. Places are rounded to a hundredth of a point."""
    text = io.StringIO()
    with plotting.settings(style.RC | RC):
        canvas: Any = plotting.FigureCanvasSVG(figure)  # Any: matplotlib publishes no type of printing
        canvas.print_svg(text, metadata=NO_METADATA)
    return _PATH.sub(lambda path: _LONG.sub(_rounded, path[0]), text.getvalue())


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"
