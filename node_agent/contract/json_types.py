"""The shapes of status.json and manifest.json: the type of each value. What is not of them is refused as a whole."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT, _WHOLE, _NUMBER_OR_NONE = (str,), (int,), (int, float, type(None))
_STATUS: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(
        ("run_id", "node_id", "role", "boot_id", "hostname", "kernel", "python", "clock_source", "agent_sha256",
         "phase", "listen", "detail"), _TEXT,
    ),
    **dict.fromkeys(("pid", "start_ticks", "updated_wall_ns"), _WHOLE),
    "outcome": (str, type(None)), "counts": (dict,), "sources": (dict,), "waiting_for": (list,),
}  # fmt: skip
_SOURCE: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("status", "last_outcome"), _TEXT),
    **dict.fromkeys(("samples", "failures"), _WHOLE),
    **dict.fromkeys(("offset_ms", "bound_ms", "age_ms"), _NUMBER_OR_NONE),
}
_OBJECT_OR_NONE = (dict, type(None))
_MANIFEST: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("run_id", "experiment", "cluster", "phase", "created_utc"), _TEXT),
    **dict.fromkeys(("code_version", "config", "nodes", "phase_seconds", "assembled"), (dict,)),
    **dict.fromkeys(("argv", "problems", "notes"), (list,)),
    "outcome": (str, type(None)), "imported": _OBJECT_OR_NONE, "schema": _WHOLE,
}  # fmt: skip
_NODE: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("node_id", "role", "host"), _TEXT),
    **dict.fromkeys(("virtual_clock", "plan", "status"), _OBJECT_OR_NONE),
    "collected_by": (str, type(None)), "checksums_verified": (bool,), "problems": (list,),
}  # fmt: skip


def read_status(text: str) -> dict[str, Any]:
    """Return the JSON object of a status, every value of its type. Raises ValueError for anything else."""
    data = _object(text, "status.json")
    _demand(data, _STATUS, "status.json")
    _demand(data["counts"], dict.fromkeys(data["counts"], _WHOLE), "status.json: counts")
    for source, said in data["sources"].items():
        _demand(said, _SOURCE, f"status.json: sources: {source}")
    if any(type(said) is not str for said in data["waiting_for"]):
        raise ValueError(f"status.json: waiting_for: expected texts, got {str(data['waiting_for'])[:80]!r}")
    return data


def read_manifest(text: str) -> dict[str, Any]:
    """Return the JSON object of a manifest, every value that is there of its type. Raises ValueError otherwise."""
    data = _object(text, "manifest.json")
    _demand_types(data, _MANIFEST, "manifest.json")
    if "nodes" not in data:
        raise ValueError("manifest.json: expected the nodes, got none")
    for node_id, node in data["nodes"].items():
        if type(node) is not dict:
            raise ValueError(f"manifest.json: nodes: {node_id}: expected an object, got {str(node)[:80]!r}")
        _demand_types(node, _NODE, f"manifest.json: nodes: {node_id}")
    return data


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except RecursionError:
        data = None
    if type(data) is not dict:
        raise ValueError(f"{what}: expected an object, got {text[:80]!r}")
    return data


def _demand(data: Any, types: Mapping[str, tuple[type, ...]], what: str) -> None:
    """Raise ValueError unless ``data`` is an object of exactly these keys, every value finite and of its type."""
    if not isinstance(data, dict) or set(data) != set(types):
        raise ValueError(f"{what}: expected the keys {sorted(types)}, got {str(data)[:80]!r}")
    _demand_types(data, types, what)


def _demand_types(data: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], what: str) -> None:
    for name, value in data.items():
        allowed = types.get(name)
        if allowed is None:
            raise ValueError(f"{what}: expected no such key as {name[:80]!r}")
        if type(value) not in allowed or (type(value) is float and not math.isfinite(value)):  # a bool is no int here
            names = " or ".join(kind.__name__ for kind in allowed)
            raise ValueError(f"{what}: {name}: expected {names}, got {str(value)[:80]!r}")
