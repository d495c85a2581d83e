"""The shape of a status.json: which keys, and of which type each value. What is not of it is refused as a whole."""

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


def read(text: str) -> dict[str, Any]:
    """Return the JSON object of a status, every value of its type. Raises ValueError for anything else."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError(f"status.json: expected an object, got {text[:80]!r}") from None
    _demand(data, _STATUS, "status.json")
    _demand(data["counts"], dict.fromkeys(data["counts"], _WHOLE), "status.json: counts")
    for source, said in data["sources"].items():
        _demand(said, _SOURCE, f"status.json: sources: {source}")
    if any(type(said) is not str for said in data["waiting_for"]):
        raise ValueError(f"status.json: waiting_for: expected texts, got {str(data['waiting_for'])[:80]!r}")
    found: dict[str, Any] = data
    return found


def _demand(data: Any, types: Mapping[str, tuple[type, ...]], what: str) -> None:
    """Raise ValueError unless ``data`` is an object of exactly these keys, every value finite and of its type."""
    if not isinstance(data, dict) or set(data) != set(types):
        raise ValueError(f"{what}: expected the keys {sorted(types)}, got {str(data)[:80]!r}")
    for name, allowed in types.items():
        value = data[name]
        if type(value) not in allowed or (type(value) is float and not math.isfinite(value)):  # a bool is no int here
            names = " or ".join(kind.__name__ for kind in allowed)
            raise ValueError(f"{what}: {name}: expected {names}, got {str(value)[:80]!r}")
