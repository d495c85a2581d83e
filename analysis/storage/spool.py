"""Pieces of something long that is gone through several times, in memory or, of a long run, on disk.

A piece that is read back is mapped, not copied: of its arrays that is read which is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from analysis.storage.scratch import Scratch, taken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from analysis.storage.scratch import Put

_Piece = TypeVar("_Piece")


class Spool(Generic[_Piece]):
    """Pieces in the order in which they were put; each iteration yields all of them."""

    def __init__(self, folder: Path | None = None) -> None:
        """Keep pieces on the disk of ``folder``, or in memory."""
        self._scratch = None if folder is None else Scratch(folder)
        self._pieces: list[_Piece | Put] = []

    def put(self, piece: _Piece) -> None:
        """Keep one more piece. Raises AnalysisError where the disk has no room for it."""
        self._pieces.append(piece if self._scratch is None else self._scratch.put(piece))

    def __iter__(self) -> Iterator[_Piece]:
        """Yield every piece; arrays of those on disk cannot be written to."""
        return map(taken, self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)
