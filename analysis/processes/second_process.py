"""Do something beside the rest, in a second process, where there is a second processor.

The process is a fork: it has all that was read in its memory, and only its result is handed over. What it does to
anything else is lost, so that it makes no difference to a result where it was computed.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from analysis.errors import AnalysisError
from analysis.processes import pieces

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import TracebackType

DEADLINE_S: Final = 3600.0  # after the first process has nothing else to do
ENDING_S: Final = 10.0

_Result = TypeVar("_Result")


class Beside(Generic[_Result]):
    """``work()`` under way; ``result`` waits for it. Leaving the ``with`` block ends it, done or not.

    Where there is but one processor, or no fork, it is done when its result is asked for. ``what`` names it in errors.
    """

    def __init__(self, what: str, work: Callable[[], _Result]) -> None:
        self._what, self._work = what, work
        self._process: BaseProcess | None = None
        if pieces.processors() > 1:
            self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("fork")
        self._answer, answer = context.Pipe(duplex=False)
        self._process = context.Process(target=_answer, args=(self._work, answer), daemon=True)
        with warnings.catch_warnings():
            # Python warns of forking beside the table reader's threads, which may hold locks; that reader minds forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the work, if it still goes on."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.join(ENDING_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._answer.close()

    def result(self) -> _Result:
        """Return what the work returned, or raise what it raised; to be called once.

        Raises AnalysisError if its process ended without a word, as one does that the system kills for its memory.
        """
        if self._process is None:
            return self._work()
        if not self._answer.poll(DEADLINE_S):
            raise AnalysisError(f"{self._what}: expected to be done within {DEADLINE_S:g} s; analyse the run again")
        try:
            done, answer = self._answer.recv()
        except EOFError:
            self._process.join()
            raise AnalysisError(
                f"{self._what}: expected a result, but the process ended with {self._process.exitcode}; if it was "
                "killed (-9) for want of memory, analyse the run on a machine with more"
            ) from None
        if not done:
            raise answer
        result: _Result = answer
        return result


def _answer(work: Callable[[], Any], answer: Connection) -> None:
    """Do the work and tell; an interrupt is the first process's business, which ends this one in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    try:
        outcome = True, work()
    except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
        error.add_note(traceback.format_exc())
        outcome = False, error
    answer.send(outcome)
    answer.close()
