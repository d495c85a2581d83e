"""Disk space kept back for an agent's last words: on a full disk it can still say so, and write what it holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = ".reserve"
_BYTES: Final = 256 << 10  # some thousand rows, a status and the checksums


def keep(run_dir: Path) -> None:
    """Take the space. Raises OSError where there is not even that much."""
    (run_dir / _FILE).write_bytes(os.urandom(_BYTES))  # zeros would take no space on some file systems


def release(run_dir: Path) -> None:
    """Give the space back. Idempotent."""
    path = run_dir / _FILE
    if path.exists():
        path.unlink()
