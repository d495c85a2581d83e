"""The mounts of a testbed host, and what is carried into it: folders of this machine at their own paths, read-only.

A carried folder may lie where the host's own /tmp covers it, or below a folder that only root may enter. So it is held
open before anything is covered, every closed parent is covered by a small empty folder, and it is attached there again.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 0x20  # linux/mount.h
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
ENTER, ENTER_AND_LIST = 0o001, 0o005  # what a folder's mode allows those who do not own it
COVER = "mode=755,size=1m"

_libc = ctypes.CDLL(None, use_errno=True)


def attach(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Attach a file system to a place. Raises OSError naming the place."""
    words = [word.encode() or None for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def hold(places: Iterable[str]) -> list[tuple[Path, int]]:
    """Open folders, by their paths as given and without links, before something covers them; parents come first."""
    paths = sorted({path for place in places for path in (place, os.path.realpath(place))})
    return [(Path(path), os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for path in paths]


def carry(held: Iterable[tuple[Path, int]]) -> None:
    """Attach held folders at their own paths, so that everybody can enter and read them and nobody can write."""
    for place, descriptor in held:
        for parent in reversed(place.parents):
            if parent.is_dir() and not parent.stat().st_mode & ENTER:
                attach("tmpfs", str(parent), "tmpfs", MS_NOSUID | MS_NODEV, COVER)
        place.mkdir(parents=True, exist_ok=True)
        source = Path("/proc/self/fd", str(descriptor))
        if source.stat().st_mode & ENTER_AND_LIST == ENTER_AND_LIST:
            _show(source, place)
        else:
            _show_entries(source, place)
        os.close(descriptor)


def _show_entries(source: Path, place: Path) -> None:
    """Attach what lies in a folder that only its owner may enter, one by one, in an open folder at its place."""
    attach("tmpfs", str(place), "tmpfs", MS_NOSUID | MS_NODEV, COVER)
    for entry in source.iterdir():
        shown = place / entry.name
        if entry.is_symlink():
            shown.symlink_to(entry.readlink())
        elif entry.is_dir():
            shown.mkdir()
            _show(entry, shown)
        elif entry.is_file():
            shown.touch()
            _show(entry, shown)


def _show(source: Path, place: Path) -> None:
    attach(str(source), str(place), flags=MS_BIND | MS_REC)
    attach("none", str(place), flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
