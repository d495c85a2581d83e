"""Files are hashed beside the reading of them, so that who wrote them is known (``checks.integrity``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Seen:
    """What was seen of a run's files while they were read: digests and odd cells, by path."""

    digests: dict[Path, str] = field(default_factory=dict)
    odd_cells: dict[Path, dict[str, int]] = field(default_factory=dict)

    def add(self, other: Seen) -> None:
        """Add what was seen elsewhere, in another process say."""
        self.digests |= other.digests
        self.odd_cells |= other.odd_cells


def sha256(path: Path) -> str:
    """Return the digest of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
