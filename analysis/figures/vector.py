"""A figure as SVG, as a page shows it: the same bytes for the same figure, letters as shapes, no date."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

from analysis.figures import plotting, style
from analysis.figures.plotting import FigureCanvasSVG

if TYPE_CHECKING:
    from analysis.figures.plotting import Figure

RC: Final[dict[str, Any]] = {"svg.hashsalt": "chronotick", "svg.fonttype": "path"}
NO_METADATA: Final = {"Creator": None, "Date": None, "Format": None, "Type": None}
_PATH: Final = re.compile(r'(?<= d=")[^"]*')
_LONG: Final = re.compile(r"\d+\.\d{3,}")


def svg(figure: Figure) -> str:
    """Return a figure that is laid out already as SVG. Places are rounded to a hundredth of a point."""
    text = io.StringIO()
    with plotting.settings(style.RC | RC):
        canvas: Any = FigureCanvasSVG(figure)  # Any: matplotlib publishes no type of printing
        canvas.print_svg(text, metadata=NO_METADATA)
    return _PATH.sub(lambda path: _LONG.sub(_rounded, path[0]), text.getvalue())


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"
