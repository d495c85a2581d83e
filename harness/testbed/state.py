"""What a running testbed tells other processes: a file beside its ssh_config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.bundle import user_cache
from harness.errors import PreflightError
from node_agent.contract import json_objects

if TYPE_CHECKING:
    from pathlib import Path

STATE_FILE: Final = "testbed.json"
DEFAULT_NAME: Final = "testbed"


@dataclass(frozen=True)
class State:
    """Who holds it (process ids, and the owner's start in clock ticks), since when (ns since 1970), how to get in."""

    owner_pid: int
    owner_start_ticks: int
    supervisor_pid: int
    started_ns: int
    ssh_config: str
    hosts: dict[str, int]


def place(name: str = DEFAULT_NAME) -> Path:
    """Return the folder of the testbed that ``fab testbed-up`` calls by this name."""
    return user_cache() / "testbeds" / name


def read(folder: Path) -> State:
    """Return the state of the testbed in ``folder``. Raises PreflightError if there is none."""
    try:
        return json_objects.read(State, (folder / STATE_FILE).read_text(encoding="utf-8"), STATE_FILE)
    except FileNotFoundError:
        raise PreflightError(f"testbed: expected one in {folder}, got none; fab testbed-up makes it") from None
    except ValueError as error:
        raise PreflightError(f"testbed: {folder}: {error}") from error
