"""Pieces of something long that is gone through several times, in memory or, of a long run, on disk.

On disk they lie in a file without a name, which is gone when the process is, however that ends. A piece that is read
back is mapped, not copied: of its arrays that is read which is used.
"""

from __future__ import annotations

import mmap
import pickle
import tempfile
import weakref
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from analysis.errors import AnalysisError, cause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_Piece = TypeVar("_Piece")


class _Place(NamedTuple):
    """Where a piece is in the file: it begins at ``begin``, with the arrays' bytes one after another, then the rest."""

    begin: int
    sizes: tuple[int, ...]
    rest: int


class Spool(Generic[_Piece]):
    """Pieces in the order in which they were put; each iteration yields all of them."""

    def __init__(self, folder: Path | None = None) -> None:
        """Keep pieces on the disk of ``folder``, or in memory."""
        self._folder = folder
        self._file = None if folder is None else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this is
        if self._file is not None:
            weakref.finalize(self, self._file.close)
        self._pieces: list[_Piece] = []
        self._places: list[_Place] = []

    def put(self, piece: _Piece) -> None:
        """Keep one more piece. Raises AnalysisError where the disk has no room for it."""
        if self._file is None:
            self._pieces.append(piece)
            return
        buffers: list[pickle.PickleBuffer] = []
        rest = pickle.dumps(piece, protocol=5, buffer_callback=buffers.append)
        last = self._places[-1] if self._places else _Place(0, (), 0)
        end = last.begin + sum(map(_aligned, last.sizes)) + last.rest
        begin = -(-end // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        sizes = tuple(buffer.raw().nbytes for buffer in buffers)
        try:
            self._file.seek(begin)
            for buffer, size in zip(buffers, sizes, strict=True):
                self._file.write(buffer.raw())
                self._file.write(bytes(_aligned(size) - size))
            self._file.write(rest)
            self._file.flush()
        except OSError as error:
            raise AnalysisError(
                f"{self._folder}: expected room for what is worked out of a part of the run, got {cause(error)}; make "
                "room on that disk"
            ) from None
        self._places.append(_Place(begin, sizes, len(rest)))

    def __iter__(self) -> Iterator[_Piece]:
        """Yield every piece; arrays of those on disk cannot be written to."""
        if self._file is None:
            yield from self._pieces
            return
        for begin, sizes, rest in self._places:
            length = sum(map(_aligned, sizes)) + rest
            content = memoryview(mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=begin))
            buffers, at = [], 0
            for size in sizes:
                buffers.append(content[at : at + size])
                at += _aligned(size)
            yield pickle.loads(content[at:], buffers=buffers)  # noqa: S301 - what we wrote, in a file nobody else can open

    def __len__(self) -> int:
        return len(self._places) or len(self._pieces)


def _aligned(size: int) -> int:
    """Return a size rounded up so that what follows lies where numbers may lie."""
    return -(-size // 64) * 64
