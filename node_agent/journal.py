"""Append-only CSV streams, written off the hot path and flushed at least every half second."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLUSH_EVERY_S: Final = 0.25


class Journal:
    """One CSV file. ``write`` only queues lines; ``flush`` puts them into the file. Safe to use from any thread."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Create ``path`` with its header; raises FileExistsError rather than mixing two runs in one file."""
        self.path = path
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.write([",".join(columns)])

    def write(self, lines: Sequence[str]) -> None:
        """Queue whole lines, without their line ends."""
        with self._lock:
            self._lines.extend(lines)

    def flush(self) -> None:
        """Write what is queued; on OSError (disk full) it stays queued and the error is the caller's."""
        with self._lock:
            if not self._lines:
                return
            data = ("\n".join(self._lines) + "\n").encode()
            written = 0
            before = os.fstat(self._file).st_size
            try:
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError:
                os.ftruncate(self._file, before)  # never leave half a row
                raise
            self._lines.clear()

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            os.close(self._file)


def cell(text: str) -> str:
    """Return free text as one CSV cell (RFC 4180)."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def number(value: float | None) -> str:
    """Return a number as a cell; an absent one is empty."""
    return "" if value is None else repr(value)
