"""Facts about the machine an agent runs on, as the manifest and the status tell them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import socket
import struct
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

_PR_SET_TIMERSLACK: Final = 29  # linux/prctl.h
_TIMER_SLACK_NS: Final = 1_000
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}  # asm/unistd.h; older C libraries have no name for it
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")  # linux/sched/types.h: size, policy (normal), flags, nice, priority, slice
_SLICE_NS: Final = 100_000

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def be_prompt() -> None:
    """Let the calling thread run when it wants to, as far as that takes no privilege and the kernel knows how.

    Its sleeps end on time, not up to 50 us later with those of others; and with a short time slice of its own it need
    not wait until a thread with a long one has used it up (Linux 6.12; older ones ignore it).
    """
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(_TIMER_SLACK_NS), 0, 0, 0)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, 0, 0, niceness, 0, _SLICE_NS, 0, 0)
        libc.syscall(ctypes.c_long(number), ctypes.c_long(0), attributes, ctypes.c_long(0))


def describe() -> dict[str, str]:
    """Return the facts that a status tells of the machine, by name; an unreadable one is the empty string."""
    return {
        "hostname": socket.gethostname(),
        "boot_id": read(_BOOT_ID),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "clock_source": read(_CLOCK_SOURCE),
    }


@lru_cache(maxsize=1)
def agent_sha256() -> str:
    """Return the sha256 of the bundle that runs, or of this package's sources when it runs from a tree."""
    program = Path(sys.argv[0])
    if program.suffix == ".pyz" and program.is_file():
        return hashlib.sha256(program.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None if there is none.

    Together with the pid it names a process for good: a pid alone may have been given to another since.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def own_start_ticks() -> int:
    """Return this process's start time in clock ticks since boot."""
    return start_ticks(os.getpid()) or 0


def read(path: Path) -> str:
    """Return what a file of the kernel's says, the empty string if it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
