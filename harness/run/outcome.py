"""How a run ended: ok, degraded or failed, from the agents' own last words and counts. Pure; nothing is assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.errors import EXIT_COLLECTION, EXIT_DEGRADED, EXIT_OK, EXIT_RUN
from node_agent.contract.plan import COORDINATOR
from node_agent.contract.records import (
    COLUMN_PREFIX,
    FINISHED_OK,
    FINISHED_STOPPED,
    RUN_DEGRADED,
    RUN_FAILED,
    RUN_OK,
    WATCH,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from harness.configuration.experiment import CoordinatorConfig, WorkerConfig
    from node_agent.contract.records import Manifest, NodeManifest

NOTHING_SENT: Final = "no event was sent"
NOT_KNOWN: Final = "how many events were sent is not known"
NOTHING_READ: Final = "no clock was read on any node"
_NOTHING_DONE: Final = {NOTHING_SENT, NOT_KNOWN, NOTHING_READ}


def judge(
    manifest: Manifest,
    coordinator: CoordinatorConfig,
    worker: WorkerConfig,
    failure: str | None,
    lent: Sequence[str] = (),
) -> tuple[str, list[str]]:
    """Return the outcome and why it is not ok.

    ``failure`` is what kept the run itself from being carried out, ``lent`` what happened to nodes that were lent.
    Agents are stopped after a failure; that they were is then no problem of its own.
    """
    problems: list[str] = [problem for problem in lent if problem != failure]
    for node_id, node in manifest.nodes.items():
        rows = _count(node, _rows_of(manifest.kind, node.role))
        problems += [
            f"{node_id}: {problem}" for problem in _node_problems(node, worker, rows, stopped=failure is not None)
        ]
    if failure is None:
        failure = _nothing_done(manifest)
    if failure is not None:
        return RUN_FAILED, [failure, *(problem for problem in problems if problem != failure)]
    least = coordinator.experiment.min_received_share
    problems += _missed(manifest, least) if manifest.kind == WATCH else _lost(manifest, least)
    return (RUN_DEGRADED if problems else RUN_OK), problems


def _rows_of(kind: str, role: str) -> str:
    """Return which of a node's counts is that of its stamps with readings."""
    if kind == WATCH:
        return "readings"
    return "sent" if role == COORDINATOR else "received"


def _nothing_done(manifest: Manifest) -> str | None:
    """Return why there was no run at all, None if there was one."""
    if manifest.kind == WATCH:
        return None if any(_count(node, "readings") for node in manifest.nodes.values()) else NOTHING_READ
    sent = _count(manifest.nodes[manifest.coordinator_id], "sent")
    return None if sent else NOTHING_SENT if sent == 0 else NOT_KNOWN


def _lost(manifest: Manifest, least: float) -> list[str]:
    """Return a line per worker that received less than this share of the events."""
    sent = _count(manifest.nodes[manifest.coordinator_id], "sent") or 0
    received = {worker_id: _count(manifest.nodes[worker_id], "received") for worker_id in manifest.worker_ids}
    return [
        f"{worker_id}: received {count} of {sent} events, less than {least:.0%}"
        for worker_id, count in received.items()
        if count is not None and count < least * sent
    ]


def _missed(manifest: Manifest, least: float) -> list[str]:
    """Return a line per node that took less than this share of the readings that were due."""
    lines = []
    for node_id, node in manifest.nodes.items():
        taken, missed = _count(node, "readings") or 0, _count(node, "missed") or 0
        if taken < least * (taken + missed):
            lines.append(f"{node_id}: took {taken} of {taken + missed} readings that were due, less than {least:.0%}")
    return lines


def kept_failure(manifest: Manifest) -> str | None:
    """Return what kept an earlier controller from carrying the run out: judging it once more does not change that."""
    if manifest.outcome != RUN_FAILED or not manifest.problems or manifest.problems[0] in _NOTHING_DONE:
        return None
    return manifest.problems[0]


def exit_code(manifest: Manifest, besides: Collection[str] = ()) -> int:
    """Return the exit code of a collected run: failed above degraded, unverified files above both.

    Nodes ``besides`` have nothing to verify.
    """
    by_outcome = {RUN_OK: EXIT_OK, RUN_DEGRADED: EXIT_DEGRADED, RUN_FAILED: EXIT_RUN}
    code = by_outcome.get(manifest.outcome or "", EXIT_RUN)
    unverified = any(not node.checksums_verified for node_id, node in manifest.nodes.items() if node_id not in besides)
    return max(code, EXIT_COLLECTION) if unverified else code


def _node_problems(node: NodeManifest, worker: WorkerConfig, rows: int | None, *, stopped: bool) -> list[str]:
    """Return what is wrong with a node's part; ``stopped``: that its agent was stopped is not."""
    problems = list(node.problems)
    status = node.status
    if status is None:
        return problems or ["no status was ever written"]
    if status["outcome"] is None:
        seen = "died" if node.checksums_verified else "was last seen"
        problems.append(f"{seen} in phase {status['phase']}")
    elif status["outcome"] not in ({FINISHED_OK, FINISHED_STOPPED} if stopped else {FINISHED_OK}):
        problems.append(f"ended as {status['outcome']}: {status['detail']}")
    probes = (node.plan or {}).get("probes")
    if probes and _count(node, "probe_received") == 0:
        problems.append(f"received no probe; is UDP port {probes['port']} open between the nodes?")
    least = worker.clocks.min_available_share
    for source in worker.clocks.required:
        missing = _count(node, f"{COLUMN_PREFIX[source]}_unavailable")
        if rows and missing and rows - missing < least * rows:
            problems.append(f"{source}: {missing} of {rows} readings unavailable, less than {least:.0%} available")
    return problems


def _count(node: NodeManifest, name: str) -> int | None:
    return None if node.status is None else node.status["counts"].get(name)
