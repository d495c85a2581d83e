"""One question to the node's own kernel: ``adjtimex(2)`` with no mode set, which changes nothing and needs no right."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Any, Final

from node_agent.clocks.base import Refused
from node_agent.clocks.kernel import BUFFER_BYTES, Discipline, KernelPlan, decode
from node_agent.contract.records import CLOCK_STEP, KERNEL, Sample
from node_agent.exchange.asking import Asker, Setting
from node_agent.local.instants import moved_ns, stepped

SERVER: Final = "adjtimex"
_IS_64_BIT_LINUX: Final = sys.platform == "linux" and struct.calcsize("P") == 8  # the layout that ``decode`` knows


def askers(_plan: KernelPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the kernel."""
    return [Asker(SERVER, lambda: [_look(setting)])]


def _look(setting: Setting) -> Sample:
    before = setting.clock.pair()
    state = Refused("virtual_clock") if setting.clock.is_virtual else read()
    after = setting.clock.pair()
    stamp_ns = before.half_bracket_ns + after.half_bracket_ns + moved_ns(before, after)
    cells: dict[str, Any]
    if isinstance(state, Refused):
        cells = {"outcome": state.outcome, "payload": state.detail}
    elif stepped(before, after):
        cells = {"outcome": CLOCK_STEP, "payload": state.text()}
    else:
        numbers = state.numbers(before.wall_ns, before.raw_ns, after.raw_ns, stamp_ns)
        cells = {**numbers, "bound_stamp_ns": stamp_ns, "payload": state.text()}
    return setting.sample(KERNEL, SERVER, before, after, **cells)


def read() -> Discipline | Refused:
    """Return the kernel's state, or why there is none."""
    if not _IS_64_BIT_LINUX:
        return Refused("unsupported_platform")
    buffer = ctypes.create_string_buffer(BUFFER_BYTES)  # zeroed: no mode is set
    returned = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if returned < 0:
        return Refused("not_permitted", os.strerror(ctypes.get_errno()))
    return decode(returned, buffer.raw)


def frequency_fs_per_s() -> int | None:
    """Return by how much the wall clock runs faster than the raw oscillator now, in fs/s; None where nobody knows."""
    state = read()
    return state.frequency_fs_per_s if isinstance(state, Discipline) else None
