"""The file that holds an archive: frames of Zstandard (RFC 8878), and a seal over all of them.

The bytes must not depend on the machine. Those of zlib do (distributions build zlib or zlib-ng), so neither gzip nor
a deflated zip would do; pyarrow brings its own libzstd, and its version is pinned. Every frame holds ``BLOCK`` bytes,
whatever the pieces that were written, so that they depend on the content alone. The last frame is a skippable one
(RFC 8878, 3.1.2), which other programs pass over: the SHA-256 of every byte before it. So not a bit of the file can
change unseen, and a file that was cut off is known before it is read.
"""

from __future__ import annotations

import hashlib
import io
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import pyarrow as pa

from analysis.errors import ArchiveError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BLOCK: Final = 4 << 20
LEVEL: Final = 3  # Zstandard's own default
MAGIC: Final = bytes.fromhex("28b52ffd")  # RFC 8878, 3.1.1
SEAL_HEAD: Final = struct.pack("<II", 0x184D2A50, 64)  # skippable frame 0, of 64 bytes: the hex digits
SEAL_BYTES: Final = len(SEAL_HEAD) + 64


class FramesError(ArchiveError):
    """Bytes that are no frames: they were changed, and cannot be decompressed."""


class FrameWriter(io.RawIOBase):
    """Writes frames to a file; ``finish`` seals it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._codec = pa.Codec("zstd", compression_level=LEVEL)
        self._waiting = bytearray()
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Take some bytes; they are written a block at a time."""
        piece = memoryview(data)
        self._waiting += piece
        while len(self._waiting) >= BLOCK:
            self._write_frame(bytes(self._waiting[:BLOCK]))
            del self._waiting[:BLOCK]
        return piece.nbytes

    def finish(self) -> str:
        """Write what is waiting and the seal; return the SHA-256 of the whole file."""
        if self._waiting:
            self._write_frame(bytes(self._waiting))
            self._waiting.clear()
        self._write(SEAL_HEAD + self._hash.hexdigest().encode("ascii"))
        return self._hash.hexdigest()

    def _write_frame(self, block: bytes) -> None:
        self._write(self._codec.compress(block, asbytes=True))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)


class FrameReader(io.RawIOBase):
    """Reads what the frames of a file hold; ``demand_sealed`` says whether it was what was written.

    ``name`` is what messages call the file, ``content_bytes`` how much was read so far. Raises ArchiveError at once for
    a file that has no frames, or no seal.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        self.content_bytes = 0
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise ArchiveError(f"{name}: expected an archive that `invoke archive` wrote, got another kind of file")
        file.seek(max(0, size - SEAL_BYTES))
        seal = file.read()
        if not seal.startswith(SEAL_HEAD) or size < SEAL_BYTES + len(MAGIC):
            told = "expected the seal of an archive at its end, got none: it was cut off or changed there"
            raise ArchiveError(f"{name}: {told}, or another program wrote it; take another copy")
        file.seek(0)
        self._seal = seal
        self._source = _Frames(file, size - SEAL_BYTES)
        self._stream: Any = pa.CompressedInputStream(pa.PythonFile(self._source, mode="r"), "zstd")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes of the content, none at its end. Raises FramesError where they cannot be decompressed."""
        if size < 0:
            raise ValueError("expected a number of bytes, got none: an archive may be longer than the memory")
        try:
            piece = bytes(self._stream.read(size))
        except (pa.ArrowInvalid, OSError) as error:
            if self._source.failure is not None:
                raise self._source.failure from error
            told = "expected frames of Zstandard, got bytes that cannot be decompressed"
            raise FramesError(f"{self._name}: {told}") from error
        self.content_bytes += len(piece)
        return piece

    def demand_sealed(self) -> str:
        """Return the SHA-256 of the whole file. Raises ArchiveError if it was changed since it was sealed."""
        while self._source.read(BLOCK):
            pass
        if self._source.hash.hexdigest().encode("ascii") != self._seal[len(SEAL_HEAD) :]:
            told = "expected the bytes that were sealed, got others; no file in it is another, but the archive is"
            raise ArchiveError(f"{self._name}: {told}: take another copy")
        self._source.hash.update(self._seal)
        return self._source.hash.hexdigest()


class _Frames(io.RawIOBase):
    """The first ``size`` bytes of a file, hashed as they are read; ``failure`` is what the disk refused."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self.hash = hashlib.sha256()
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        try:
            piece = self._file.read(self._left if size < 0 else min(size, self._left))
        except OSError as error:
            self.failure = error
            raise
        self._left -= len(piece)
        self.hash.update(piece)
        return piece
