"""What a testbed host has beyond sshd and files of its own, as its first process reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from node_agent.contract import json_objects

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "equipment.json"


@dataclass(frozen=True)
class Daemon:
    """A program that runs as long as the host: its words, and what is there once it answers (nothing: not awaited).

    Killed, it is started again at once if it is ``revived``, else when the host is told to (``NamespaceHost.revive``).
    """

    argv: list[str]
    ready: str = ""
    revived: bool = True


@dataclass(frozen=True)
class Equipment:
    """Folders made of the host's own, folders and files attached (by their places), carried folders, more daemons.

    ``control_groups`` says that it sees only control groups of its own.
    """

    folders: list[str] = field(default_factory=list)
    attached: dict[str, str] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    daemons: list[Daemon] = field(default_factory=list)
    control_groups: bool = False


def write(folder: Path, equipment: Equipment) -> None:
    """Equip the host whose files lie in ``folder``."""
    (folder / FILE).write_text(json_objects.write(equipment), encoding="utf-8")


def read(folder: Path) -> Equipment:
    """Return what the host whose files lie in ``folder`` is equipped with; most have nothing more."""
    path = folder / FILE
    return json_objects.read(Equipment, path.read_text(encoding="utf-8"), FILE) if path.exists() else Equipment()
