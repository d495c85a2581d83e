"""Independent pieces of work on one run, shared out among processes.

The processes are forks: they have what was read in their memory, and only results are handed over. Whatever a piece
does to anything else is lost, so that it makes no difference to a result which process did it, or how many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, TypeAlias

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

ShareOut: TypeAlias = "Callable[[Sequence[Callable[[], Any]]], list[Any]]"  # what pieces return, in their order

_given: list[Callable[[], Any]] = []  # in a process of ours: all pieces there are


def processors() -> int:
    """Return how many processes are worth while: one for each processor; without fork one in all."""
    if not _can_fork():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results(pieces: Sequence[Callable[[], Any]], processes: int) -> list[Any]:
    """Return what every piece returns, in their order; they are begun in it too, so that long ones had better be first.

    With one process, one piece, or a system without fork, all is done here. Raises what a piece raised, and
    AnalysisError if a process ended without a word, as one does that the system kills for its memory. None is left when
    this returns or raises.
    """
    if processes < 2 or len(pieces) < 2 or not _can_fork():
        return [piece() for piece in pieces]
    others = {process.pid for process in multiprocessing.active_children()}
    executor = ProcessPoolExecutor(
        min(processes, len(pieces)), multiprocessing.get_context("fork"), initializer=_begin, initargs=(list(pieces),)
    )
    try:
        with warnings.catch_warnings():
            # Python warns of forking beside the table reader's threads, which may hold locks; that reader minds forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            futures = [executor.submit(_do, number) for number in range(len(pieces))]
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()  # which raises what it raised
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise AnalysisError(
            "a process of the analysis: expected its result, but it ended without one; if the system killed it for "
            "want of memory, analyse the run on a machine with more"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            if process.pid not in others:
                process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _can_fork() -> bool:
    return "fork" in multiprocessing.get_all_start_methods()


def _begin(pieces: list[Callable[[], Any]]) -> None:
    """Be one of several: an interrupt is the first process's business, and without that one there is no other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    _given.extend(pieces)
    threading.Thread(target=_end_with_the_first, daemon=True).start()


def _end(_number: int, _frame: FrameType | None) -> None:
    """End in order, so that no half file is left, and begin no other piece."""
    _given.clear()
    sys.exit(1)


def _end_with_the_first() -> None:
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def _do(number: int) -> Any:
    return _given[number]()
