"""By how much the kernel lets the wall clock run faster than the raw oscillator: ``adjtimex(2)``, read-only.

The agent has the same rule (``node_agent.clocks.kernel``), which nothing here may import; a contract test keeps them
equal.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Final

BUFFER_BYTES: Final = 208  # sizeof(struct timex), 64-bit Linux
_TIMEX: Final = struct.Struct("=I4x4qi4x6q")
_FREQ, _TICK = 2, 11  # in 2^-16 ppm; in us per hundredth of a second
_IS_64_BIT_LINUX: Final = sys.platform == "linux" and struct.calcsize("P") == 8


def frequency_ppm() -> float | None:
    """Return it, in ppm; None where nobody knows."""
    if not _IS_64_BIT_LINUX:
        return None
    buffer = ctypes.create_string_buffer(BUFFER_BYTES)  # zeroed: no mode is set
    return None if ctypes.CDLL(None).adjtimex(buffer) < 0 else decode(buffer.raw)


def decode(timex: bytes) -> float:
    """Return the frequency that a ``struct timex`` states, in ppm."""
    values = _TIMEX.unpack_from(timex)
    freq: int = values[_FREQ]
    tick: int = values[_TICK]
    return freq / 65_536 + (tick - 10_000) * 100.0
