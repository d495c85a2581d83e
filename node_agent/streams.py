"""Standard output and error that never end a program: what is done does not depend on whether anybody listens.

A pipe whose reader has gone, a full disk, a terminal that was closed, a descriptor that was never open: what cannot be
written is dropped, and the first reason is kept. A character that the locale's encoding does not have is written as an
escape. ``install`` is called once, where a program begins; nothing else needs to think of it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import os
import select
import signal
import sys
import threading
from typing import Any, Final, TextIO

CLOSED: Final = "it is closed"
_NAMES: Final = {1: "stdout", 2: "stderr"}
_HAS_ENDED: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL


class _Sink(io.RawIOBase):
    """A file descriptor to write to, None for one that is not open. Writing to it never fails."""

    def __init__(self, descriptor: int | None, name: str) -> None:
        super().__init__()
        self.name = name
        self._descriptor = descriptor
        self._failure = CLOSED if descriptor is None else None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Write all of ``data``, or as much as is taken; say that all was."""
        left = memoryview(data).cast("B")
        size = len(left)
        if self._descriptor is not None:
            try:
                while len(left):
                    try:
                        left = left[os.write(self._descriptor, left) :]
                    except BlockingIOError:  # noqa: PERF203 - another program made it so; a slow reader still listens
                        self._poll(None)
            except OSError as error:
                self._failure = self._failure or error.strerror or str(error)
        return size

    @property
    def failure(self) -> str | None:
        """Return why something was not written, or will not be, as the other end has gone; None if all is well."""
        if self._failure is None and self._poll(0) & _HAS_ENDED:
            self._failure = "the other end has gone"
        return self._failure

    def _poll(self, timeout_ms: int | None) -> int:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        return sum(events for _, events in poll.poll(timeout_ms))


class Stream(io.TextIOWrapper):
    """Text to a descriptor, with the encoding and the buffering that the ``original`` stream of it has."""

    def __init__(self, original: TextIO | None, descriptor: int, name: str) -> None:
        """Stand in for ``original``; None is what Python makes of a descriptor that was closed at its start."""
        self._sink = _Sink(None if original is None else descriptor, name)
        super().__init__(
            io.BufferedWriter(self._sink),
            encoding=getattr(original, "encoding", None) or "utf-8",
            errors="backslashreplace",
            line_buffering=getattr(original, "line_buffering", False),
            write_through=getattr(original, "write_through", False),
        )

    @property
    def failure(self) -> str | None:
        """Return why not all of it was, or will be, heard; None if all is well."""
        return self._sink.failure


def install() -> None:
    """Replace this process's standard output and error, unless something else stands there already."""
    for descriptor in range(3):
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:  # noqa: PERF203 - it is closed; three of them
            os.open(os.devnull, os.O_RDWR)  # takes its place, which the next file would have, and be written to
            os.set_inheritable(descriptor, True)
    for descriptor, name in _NAMES.items():
        original = getattr(sys, f"__{name}__")
        if getattr(sys, name) is original:
            if original is not None:
                with contextlib.suppress(OSError):  # what it held back is lost then, as all that follows will be
                    original.flush()
            setattr(sys, name, Stream(original, descriptor, f"<{name}>"))


def outlive_terminal() -> None:
    """Let this process go on when its terminal is closed, which only means that nobody listens any more.

    A handler that does nothing, for it is not passed on to other programs, as ignoring the signal would be; until
    Python ends, which takes handlers away before all is over. One that ignores it already (``nohup``) goes on to.
    """
    at_main_thread = threading.current_thread() is threading.main_thread()
    if at_main_thread and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
        atexit.register(signal.signal, signal.SIGHUP, signal.SIG_IGN)


def failure_of(stream: TextIO) -> str | None:
    """Return why a stream is not heard, in a few words; None if it is, or is none of these."""
    return stream.failure if isinstance(stream, Stream) else None


def unheard(failure: str) -> str:
    """Return the line about a standard output that is not heard."""
    return f"standard output: {failure}; not all that was said was heard, and nothing else was changed by it"
