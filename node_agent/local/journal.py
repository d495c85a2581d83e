"""Append-only CSV streams, written off the hot path and flushed at least every half second; files written whole.

Disk space is kept back for an agent's last words: on a full disk it can still say so, and write what it holds.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLUSH_EVERY_S: Final = 0.25
_LINES_AT_ONCE: Final = 256  # joining more would hold the interpreter for long


class Journal:
    """One CSV file. ``write`` only queues lines; ``flush`` puts them into the file. Safe to use from any thread."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Create ``path`` with its header; raises FileExistsError rather than mixing two runs in one file."""
        self.path = path
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._file_lock = threading.Lock()  # a disk may take its time; nobody who writes lines waits for it
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.write([",".join(columns)])

    def write(self, lines: Sequence[str]) -> None:
        """Queue whole lines, without their line ends."""
        with self._lock:
            self._lines.extend(lines)

    def flush(self) -> None:
        """Write what is queued; on OSError (disk full) it stays queued and the error is the caller's."""
        with self._file_lock:
            with self._lock:
                lines, self._lines = self._lines, []
            if not lines:
                return
            before = os.fstat(self._file).st_size
            try:
                for start in range(0, len(lines), _LINES_AT_ONCE):
                    _write_all(self._file, ("\n".join(lines[start : start + _LINES_AT_ONCE]) + "\n").encode())
            except OSError:
                with self._lock:
                    self._lines = lines + self._lines
                os.ftruncate(self._file, before)  # never leave half a row
                raise

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            os.close(self._file)


def _write_all(file: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(file, data[written:])


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file beside its place and move it there: a reader sees the old one or the new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch(mode)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # there only if it could not be moved


_FILE: Final = ".reserve"
_BYTES: Final = 256 << 10  # some thousand rows, a status and the checksums


def keep_reserve(run_dir: Path) -> None:
    """Take the space. Raises OSError where there is not even that much."""
    (run_dir / _FILE).write_bytes(os.urandom(_BYTES))  # zeros would take no space on some file systems


def release_reserve(run_dir: Path) -> None:
    """Give the space back. Idempotent."""
    path = run_dir / _FILE
    if path.exists():
        path.unlink()
