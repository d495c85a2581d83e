"""Draw a run's figures in two processes: the second begins while the first still writes statistics.

Drawing is half of the time a short run takes to analyse. Which of them draws a figure makes no difference to its bytes.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError
from analysis.figures import style, vector
from analysis.second_process import Beside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure

_Drawn = tuple[list[Path], str, str]  # the files of a figure and the figure within a page, or why there are none


class Drawing(Beside[dict[str, _Drawn]]):
    """Figures being drawn into ``directory``; ``finish`` helps and waits until all are, leaving the block does not.

    ``within_page``: when they are, each as the address of an image by its name, where it is not too large.
    """

    def __init__(self, drawings: Mapping[str, Callable[[], Figure]], directory: Path) -> None:
        self._drawings = dict(drawings)
        self._directory = directory
        self._turn = multiprocessing.Value("i", 0)
        self.within_page: dict[str, str] = {}
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
                figure = drawing()
                files = style.save(figure, self._directory, name)
                drawn[name] = files, vector.within_page(figure, files[0]), ""
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
