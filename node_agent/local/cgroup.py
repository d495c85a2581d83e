"""The control group that bounds this process's memory: its limit, and whether the kernel killed for it.

Both versions are read: memory.max and memory.events (v2), memory.limit_in_bytes and memory.oom_control (v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_PROC: Final = Path("/proc/self")
_UNLIMITED_BYTES: Final = 1 << 62  # v1 writes the largest number of pages where there is no limit
V1: Final = 1
V2: Final = 2
_KINDS: Final = {V1: "cgroup", V2: "cgroup2"}  # of file systems
_CONTROLLER: Final = "memory"


@dataclass(frozen=True)
class MemoryGroup:
    """A control group of the memory controller: its folder, and the uppermost that this process sees above it."""

    version: int
    folder: Path
    top: Path

    def limit_bytes(self) -> int | None:
        """Return the least limit of the group and those above it, None without one. Raises OSError if it has gone."""
        name = "memory.max" if self.version == V2 else "memory.limit_in_bytes"
        if not self.folder.is_dir():
            raise FileNotFoundError(self.folder)
        limits = []
        for folder in (self.folder, *self.folder.parents):
            if (folder / name).is_file():  # the top of v2 has none, nor has a group without the controller
                text = (folder / name).read_text(encoding="ascii").strip()
                if text != "max" and int(text) < _UNLIMITED_BYTES:
                    limits.append(int(text))
            if folder == self.top:
                break
        return min(limits, default=None)

    def oom_kills(self) -> int | None:
        """Return how many of the group's processes the out-of-memory killer took so far; None where nobody counts."""
        names = ("memory.events.local", "memory.events") if self.version == V2 else ("memory.oom_control",)
        for name in names:
            try:
                lines = (self.folder / name).read_text(encoding="ascii").splitlines()
            except OSError:
                continue
            counts = dict(line.split() for line in lines)
            if "oom_kill" in counts:
                return int(counts["oom_kill"])
        return None


def memory_group(proc: Path = _PROC) -> MemoryGroup | None:
    """Return the control group that counts this process's memory, None where there is none to be seen.

    A process in a container sees the folder of its own group as the top, whatever its path is called outside.
    """
    try:
        groups = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = [line.split(" ") for line in (proc / "mountinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    paths = {}
    for group in groups:
        _number, controllers, path = group.split(":", 2)
        if _CONTROLLER in controllers.split(","):
            paths[V1] = path
        elif not controllers:
            paths[V2] = path
    for version, path in sorted(paths.items()):  # where both are, v1 has the controller
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            if kind == _KINDS[version] and (version == V2 or _CONTROLLER in options):
                return _mounted(version, path, root=mount[3], top=Path(mount[4]))
    return None


def _mounted(version: int, path: str, root: str, top: Path) -> MemoryGroup:
    below = path[len(root) :] if root != "/" and path.startswith(root) else path
    folder = top / below.strip("/")
    inside = ".." not in folder.parts and folder.is_dir()
    return MemoryGroup(version, folder if inside else top, top)


def oom_watch() -> dict[str, Any] | None:
    """Return what ``oom_death`` needs to know of this process's start; None where nobody counts."""
    group = memory_group()
    try:
        kills = None if group is None else group.oom_kills()
        if group is None or kills is None:
            return None
        inode = group.folder.stat().st_ino  # a later group of that name is another
    except (OSError, ValueError):
        return None
    return {
        "version": group.version, "folder": str(group.folder), "top": str(group.top), "inode": inode, "kills": kills,
    }  # fmt: skip


def oom_death(watch: dict[str, Any]) -> str | None:
    """Return that the out-of-memory killer took a process that died, if it struck in its group since ``oom_watch``.

    None if it did not, or the very group is no more: a job's goes with the job.
    """
    try:
        group = MemoryGroup(watch["version"], Path(watch["folder"]), Path(watch["top"]))
        if group.folder.stat().st_ino != watch["inode"] or (group.oom_kills() or 0) <= watch["kills"]:
            return None
        limit_bytes = group.limit_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    why = (
        "no cgroup limit: the node itself ran out"
        if limit_bytes is None
        else f"cgroup limit {limit_bytes / 1e6:.0f} MB"
    )
    return f"killed by the out-of-memory killer ({why})"
