"""Draw a run's figures in two processes: the second begins while the first still writes statistics.

Drawing is half of the time a short run takes to analyse. Which of them draws a figure makes no difference to its bytes.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis import output
from analysis.errors import AnalysisError
from analysis.figures import plotting, style, vector
from analysis.figures.sheet import Panel, Sheet
from analysis.processes.second_process import Beside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CAPTIONS_FILE: Final = "captions.md"  # beside the figures
_Drawn = tuple[list[Path], str, str]  # the files of a figure and the figure within a page, or why there are none


class Drawing(Beside[dict[str, _Drawn]]):
    """Figures being drawn into ``directory``; ``finish`` helps and waits until all are, leaving the block does not.

    ``within_page``: when they are, each as the address of an image by its name, where it is not too large.

    A figure with nothing to draw has no files, not even an earlier analysis's; its caption says why.
    """

    def __init__(self, drawings: Mapping[str, Callable[[], Sheet]], directory: Path, width_in: float) -> None:
        self._drawings = dict(drawings)
        self._directory = directory
        self._width_in = width_in
        self._turn = multiprocessing.Value("i", 0)
        self.within_page: dict[str, str] = {}
        plotting.load()  # once for both processes
        super().__init__("the figures", self._draw)

    def finish(self) -> tuple[list[Path], list[str]]:
        """Draw what is left; return the paths of all files in the figures' order, and why those that failed did."""
        drawn = self._draw()
        missing = ""
        try:
            drawn |= self.result()
        except AnalysisError as error:
            missing = str(error)
        paths: list[Path] = []
        errors = []
        for name in self._drawings:
            files, image, problem = drawn.get(name, ([], "", f"figure {name}: {missing}"))
            paths += files
            self.within_page |= {name: image} if image else {}
            errors += [problem] if problem else []
        return paths, errors

    def _draw(self) -> dict[str, _Drawn]:
        """Draw the figures nobody else took."""
        drawn: dict[str, _Drawn] = {}
        for place, (name, drawing) in enumerate(self._drawings.items()):
            if not self._mine(place):
                continue
            try:
                files, image = write(drawing(), self._directory, name, self._width_in)
                drawn[name] = files, image, ""
            except Exception as error:  # noqa: BLE001 - one figure that cannot be drawn must not cost the report
                drawn[name] = [], "", f"figure {name}: {type(error).__name__}: {error}"
        return drawn

    def _mine(self, place: int) -> bool:
        """Take a figure, if it is the next one that nobody took."""
        with self._turn.get_lock():
            if self._turn.value != place:
                return False
            self._turn.value += 1
            return True


def write(sheet: Sheet, directory: Path, name: str, width_in: float) -> tuple[list[Path], str]:
    """Write a figure with its caption; return its paths, and the address of its image within a page.

    Of one with nothing to draw remove what is there; it has neither.
    """
    if sheet.drawn:
        figure = sheet.figure(width_in)
        files = style.save(figure, directory, name, sheet.caption)
        return files, vector.within_page(figure, files[0])
    for kind in style.KINDS:
        (directory / f"{name}.{kind}").unlink(missing_ok=True)
    return [], ""


def asked(sheet_of: Callable[[], Sheet], title: str) -> Sheet:
    """Return a figure before it is drawn; of one that fails a sheet without any panel, whose caption says how."""
    try:
        return sheet_of()
    except Exception as error:  # noqa: BLE001 - drawing it fails alike, and is counted as an error there
        return Sheet(title, (Panel("Failed", f"{type(error).__name__}: {error}"),))


def captions(drawings: Mapping[str, Callable[[], Sheet]]) -> dict[str, str]:
    """Return every figure's caption, or why there is no such figure, by its name."""
    return {name: asked(sheet_of, name).caption for name, sheet_of in drawings.items()}


def write_captions(by_name: Mapping[str, str], directory: Path) -> Path:
    """Write the captions of all figures into one file beside them; return its path."""
    parts = [f"## {name}\n\n{caption}" for name, caption in by_name.items()]
    return output.write_text(directory / CAPTIONS_FILE, "\n\n".join(["# Captions", *parts]) + "\n")
