"""Where the processes of an analysis put numbers that are by event, of a run that does not fit into memory.

It is a file without a name that all of them have open: what one writes, each other one reads, and it is gone when they
are, however they end.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import tempfile
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from analysis.errors import AnalysisError, cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Stored: TypeAlias = "NDArray[Any] | Kept"  # numbers in memory or on disk


class Kept(NamedTuple):
    """Where numbers are: in an open file, so many of a type from a byte on. It has none of them."""

    descriptor: int
    begin: int
    length: int
    kind: str


class Put(NamedTuple):
    """Where something is that was put on disk as a whole: what it is made of, and then its arrays."""

    places: tuple[Kept, ...]


class Scratch:
    """The file, of processes that are forks of the one which made it."""

    def __init__(self, folder: Path) -> None:
        """Make it on the disk of ``folder``."""
        self.folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this is
        self._one_at_a_time = multiprocessing.Lock()  # a lock of the file is not to be had on every network file system
        weakref.finalize(self, self._file.close)

    def keep(self, numbers: NDArray[Any]) -> Kept:
        """Write numbers, and return where they are. Raises AnalysisError where the disk has no room for them."""
        descriptor = self._file.fileno()
        try:
            with self._one_at_a_time:
                end = os.lseek(descriptor, 0, os.SEEK_END)
                begin = -(-end // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
                left = np.ascontiguousarray(numbers).data.cast("B") if len(numbers) else memoryview(b"")
                at = begin
                while left:
                    written = os.pwrite(descriptor, left, at)
                    left, at = left[written:], at + written
        except OSError as error:
            raise AnalysisError(
                f"{self.folder}: expected room for what is counted of a part of the run, got {cause(error)}; make room "
                "on that disk"
            ) from None
        return Kept(descriptor, begin, len(numbers), numbers.dtype.str)

    def put(self, piece: Any) -> Put:
        """Write something, arrays beside the rest, and return where it is. Raises AnalysisError as ``keep`` does."""
        arrays: list[pickle.PickleBuffer] = []
        made_of = pickle.dumps(piece, protocol=5, buffer_callback=arrays.append)
        content = (memoryview(made_of), *(array.raw() for array in arrays))
        return Put(tuple(self.keep(np.frombuffer(own, dtype=np.uint8)) for own in content))


def taken(piece: Any) -> Any:
    """Return something that may have been put on disk; its arrays are mapped then, and cannot be written to."""
    if not isinstance(piece, Put):
        return piece
    made_of, *arrays = map(in_memory, piece.places)
    return pickle.loads(made_of.data, buffers=arrays)  # noqa: S301 - what we wrote, in a file nobody else can open


def in_memory(numbers: Stored) -> NDArray[Any]:
    """Return numbers, mapped for as long as somebody has them if they are on disk."""
    if not isinstance(numbers, Kept):
        return numbers
    if not numbers.length:
        return np.zeros(0, dtype=numbers.kind)
    size = numbers.length * np.dtype(numbers.kind).itemsize
    mapped = mmap.mmap(numbers.descriptor, size, access=mmap.ACCESS_READ, offset=numbers.begin)
    return np.frombuffer(mapped, dtype=numbers.kind)


def loaded(pieces: Iterable[Stored]) -> Iterator[NDArray[Any]]:
    """Yield numbers piece by piece."""
    return map(in_memory, pieces)
