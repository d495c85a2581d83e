"""Which wall clocks were far off: from NTP, as the node itself was answered, or else from the other nodes.

Every number that compares corrected time is right all the same; the wall clock's own are not, and whoever set the
clock should know. ``clocks.max_wall_offset_s`` of the configuration says what is far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.checks.finding import WARNING, Finding
from node_agent.clocks.wall_offset import MAX_WALL_OFFSET_S, in_words, surely_off
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.reference import Reference
    from analysis.run.load import Run

CODE: Final = "wall-offset"


def find(run: Run, reference: Reference | None = None) -> Iterator[Finding]:
    """Yield a finding for every node whose wall clock is surely beyond the limit."""
    limit_s = _limit_s(run)
    for node_id in run.manifest.nodes:
        known = _by_ntp(run, node_id)
        if known is not None:
            if surely_off(*known, limit_s):
                yield _finding(node_id, known[0], "NTP", limit_s)
        elif reference is not None:
            yield from _by_peers(run, reference, node_id, limit_s)


def _finding(node_id: str, offset_ns: int, of: str, limit_s: float) -> Finding:
    text = f"its wall clock is {in_words(offset_ns)} {of}, more than max_wall_offset_s ({limit_s:g} s) allows"
    numbers = {"offset_s": offset_ns / 1e9, "from": of, "limit_s": limit_s}
    return Finding(CODE, WARNING, node_id, records.SYSTEM, text, numbers)


def _limit_s(run: Run) -> float:
    """Return the limit of the run's configuration, the usual one where it states none."""
    tree: Any = run.manifest.config
    for key in ("worker", "clocks", "max_wall_offset_s"):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    known = isinstance(tree, (int, float)) and not isinstance(tree, bool) and math.isfinite(tree) and tree > 0
    return float(tree) if known else MAX_WALL_OFFSET_S


def _by_ntp(run: Run, node_id: str) -> tuple[int, int] | None:
    """Return the median of a node's good NTP offsets, and their median bound, in ns; None without any."""
    frame = run.samples.get(node_id)
    if frame is None or not {"offset_ns", "bound_ns"} <= set(frame.columns):
        return None
    good = frame[(frame["source"] == records.NTP) & (frame["outcome"] == records.OK)]
    numbers = good[["offset_ns", "bound_ns"]].dropna()
    if numbers.empty:
        return None
    offset, bound = (sorted(numbers[name].to_list())[len(numbers) // 2] for name in ("offset_ns", "bound_ns"))
    return int(offset), int(bound)


def _by_peers(run: Run, reference: Reference, node_id: str, limit_s: float) -> Iterator[Finding]:
    """Find a node that the majority of the nodes contradicts whose probes reach it; of two, each by the other."""
    offsets = {peer: _peer(run, reference, node_id, peer) for peer in run.manifest.nodes if peer != node_id}
    known = {peer: offset for peer, offset in offsets.items() if offset is not None}
    far = {peer: offset_ns for peer, (offset_ns, bound_ns) in known.items() if surely_off(offset_ns, bound_ns, limit_s)}
    if 2 * len(far) > len(known):
        yield _finding(node_id, sorted(far.values())[len(far) // 2], ", ".join(far), limit_s)


def _peer(run: Run, reference: Reference, node_id: str, peer: str) -> tuple[int, int] | None:
    """Return a peer's wall clock minus the node's in the middle of the run, and how much that may be wrong, in ns.

    None where the probes do not tell.
    """
    frame = run.clock_pairs.get(node_id)
    if frame is None:
        return None
    pairs = frame.dropna()
    before, wall, after = (pairs[name].to_numpy(dtype=np.int64) for name in records.CLOCK_PAIRS_COLUMNS)
    shown = reference.walls(peer, node_id, before + (after - before) // 2, after - before)
    if not shown.known.any():
        return None
    low, high = (int(np.sort(side[shown.known] - wall[shown.known])[shown.known.sum() // 2])
                 for side in (shown.low_ns, shown.high_ns))  # fmt: skip
    return low + (high - low) // 2, (high - low + 1) // 2
