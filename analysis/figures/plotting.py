"""The one door to matplotlib, which starts from its own defaults: equal data gives equal figures, whoever draws them.

When first imported, matplotlib reads MPLBACKEND, and a ``matplotlibrc`` in the current folder, or the one that
MATPLOTLIBRC names, or the user's; where one of them cannot be read it ends there with an error.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
    from matplotlib.transforms import Bbox

__all__ = [
    "Bbox", "ConstrainedLayoutEngine", "Figure", "FigureCanvasAgg", "FigureCanvasPdf", "FigureCanvasSVG",
    "FixedLocator", "FuncFormatter", "Line2D", "LineCollection", "MaxNLocator", "NullLocator", "fonts_of_outlines",
    "load", "mpl", "settings", "withStroke",
]  # fmt: skip

_LAYOUT_TABLES: Final = ("GDEF", "GPOS", "GSUB", "kern", "MATH")
_READ_AT_IMPORT: Final = ("MPLBACKEND", "MATPLOTLIBRC")
_DEFINED_IN: Final[Mapping[str, str]] = {
    "mpl": "matplotlib",
    "FigureCanvasAgg": "matplotlib.backends.backend_agg",
    "FigureCanvasPdf": "matplotlib.backends.backend_pdf",
    "FigureCanvasSVG": "matplotlib.backends.backend_svg",
    "Figure": "matplotlib.figure",
    "ConstrainedLayoutEngine": "matplotlib.layout_engine",
    "Line2D": "matplotlib.lines",
    "LineCollection": "matplotlib.collections",
    "withStroke": "matplotlib.patheffects",
    **dict.fromkeys(("FixedLocator", "FuncFormatter", "MaxNLocator", "NullLocator"), "matplotlib.ticker"),
    "Bbox": "matplotlib.transforms",
}


@contextmanager
def fonts_of_outlines() -> Iterator[None]:
    """Leave out of a PDF's fonts what places glyphs beside each other: there they have their places already.

    Reading and cutting those tables took half of the time that a font takes. matplotlib makes fontTools' options
    itself, so that this is the only way in.
    """
    from fontTools.subset import Options  # noqa: PLC0415 - what draws nothing need not wait for it

    kept = Options._drop_tables_default  # noqa: SLF001 - see above
    Options._drop_tables_default = [*kept, *_LAYOUT_TABLES]  # noqa: SLF001 - see above
    try:
        yield
    finally:
        Options._drop_tables_default = kept  # noqa: SLF001 - see above


@contextmanager
def _known_state() -> Iterator[None]:
    """Stand where matplotlib's own ``matplotlibrc`` lies (it names no setting) and is read before any other."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("matplotlib: expected it to be installed; uv sync")
    here = os.open(".", os.O_PATH)  # works in a folder that was removed, or may not be read, as well
    kept = {name: os.environ.pop(name) for name in _READ_AT_IMPORT if name in os.environ}
    try:
        os.chdir(Path(spec.submodule_search_locations[0]) / "mpl-data")
        yield
    finally:
        os.fchdir(here)
        os.close(here)
        os.environ.update(kept)


def _imported(name: str) -> Any:
    """Import a name of matplotlib when it is first asked for: what draws nothing need not wait for it."""
    if name in globals():
        return globals()[name]
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _known_state():
        module = importlib.import_module(_DEFINED_IN[name])
    defined = globals()[name] = module if name == "mpl" else getattr(module, name)
    return defined


if not TYPE_CHECKING:  # a type checker knows the names, and which are none
    __getattr__ = _imported


def load() -> None:
    """Import all of matplotlib that figures are drawn with, so that processes forked after it need not."""
    for name in _DEFINED_IN:
        _imported(name)


@contextmanager
def settings(changed: dict[str, Any]) -> Iterator[None]:
    """Draw with matplotlib's defaults and what is ``changed`` of them, whatever was set before; it is again after."""
    mpl = _imported("mpl")
    # The canvas decides the backend; naming one here would load it.
    wanted: Any = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    with mpl.rc_context(wanted | changed):
        yield
