"""The drift limit that each node's bounds allow for, ``max_drift_ppm`` (Φ of RFC 5905): read here and nowhere else.

It is the node's own plan that its agent obeyed; a run whose nodes left no plan has the configuration's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from analysis.errors import AnalysisError
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.run.load import Run

KEY: Final = "max_drift_ppm"
TOO_MUCH_PPM: Final = 200_000  # from here on two oscillators may differ in rate by half, and nothing is bounded by it


def of_node(run: Run, node_id: str) -> float | None:
    """Return a node's drift limit in ppm, None where neither its plan nor the configuration states one.

    Raises AnalysisError where what is stated is no number from 0 to below 200,000.
    """
    node = run.manifest.nodes[node_id]
    for where, stated in (
        (f"nodes.{node_id}.plan.clocks", value_at(node.plan, "clocks", KEY)),
        ("config.worker.clocks", value_at(run.manifest.config, "worker", "clocks", KEY)),
    ):
        if stated is not None:
            return _number(f"{run.path / records.MANIFEST_FILE}: {where}.{KEY}", stated)
    return None


def value_at(tree: Any, *keys: str) -> Any:
    """Return what is at a path of keys, None where a mapping on the way or the last key is not there."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _number(where: str, stated: Any) -> float:
    known = isinstance(stated, (int, float)) and not isinstance(stated, bool) and math.isfinite(stated)
    if not known or not 0 <= stated < TOO_MUCH_PPM:
        raise AnalysisError(f"{where}: expected a number of ppm from 0 to below {TOO_MUCH_PPM:,}, got {stated!r:.80}")
    return float(stated)
