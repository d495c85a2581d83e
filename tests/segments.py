"""Stand-ins of the daemons that keep a record in shared memory, with every defect that they may have."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

S = 1_000_000_000
CLOCK_MONOTONIC_COARSE = 6  # linux/time.h; the time module does not name it
MAGIC = (0x414D5A4E, 0x43420200)


@dataclass(frozen=True)
class ChronoTickRecord:
    """What the ChronoTick daemon writes. ``corrected_s`` None is what it should be; so is a time of None."""

    system_s: float
    offset_s: float = 0.000_25
    drift: float = 2e-6
    sigma_s: float = 10e-6
    drift_sigma: float = 0.5e-6
    corrected_s: float | None = None
    when_s: float | None = None
    until_s: float | None = None
    sequence: int = 7
    flags: int = 0b1111
    source: int = 4

    def image(self) -> bytes:
        """Return its 128 bytes."""
        corrected_s = self.system_s + self.offset_s if self.corrected_s is None else self.corrected_s
        when_s = self.system_s if self.when_s is None else self.when_s
        until_s = when_s + 30 if self.until_s is None else self.until_s
        rates = (self.offset_s, self.drift, self.sigma_s, self.drift_sigma)
        head = struct.pack("<8d", corrected_s, self.system_s, *rates, when_s, until_s)
        return head + struct.pack(
            "<f4I4x2dI4xf12x", 0.9, self.sequence, self.flags, self.source, 42, self.system_s - 1, 100.0, 3, 0.5
        )


@dataclass(frozen=True)
class ClockBoundSegment:
    """What the ClockBound daemon writes, in version 1 or 2 of its protocol."""

    as_of_ns: int
    void_after_ns: int
    bound_ns: int = 40_000
    max_drift_ppb: int = 1_000
    status: int = 1
    marker: int = 0
    version: int = 2
    generation: int = 2
    magic: tuple[int, int] = MAGIC
    size: int | None = None

    def image(self) -> bytes:
        """Return its bytes."""
        times = (*divmod(self.as_of_ns, S), *divmod(self.void_after_ns, S), self.bound_ns)
        if self.version == 1:
            body = struct.pack("=5qIIi4x", *times, self.max_drift_ppb, 0, self.status)
        else:
            body = struct.pack("=5qQIiB7x", *times, self.marker, self.max_drift_ppb, self.status, 1)
        size = 16 + len(body) if self.size is None else self.size
        return struct.pack("=IIIHH", *self.magic, size, self.version, self.generation) + body


def chronotick_now(**changes: object) -> ChronoTickRecord:
    """Return a record of a daemon that wrote just now."""
    return replace(ChronoTickRecord(time.time()), **changes)


def clockbound_now(**changes: object) -> ClockBoundSegment:
    """Return a segment of a daemon that wrote just now, and stands behind it for long."""
    now_ns = time.clock_gettime_ns(CLOCK_MONOTONIC_COARSE)
    return replace(ClockBoundSegment(now_ns, now_ns + 1_000 * S), **changes)


@contextlib.contextmanager
def daemon(path: Path, record: Callable[[], ChronoTickRecord | ClockBoundSegment]) -> Iterator[None]:
    """Write what ``record`` returns ten times a second, in place."""
    over = threading.Event()
    path.write_bytes(record().image())

    def write() -> None:
        with path.open("r+b", buffering=0) as segment:
            while not over.wait(0.1):
                segment.seek(0)
                segment.write(record().image())

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
