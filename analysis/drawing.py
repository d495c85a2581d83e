"""Draw a run's figures in two processes: the second begins while the first still writes the merged table.

Drawing is half of the time a short run takes to analyse. The second process is a fork, so that nothing is imported or
handed over; it draws, tells, and touches nothing else. Which of them draws a figure makes no difference to its bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from typing import TYPE_CHECKING, Any, Final

from analysis import style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

    from matplotlib.figure import Figure

DEADLINE_S: Final = 300.0  # for the second process, after the first is done; a figure takes a second or two
_Drawn = tuple[list["Path"], str]  # the files of a figure, or why there are none


class Drawing:
    """Figures being drawn into ``directory``; ``finish`` helps and waits until all are."""

    def __init__(self, drawings: Mapping[str, Callable[[], Figure]], directory: Path) -> None:
        self._drawings = dict(drawings)
        self._directory = directory
        self._helper: multiprocessing.process.BaseProcess | None = None
        processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        if len(processors) < 2 or "fork" not in multiprocessing.get_all_start_methods():
            self._turn: Any = None
            return
        context = multiprocessing.get_context("fork")
        self._turn = context.Value("i", 0)
        self._answer, answer = context.Pipe(duplex=False)
        self._helper = context.Process(target=self._help, args=(answer,))
        with warnings.catch_warnings():
            # Python warns of forking beside the readers' threads, which may hold locks; the fork reads no tables.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._helper.start()
        answer.close()

    def finish(self) -> tuple[list[Path], list[str]]:
        """Draw what is left; return the paths of all files in the figures' order, and why those that failed did."""
        drawn = self._draw()
        if self._helper is not None:
            try:
                if self._answer.poll(DEADLINE_S):
                    drawn |= self._answer.recv()
            except EOFError:
                pass  # it ended without an answer; its figures are named below
            if self._helper.is_alive() and len(drawn) < len(self._drawings):
                self._helper.kill()
            self._helper.join()
            self._answer.close()
        paths: list[Path] = []
        errors = []
        for name in self._drawings:
            files, error = drawn.get(name, ([], f"figure {name}: the process that drew it ended or took too long"))
            paths += files
            errors += [error] if error else []
        return paths, errors

    def _help(self, answer: Connection) -> None:
        answer.send(self._draw())
        answer.close()

    def _draw(self) -> dict[str, _Drawn]:
        """Draw the figures nobody else took."""
        drawn: dict[str, _Drawn] = {}
        for place, (name, drawing) in enumerate(self._drawings.items()):
            if not self._mine(place):
                continue
            try:
                drawn[name] = style.save(drawing(), self._directory, name), ""
            except Exception as error:  # noqa: BLE001 - one figure that cannot be drawn must not cost the report
                drawn[name] = [], f"figure {name}: {type(error).__name__}: {error}"
        return drawn

    def _mine(self, place: int) -> bool:
        """Take a figure, if it is the next one that nobody took."""
        if self._turn is None:
            return True
        with self._turn.get_lock():
            if self._turn.value != place:
                return False
            self._turn.value += 1
            return True
