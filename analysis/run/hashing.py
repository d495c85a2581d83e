"""Files are hashed while they are read, so that who wrote them is known at no second pass (``checks.integrity``)."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class HashedFile(io.RawIOBase):
    """A file that is hashed while it is read, from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes of the file."""
        piece = self._file.read(-1 if size is None else size)
        self._digest.update(piece)
        return piece

    def sha256(self) -> str:
        """Read what is left, and return the digest of the whole file."""
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@dataclass
class Seen:
    """What was seen of a run's files while they were read: digests and odd cells, by path."""

    digests: dict[Path, str] = field(default_factory=dict)
    odd_cells: dict[Path, dict[str, int]] = field(default_factory=dict)


def sha256(path: Path) -> str:
    """Return the digest of a file that nobody has read yet."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
