"""Checks on the nodes' probes.csv: all there, each end of a probe once, and two nodes' ends of the same probes."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.checks.files import tables
from analysis.checks.finding import error, warning
from analysis.checks.subject import raw_file
from analysis.reference import bounds
from analysis.run import wall_clock
from analysis.run.stored import in_memory
from analysis.run.wall_clock import EARLIEST_NS, LATEST_NS
from node_agent.clocks.holdover import drift_per_ns
from node_agent.contract import plan as plans
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd

    from analysis.checks.finding import Finding
    from analysis.checks.subject import Subject
    from analysis.reference.bounds import Directed, NodeStamps

KEY: Final = ["peer", "sequence", "direction"]
ORIGINS: Final = {
    records.PROBE_TX: (records.KERNEL_TX, records.USER),
    records.PROBE_RX: (records.KERNEL_RX, records.USER),
}
NEAR_NS: Final = 1_000_000_000
COUNTED: Final = {records.PROBE_TX: "probe_sent", records.PROBE_RX: "probe_received"}
CONTRADICTED: Final = 0.1  # of two nodes' probes: near a step of an oscillator some are, of two runs half of all
FEWEST: Final = 3


def find(subject: Subject) -> Iterator[Finding]:
    """Yield what is off in the probes of the nodes whose plans have some."""
    frames: dict[str, pd.DataFrame] = {}
    for node_id, node in subject.recorded.items():
        plan = (node.plan or {}).get("probes")
        file = raw_file(node_id, records.PROBES_FILE)
        if not plan or not (subject.path / file).parent.is_dir():
            continue
        table = subject.table(file)
        if table is None:
            if not (subject.path / file).is_file():
                yield error("missing-file", file, "expected the file, found none", node_id)
            continue
        frame = in_memory(table)
        yield from tables.columns(file, frame, records.PROBES_COLUMNS, node_id)
        if set(records.PROBES_COLUMNS) <= set(frame.columns):
            frames[node_id] = frame
            yield from _rows(file, frame, node, {peer["node_id"] for peer in plan["peers"]})
            yield from _instants(file, frame, subject.pairs(node_id), node_id)
    given = {node_id: _plan_of(subject.recorded[node_id]) for node_id in frames}
    stamps_of = cache(lambda node_id: bounds.stamps(frames[node_id]))
    for pair in combinations(frames, 2):
        yield from _mesh(subject, given, pair, stamps_of)


def _rows(file: str, frame: pd.DataFrame, node: records.NodeManifest, peers: set[str]) -> Iterator[Finding]:
    direction = frame["direction"]
    unfit = np.zeros(len(frame), dtype=np.bool_)
    for word in direction.unique():
        unfit |= ((direction == word) & ~frame["origin"].isin(ORIGINS.get(str(word), ()))).to_numpy(dtype=np.bool_)
    for count, text in (
        (~frame["peer"].isin(peers), "{} rows of a peer that is not in the node's plan"),
        (frame.duplicated(KEY), "{} rows come more than once: same peer, sequence and direction"),
        (unfit, "{} rows whose origin does not go with their direction"),
        ((frame["raw_error_ns"] < 0).fillna(value=False), "raw_error_ns is negative in {} rows"),
    ):
        if rows := int(count.sum()):
            yield error("probes", file, text.format(rows), node.node_id, rows=rows)
    status = node.status or {}
    if status.get("outcome") != records.FINISHED_OK:
        return  # until an agent has ended in order, rows may be ahead of its status
    for word, name in COUNTED.items():
        counted, rows = status.get("counts", {}).get(name), int((direction == word).sum())
        if counted is not None and counted != rows:
            text = f"expected {counted} {word} rows as the agent counted ({name}), got {rows}"
            yield error("agent-counts", file, text, node.node_id, counted=counted, rows=rows)


def _instants(file: str, frame: pd.DataFrame, pairs: pd.DataFrame | None, node_id: str) -> Iterator[Finding]:
    """Check the wall instants: one outside is an error, unless the node's wall clock was really set to such a time."""
    outside = ~frame["wall_ns"].between(EARLIEST_NS, LATEST_NS).fillna(value=False)
    if not outside.any():
        return
    clock = wall_clock.of_pairs(pairs)
    known = frame[outside].dropna(subset=["wall_ns", "raw_ns"])
    shown = 0
    if len(clock) and len(known):
        wall, raw = (known[name].to_numpy(dtype=np.int64) for name in ("wall_ns", "raw_ns"))
        slack = known["raw_error_ns"].fillna(0).to_numpy(dtype=np.int64)
        shown = int(clock.fits(wall, raw - slack, raw + slack).sum())
    strange_ns = clock.raw + clock.offset
    strange_ns = strange_ns[(strange_ns < EARLIEST_NS) | (strange_ns > LATEST_NS)]
    if len(strange_ns):  # one that could not be carried to the raw oscillator, over the very step
        uncarried = frame[outside & frame["raw_ns"].isna()]["wall_ns"].dropna()
        shown += int(uncarried.between(int(strange_ns.min()) - NEAR_NS, int(strange_ns.max()) + NEAR_NS).sum())
    text = "rows is no instant between 2000 and 2100, in ns"
    if wrong := int(outside.sum()) - shown:
        yield error("probes", file, f"wall_ns of {wrong} {text}", node_id, rows=wrong)
    if shown:
        set_so = f"its wall clock was set so, by {records.CLOCK_PAIRS_FILE}"
        yield warning("probes", file, f"wall_ns of {shown} {text}: {set_so}", node_id, rows=shown)


