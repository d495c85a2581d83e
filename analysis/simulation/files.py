"""The files of a simulated node, written in pieces and summed while they are written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType


class Table:
    """One CSV file with its header; ``write`` takes whole rows without their line ends."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._file = path.open("wb")
        self.rows = -1
        self.write([",".join(columns)])

    @property
    def sha256(self) -> str:
        """Return the checksum of what has been written."""
        return self._digest.hexdigest()

    def write(self, rows: Iterable[str]) -> None:
        """Append rows."""
        lines = rows if isinstance(rows, list) else list(rows)
        if not lines:
            return
        text = ("\n".join(lines) + "\n").encode()
        self._digest.update(text)
        self._file.write(text)
        self.rows += len(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
