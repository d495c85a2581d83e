"""Control groups (version 1) of a testbed's hosts: a subtree in every hierarchy, and in it one group for each host.

A subtree bears its supervisor's process id and start, so that whoever finds one knows whether somebody still holds it.
Groups outlive their processes: they are removed by the supervisor, or, if it was killed, by the next who looks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path
from typing import Final

from harness.errors import RunError
from harness.localcluster.processes import ZOMBIE, read_process
from harness.testbed.mounts import attach

ROOT: Final = Path("/sys/fs/cgroup")
CONTROLLERS: Final = ("freezer", "memory", "cpuset")
INHERITED: Final = ("cpuset.cpus", "cpuset.mems")  # a new group of cpuset has none, and takes no process without
PREFIX: Final = "chronotick-testbed-"
CLONE_NEWCGROUP: Final = 0x02000000  # linux/sched.h
REMOVE_DEADLINE_S: Final = 20.0
POLL_S: Final = 0.02


def why_not() -> str | None:
    """Return in one line why hosts cannot have control groups here, or None."""
    closed = [name for name in CONTROLLERS if not os.access(ROOT / name / "cgroup.procs", os.W_OK)]
    return f"no control groups of version 1 to write to: {', '.join(closed)}" if closed else None


def name_of(supervisor_pid: int) -> str:
    """Return the name of a supervisor's subtrees. Raises ProcessLookupError if it does not run."""
    process = read_process(supervisor_pid)
    if process is None:
        raise ProcessLookupError(f"no process {supervisor_pid}")
    return f"{PREFIX}{process.pid}-{process.start_ticks}"


def enter(subtree: str, host: str) -> None:
    """Move this process into groups of the host's own, and let it see nothing but those. Raises OSError."""
    for controller in CONTROLLERS:
        group = ROOT / controller / subtree / host
        for level in (group.parent, group):
            level.mkdir(exist_ok=True)
            for name in INHERITED if controller == "cpuset" else ():
                (level / name).write_text((level.parent / name).read_text(encoding="ascii"), encoding="ascii")
        (group / "cgroup.procs").write_text("0", encoding="ascii")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWCGROUP) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    attach("tmpfs", str(ROOT), "tmpfs", options="mode=755,size=1m")
    for controller in CONTROLLERS:
        (ROOT / controller).mkdir()
        attach("cgroup", str(ROOT / controller), "cgroup", options=controller)


def thaw(subtree: str) -> None:
    """Let every frozen process of a subtree go on: frozen ones cannot even be killed."""
    for state in (ROOT / "freezer" / subtree).rglob("freezer.state"):
        with contextlib.suppress(OSError):  # the group was removed while we looked
            state.write_text("THAWED", encoding="ascii")


def remove(subtree: str) -> None:
    """Remove a subtree from every hierarchy, as soon as its processes are gone. Raises RunError if they stay."""
    deadline = time.monotonic() + REMOVE_DEADLINE_S
    while left := [top for controller in _hierarchies() if (top := controller / subtree).exists()]:
        if time.monotonic() > deadline:
            raise RunError(f"testbed: expected no control group after its end, got {', '.join(map(str, left))}")
        thaw(subtree)
        for top in left:
            for group, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # a process in it is still ending, or another removed it
                    Path(group).rmdir()
        time.sleep(POLL_S)


def sweep() -> None:
    """Remove the subtrees whose supervisors are no more. Raises RunError if one stays."""
    found = {top.name for controller in _hierarchies() for top in controller.glob(f"{PREFIX}*")}
    for subtree in found:
        pid, ticks = map(int, subtree.removeprefix(PREFIX).split("-"))
        holder = read_process(pid)
        if holder is None or holder.start_ticks != ticks or holder.state == ZOMBIE:
            remove(subtree)


def _hierarchies() -> list[Path]:
    return [ROOT / name for name in CONTROLLERS if os.access(ROOT / name, os.W_OK)]
