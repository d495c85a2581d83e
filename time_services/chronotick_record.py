"""The record that the ChronoTick daemon keeps in shared memory, and when it may not be believed.

The agent reads the same record by the same rules (``node_agent.clocks.chronotick_shm``), which nothing here may import;
a contract test keeps them equal. The file is opened read-only and never by ``multiprocessing.shared_memory``, whose
tracker may unlink the daemon's segment before Python 3.13.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

PATH: Final = "/dev/shm/chronotick_shm"  # noqa: S108 - where the daemon keeps it
SIZE: Final = 128
MAX_AGE_NS: Final = 5_000_000_000
AHEAD_NS: Final = 1_000_000
_TRIES: Final = 32
_RECORD: Final = struct.Struct("<8df3I")
_VALID, _WARM = 1, 8
_SOURCES: Final = range(1, 5)
_LONGEST_S, _LATEST_S = 1e9, float(1 << 33)


@dataclass(frozen=True)
class Refused:
    """Why there is nothing to be had."""

    outcome: str


@dataclass(frozen=True)
class Record:
    """A record that contradicts nothing, in the daemon's own seconds and seconds per second."""

    system_s: float
    offset_s: float
    drift: float
    sigma_s: float
    drift_sigma: float
    when_s: float
    until_s: float

    def outcome(self, wall_ns: int) -> str:
        """Return why it says nothing at this instant of the wall clock; "" if it does."""
        system_ns = _ns(self.system_s)
        if system_ns > wall_ns + AHEAD_NS:
            return "future"
        if wall_ns - system_ns > MAX_AGE_NS:
            return "dead"
        return "expired" if wall_ns > self.until_ns else ""

    @property
    def when_ns(self) -> int:
        """Return the instant of the wall clock at which the offset holds."""
        return _ns(self.when_s)

    @property
    def until_ns(self) -> int:
        """Return the last instant of the wall clock at which it says anything."""
        return math.floor(Fraction(min(self.until_s, _LATEST_S)) * 10**9)

    @property
    def quantum_s(self) -> float:
        """Return how far apart two seconds of that size are in a float."""
        return math.ulp(self.system_s + self.offset_s)


def look(path: str) -> Record | Refused:
    """Return the record in a file, once two whole looks in a row agree."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Refused("no_segment")
    except OSError as error:
        return Refused("not_permitted" if isinstance(error, PermissionError) else "unreadable")
    try:
        before = os.pread(descriptor, SIZE, 0)
        for _ in range(_TRIES):
            now = os.pread(descriptor, SIZE, 0)
            if now == before:
                return parse(now)
            before = now
    except OSError:
        return Refused("unreadable")
    finally:
        os.close(descriptor)
    return Refused("torn")


def parse(image: bytes) -> Record | Refused:
    """Read a record; anything but a prediction that the daemon stands behind is a named outcome."""
    if len(image) < SIZE:
        return Refused("too_short")
    corrected, system, offset, drift, sigma, drift_sigma, when, until, _, _, flags, source = _RECORD.unpack_from(image)
    if not flags & _VALID:
        return Refused("not_valid")
    if not flags & _WARM:
        return Refused("warming_up")
    if source not in _SOURCES:
        return Refused("no_source" if source == 0 else "unknown_source")
    if not all(map(math.isfinite, (corrected, system, offset, drift, sigma, drift_sigma, when, until))):
        return Refused("not_finite")
    if sigma < 0 or drift_sigma < 0:
        return Refused("negative_sigma")
    if (
        not all(0 < instant < _LATEST_S for instant in (corrected, system, when))
        or max(abs(offset), sigma) >= _LONGEST_S
    ):
        return Refused("out_of_range")
    if abs(drift) >= 1 or drift_sigma >= 1:
        return Refused("out_of_range")
    if abs(Fraction(corrected) - Fraction(system) - Fraction(offset)) > math.ulp(corrected) or until < when:
        return Refused("inconsistent")
    return Record(system, offset, drift, sigma, drift_sigma, when, until)


def _ns(seconds: float) -> int:
    return round(Fraction(seconds) * 10**9)
