"""Which run a node's files say they are of: every file that names a run must name this one, and one agent's life."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from node_agent.contract import records
from node_agent.contract.plan import PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Stranger = tuple[str, str, str, str]  # file, key, expected, got

_SAME_AGENT: Final = ("boot_id", "hostname", "agent_sha256", "pid", "start_ticks")
_LOGGED: Final = re.compile(r" bound role=.* run_id=([0-9a-f]{32})$", re.MULTILINE)
_LOG_BYTES: Final = 1 << 16  # the line is among an agent's first


def strangers(raw: Path, node_id: str, manifest: records.Manifest) -> Iterator[Stranger]:
    """Yield what in one node's own files, and in its plan and status in the manifest, is of another run or agent.

    A file that is not there, or is no JSON object, says nothing here.
    """
    node = manifest.nodes[node_id]
    named = {"run_id": manifest.run_id, "node_id": node_id, "role": node.role}
    seen, status = node.status or {}, _object(raw / records.STATUS_FILE)
    same_agent: dict[str, Any] = {key: seen[key] for key in _SAME_AGENT if key in seen}
    deployed = manifest.code_version.get("agent_sha256")
    given = _object(raw / PLAN_FILE)
    planned = _flat({key: value for key, value in (node.plan or {}).items() if key not in named})
    for name, expected, got in (
        (records.STATUS_FILE, named, status),
        (f"{records.MANIFEST_FILE}: plan", named, node.plan or {}),
        (PLAN_FILE, named, given),
        (PLAN_FILE, planned, _flat(given)),
        (records.STATUS_FILE, same_agent, status),
        (records.STATUS_FILE, {} if deployed is None else {"agent_sha256": deployed}, status),
        *((records.LOG_FILE, named, {"run_id": run_id}) for run_id in _logged(raw / records.LOG_FILE)),
    ):
        for key, value in expected.items():
            if key in got and got[key] != value:
                yield name, key, str(value), str(got[key])


def _flat(plan: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return what a plan says by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in plan.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, dict) else {f"{where}{key}": value}
    return flat


def _object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # torn, or not there: that is for others to say
        return {}
    return content if isinstance(content, dict) else {}


def _logged(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            text = stream.read(_LOG_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    return _LOGGED.findall(text)
