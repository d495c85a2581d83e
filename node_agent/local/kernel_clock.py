"""What the kernel says of its own clock: ``adjtimex(2)`` with no mode set, which changes nothing and needs no right."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Final

from node_agent.clocks.kernel import BUFFER_BYTES, Discipline, Undisciplined, decode

_IS_64_BIT_LINUX: Final = sys.platform == "linux" and struct.calcsize("P") == 8  # the layout that ``decode`` knows


def read() -> Discipline | Undisciplined:
    """Return the kernel's state, or why there is none."""
    if not _IS_64_BIT_LINUX:
        return Undisciplined("unsupported_platform")
    buffer = ctypes.create_string_buffer(BUFFER_BYTES)  # zeroed: no mode is set
    returned = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if returned < 0:
        return Undisciplined("not_permitted", os.strerror(ctypes.get_errno()))
    return decode(returned, buffer.raw)


def frequency_fs_per_s() -> int | None:
    """Return by how much the wall clock runs faster than the raw oscillator now, in fs/s; None where nobody knows."""
    state = read()
    return state.frequency_fs_per_s if isinstance(state, Discipline) else None
