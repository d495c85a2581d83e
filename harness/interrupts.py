"""Waiting for a condition, with a deadline and a message; and finishing what an interrupt may not cut short."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from harness.errors import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_S: Final = 0.5
_heeded: set[signal.Signals] = {signal.SIGINT, signal.SIGTERM}
_unheard: list[int] = []  # signals that were told of and have not ended anything yet

INTERRUPTED: Final = "interrupt received: stopping the agents and collecting first; this ends by itself"


def until(what: str, missing: Callable[[], str | None], timeout_s: float, poll_s: float = POLL_S) -> None:
    """Return once ``missing`` says None; it is asked every ``poll_s`` and says what is still missing until then.

    Raises DeadlineError after ``timeout_s``, with the last answer in it; KeyboardInterrupt once more where Python lost
    the first one, which it does with what is raised while it runs a destructor or a callback of its own.
    """
    deadline = time.monotonic() + timeout_s
    tick = threading.Event()
    while (said := missing()) is not None:
        if _unheard and threading.current_thread() is threading.main_thread():
            _unheard.clear()
            raise KeyboardInterrupt
        if time.monotonic() >= deadline:
            raise DeadlineError(f"{what}: expected within {timeout_s:g} s, still missing: {said}")
        tick.wait(min(poll_s, max(0.0, deadline - time.monotonic())))


def heed_hangup() -> None:
    """Let the end of the terminal (SIGHUP) be as Ctrl-C from now on, unless it is ignored (``nohup``)."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
        _heeded.add(signal.SIGHUP)


@contextlib.contextmanager
def told_of_interrupt(say: Callable[[str], None]) -> Iterator[None]:
    """Tell of the first signal that is heeded (Ctrl-C, SIGTERM) at once, before KeyboardInterrupt unwinds.

    Later ones change nothing.
    """
    came: list[int] = []

    def interrupt(number: int, _frame: Any) -> None:
        came.append(number)
        _tell(say)
        if len(came) == 1:
            _unheard.append(number)
            raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextlib.contextmanager
def uninterrupted(say: Callable[[str], None]) -> Iterator[None]:
    """Hold back Ctrl-C (and SIGTERM) while results are brought home; everything inside has deadlines of its own.

    One that came in meanwhile is raised at the end. Outside the main thread, where no signal arrives, it does nothing.
    """
    came: list[int] = []

    def hold(number: int, _frame: Any) -> None:
        came.append(number)
        _tell(say)

    with _handled_by(hold):
        yield
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Let a handler have the signals that are heeded, which arrive in the main thread alone.

    What came before led here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _unheard.clear()
    before = {number: signal.signal(number, handler) for number in _heeded}
    try:
        yield
    finally:
        _unheard.clear()
        for number, old in before.items():
            signal.signal(number, old)


def _tell(say: Callable[[str], None]) -> None:
    """Say what a signal does, from its handler; not if it came amid a write to the same stream, which must not end."""
    with contextlib.suppress(RuntimeError):
        say(INTERRUPTED)
