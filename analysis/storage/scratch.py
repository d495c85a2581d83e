"""Where the processes of an analysis put numbers that are by event, of a run that does not fit into memory.

On one machine it is a file without a name that all of them have open: what one writes, each other one reads, and it is
gone when they are, however they end. On several it is a folder that all of them see.
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
    """Where numbers are: in a file, by its descriptor or its path, so many of a type from a byte on."""

    file: int | str
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
        content = np.ascontiguousarray(numbers).data.cast("B") if len(numbers) else memoryview(b"")
        try:
            file, begin = self._append(content)
        except OSError as error:
            raise AnalysisError(
                f"{self.folder}: expected room for what is counted of a part of the run, got {cause(error)}; make room "
                "on that disk"
            ) from None
        return Kept(file, begin, len(numbers), numbers.dtype.str)

    def put(self, piece: Any) -> Put:
        """Write something, arrays beside the rest, and return where it is. Raises AnalysisError as ``keep`` does."""
        arrays: list[pickle.PickleBuffer] = []
        made_of = pickle.dumps(piece, protocol=5, buffer_callback=arrays.append)
        content = (memoryview(made_of), *(array.raw() for array in arrays))
        return Put(tuple(self.keep(np.frombuffer(own, dtype=np.uint8)) for own in content))

    def _append(self, content: memoryview) -> tuple[int | str, int]:
        """Write something at the end; return the file, and from which byte on it is there."""
        descriptor = self._file.fileno()
        with self._one_at_a_time:
            return descriptor, _append(descriptor, content)


class SharedScratch(Scratch):
    """A folder that processes on several machines see; each writes a file of its own there."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, which whoever made it removes."""
        self.folder = folder
        self._own: dict[int, tuple[int, str]] = {}  # the file of this process, which may be a fork of one that has one

    def close(self) -> None:
        """Close this process's own file; what is in it can still be read."""
        if own := self._own.pop(os.getpid(), None):
            os.close(own[0])

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process begins with, wherever it is."""
        return {"folder": self.folder, "_own": {}}

    def _append(self, content: memoryview) -> tuple[int | str, int]:
        process = os.getpid()
        if process not in self._own:
            self._own[process] = tempfile.mkstemp(".numbers", f"{process}-", self.folder)
        descriptor, path = self._own[process]
        return path, _append(descriptor, content)


def _append(descriptor: int, left: memoryview) -> int:
    """Write something at the end of a file, where it can be mapped; return from which byte on it is there."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    begin = -(-end // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
    at = begin
    while left:
        written = os.pwrite(descriptor, left, at)
        left, at = left[written:], at + written
    return begin


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
    if isinstance(numbers.file, int):
        mapped = mmap.mmap(numbers.file, size, access=mmap.ACCESS_READ, offset=numbers.begin)
    else:
        with open(numbers.file, "rb") as file:  # noqa: PTH123 - a path as text, of which there may be many thousand
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=numbers.begin)
    return np.frombuffer(mapped, dtype=numbers.kind)


def loaded(pieces: Iterable[Stored]) -> Iterator[NDArray[Any]]:
    """Yield numbers piece by piece."""
    return map(in_memory, pieces)