# --- two nodes --------------------------------------------------------------------------------------------------------


def _mesh(
    subject: Subject,
    plan_of: Mapping[str, plans.NodePlan | None],
    pair: tuple[str, str],
    stamps_of: Callable[[str], NodeStamps],
) -> Iterator[Finding]:
    """Check that what two nodes noted of the probes between them is of the same probes."""
    first, second = pair
    joined = subject.reference.joined.get(pair) if subject.reference is not None else None
    if joined is None:  # none was built, or the two share a clock
        joined = bounds.join(first, stamps_of(first), second, stamps_of(second), 0)
    there, back = joined.forward, joined.backward
    for sender, receiver, directed in ((first, second, there), (second, first, back)):
        status = subject.recorded[sender].status or {}
        errors = status.get("counts", {}).get("probe_send_errors", 0)
        if status.get("outcome") == records.FINISHED_OK and directed.unsent > errors:
            text = f"{directed.unsent:,} probes of {sender} that {sender} did not send"
            yield error("other-run", raw_file(receiver, records.PROBES_FILE), text, receiver, rows=directed.unsent)
    given = [plan for node_id in pair if (plan := plan_of[node_id]) is not None]
    if len(given) < len(pair):
        return  # a plan that no agent had: its replay says so
    if any(plan.virtual_clock and (plan.virtual_clock.raw_steps or plan.virtual_clock.freezes) for plan in given):
        return  # an oscillator that leaps contradicts itself
    drifts_ppm = [plan.clocks.max_drift_ppm for plan in given]
    impossible, of = _impossible(_ends(there), _ends(back), drifts_ppm)
    if impossible >= FEWEST and impossible > CONTRADICTED * of:
        text = f"{impossible:,} of {of:,} probes between {first} and {second} took, there and back, less than no time"
        file = raw_file(f"{first}, {second}", records.PROBES_FILE)
        yield error("other-run", file, f"{text}: they are of two runs", "", rows=impossible, of=of)


def _plan_of(node: records.NodeManifest) -> plans.NodePlan | None:
    """Return a node's plan; None of one that no agent had."""
    try:
        return plans.from_json(json.dumps(node.plan))
    except (ValueError, TypeError, KeyError):
        return None


def _ends(directed: Directed) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return when each probe was sent and received and how unsure these are, as three rows in order of receipt."""
    sent, received = directed.sent, directed.received
    return np.array([sent.raw, received.raw, sent.error + received.error])[:, np.argsort(received.raw, kind="stable")]


def _impossible(
    there: np.ndarray[Any, np.dtype[np.int64]], back: np.ndarray[Any, np.dtype[np.int64]], drifts_ppm: list[float]
) -> tuple[int, int]:
    """Count the probes that, with the nearest one back, took less than no time, and return of how many.

    Nearest is which came next to when the probe left, both on the first node's oscillator.
    """
    if min(there.shape[1], back.shape[1]) < FEWEST:
        return 0, there.shape[1]
    left, came = there[0], back[1]
    after = np.clip(np.searchsorted(came, left), 1, len(came) - 1)
    nearest = np.where(left - came[after - 1] < came[after] - left, after - 1, after)
    back = back[:, nearest]
    least = (there[1] - left) + (back[1] - back[0]) + there[2] + back[2]
    for ppm in drifts_ppm:
        rate, per = drift_per_ns(ppm)
        least -= -np.abs(left - back[1]) * rate // per
    return int((least < 0).sum()), len(left)
