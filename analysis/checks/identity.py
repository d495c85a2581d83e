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
    status = _object(raw / records.STATUS_FILE)
    yield from _differ(records.STATUS_FILE, named, status)
    yield from _differ(f"{records.MANIFEST_FILE}: plan", named, node.plan or {})
    yield from _differ(PLAN_FILE, named, _object(raw / PLAN_FILE))
    told = node.status or {}
    same: dict[str, Any] = {key: told[key] for key in _SAME_AGENT if key in told}
    yield from _differ(records.STATUS_FILE, same, status)
    deployed = manifest.code_version.get("agent_sha256")
    if deployed is not None:
        yield from _differ(records.STATUS_FILE, {"agent_sha256": deployed}, status)
    for run_id in _logged(raw / records.LOG_FILE):
        if run_id != manifest.run_id:
            yield records.LOG_FILE, "run_id", manifest.run_id, run_id


def _differ(name: str, expected: Mapping[str, Any], got: Mapping[str, Any]) -> Iterator[Stranger]:
    for key, value in expected.items():
        if key in got and got[key] != value:
            yield name, key, str(value), str(got[key])


def _object(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # torn, or not there: that is for others to say
        return {}
    return said if isinstance(said, dict) else {}


def _logged(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            text = stream.read(_LOG_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    return _LOGGED.findall(text)
