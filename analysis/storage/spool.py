"""Pieces of something long that is gone through several times, in memory or, of a long run, on disk.

A piece that is read back is mapped, not copied: of its arrays that is read which is used.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from analysis.storage.scratch import Scratch, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from analysis.storage.scratch import Kept

_Piece = TypeVar("_Piece")


class Spool(Generic[_Piece]):
    """Pieces in the order in which they were put; each iteration yields all of them."""

    def __init__(self, folder: Path | None = None) -> None:
        """Keep pieces on the disk of ``folder``, or in memory."""
        self._scratch = None if folder is None else Scratch(folder)
        self._pieces: list[_Piece] = []
        self._places: list[list[Kept]] = []  # of every piece: what it is made of, and then its arrays

    def put(self, piece: _Piece) -> None:
        """Keep one more piece. Raises AnalysisError where the disk has no room for it."""
        if self._scratch is None:
            self._pieces.append(piece)
            return
        arrays: list[pickle.PickleBuffer] = []
        made_of = pickle.dumps(piece, protocol=5, buffer_callback=arrays.append)
        content = (memoryview(made_of), *(array.raw() for array in arrays))
        self._places.append([self._scratch.keep(np.frombuffer(own, dtype=np.uint8)) for own in content])

    def __iter__(self) -> Iterator[_Piece]:
        """Yield every piece; arrays of those on disk cannot be written to."""
        yield from self._pieces
        for places in self._places:
            made_of, *arrays = map(in_memory, places)
            yield pickle.loads(made_of.data, buffers=arrays)  # noqa: S301 - what we wrote, in a file nobody else can open

    def __len__(self) -> int:
        return len(self._places) + len(self._pieces)
