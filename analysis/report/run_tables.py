"""The tables of the report, each a function of the typed results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks.files import integrity
from analysis.stats import rates
from analysis.tables import counted, markdown, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Results
    from analysis.report.hypotheses import Judged


DROPPED: Final = ("malformed", "foreign", "bad_tag", "oversized", "kernel_dropped")
NODES: Final = (
    "node", "role", "host", "Python", "clock source", "events", "lost", "duplicates", "dropped", "user stamps",
    "files as the node wrote them",
)  # fmt: skip


def nodes(results: Results) -> str:
    """Return one row per node: who it is, what it sent or received, what went wrong."""
    table = results.table
    manifest = table.run.manifest
    rows = []
    sent = int(table.sent.known.sum())
    checked = integrity.as_written(table.run, results.findings)
    for node_id, node in manifest.nodes.items():
        status = node.status or {}
        counts = status.get("counts") or {}
        received = table.received.get(node_id)
        if node.role == "coordinator":
            events, lost = f"{sent} sent", None
        elif received is None:
            events, lost = "no data", None
        else:
            events, lost = f"{int(received.sum())} received", int((table.sent.known & ~received).sum())
        dropped = {name: counts[name] for name in DROPPED if name in counts}
        duplicates = (counts.get("duplicate") or 0) + table.duplicates.get(node_id, 0)
        known = counts or received is not None
        who = (node_id, node.role, node.host, status.get("python"), status.get("clock_source"))
        happened = (events, lost, duplicates if known else None, counted(dropped), counts.get("user_stamps"))
        rows.append((*who, *happened, checked.get(node_id, "yes")))
    return markdown(NODES, rows)


def unavailable(results: Results) -> str:
    """Return how many readings each source owes on each node, by reason; lost packets are not readings.

    Sources that owe none on any node share one row.
    """
    table = results.table
    rows = []
    complete = []
    for source in table.sources:
        blocks = [table.readings(node_id, source) for node_id in table.nodes]
        if all(block.stamped.any() and not (block.stamped & ~block.known).any() for block in blocks):
            stamped = [f"{block.node_id} 0 of {int(block.stamped.sum())}" for block in blocks]
            complete.append(f"{source} ({', '.join(stamped)})")
            continue
        for node_id in table.nodes:
            block = table.readings(node_id, source)
            missing = block.stamped & ~block.known
            rate = rates.rate(int(missing.sum()), int(block.stamped.sum()))
            rows.append((source, node_id, share(rate), counted(block.statuses(missing))))
    if complete:
        rows.append((", ".join(complete), "all", "none is missing", ""))
    return markdown(("source", "node", "unavailable", "reasons"), rows, "")


def hypotheses(judged: Sequence[Judged]) -> str:
    """Return what each hypothesis says, what was measured, and what follows; ``methods`` says how."""
    rows = []
    for judgement in judged:
        why = f": {judgement.reason}" if judgement.reason else ""
        claim = (judgement.hypothesis.statement, judgement.hypothesis.threshold)
        rows.append((*claim, judgement.measured, f"**{judgement.status}**{why}"))
    return markdown(("hypothesis", "threshold", "measured", "status"), rows)


def methods(judged: Sequence[Judged]) -> str:
    """Return, in a sentence, how the intervals of the hypotheses' rates were taken, each way once."""
    used = dict.fromkeys(judgement.method for judgement in judged if judgement.method)
    return f"About the 95 % intervals: {'; '.join(used)}." if used else ""


def findings(results: Results) -> str:
    """Return what the detectors found in the data."""
    rows = [(finding.severity, finding.code, finding.where, finding.message) for finding in results.findings]
    return markdown(("severity", "finding", "where", "what"), rows, "No detector found anything.")
