"""The tables of the report, each a function of the typed results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks.files import integrity
from analysis.checks.finding import some
from analysis.tables import Grid, counted, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Results
    from analysis.checks.finding import Finding
    from analysis.report.hypotheses import Judged
    from analysis.report.run_counts import Missing, NodeCounts, RunCounts


MOST_ALIKE: Final = 4  # findings of one kind that have a row each
NODES: Final = (
    "node", "role", "host", "Python", "clock source", "events", "lost", "duplicates", "dropped", "user stamps",
    "files as the node wrote them",
)  # fmt: skip


def nodes(results: Results, counts: RunCounts) -> Grid:
    """Return one row per node: who it is, what it sent or received, what went wrong."""
    manifest = results.table.run.manifest
    rows = []
    checked = integrity.as_written(results.table.run, results.findings)
    for node in counts.nodes:
        entry = manifest.nodes[node.node_id]
        status = entry.status or {}
        who = (node.node_id, entry.role, entry.host, status.get("python"), status.get("clock_source"))
        happened = (_events(node), node.lost, node.duplicates, counted(node.dropped), node.user_stamps)
        rows.append((*who, *happened, checked.get(node.node_id, "yes")))
    return Grid.of(NODES, rows)


def _events(node: NodeCounts) -> str:
    if node.sent is not None:
        return f"{node.sent:,} sent"
    return "no data" if node.received is None else f"{node.received:,} received"


def unavailable(counts: RunCounts) -> Grid:
    """Return how many readings each source owes on each node, by reason; lost packets are not readings.

    Sources that owe none on any node share one row.
    """
    by_source: dict[str, list[Missing]] = {}
    for missing in counts.missing:
        by_source.setdefault(missing.source, []).append(missing)
    rows: list[tuple[str, ...]] = []
    complete = []
    for source, nodes_of in by_source.items():
        if all(missing.rate.denominator and not missing.rate.numerator for missing in nodes_of):
            stamped = [f"{missing.node_id} 0 of {missing.rate.denominator:,}" for missing in nodes_of]
            complete.append(f"{source} ({some(stamped)})")
        else:
            rows += [(source, missing.node_id, share(missing.rate), counted(missing.reasons)) for missing in nodes_of]
    if complete:
        rows.append((", ".join(complete), "all", "none is missing", ""))
    return Grid.of(("source", "node", "unavailable", "reasons"), rows, "")


def hypotheses(judged: Sequence[Judged]) -> Grid:
    """Return what each hypothesis says, what was measured, and what follows; ``methods`` says how."""
    rows = []
    for judgement in judged:
        why = f": {judgement.reason}" if judgement.reason else ""
        claim = (judgement.hypothesis.statement, judgement.hypothesis.threshold)
        rows.append((*claim, judgement.measured, f"**{judgement.status}**{why}"))
    return Grid.of(("hypothesis", "threshold", "measured", "status"), rows)


def methods(judged: Sequence[Judged]) -> str:
    """Return, in a sentence, how the intervals of the hypotheses' rates were taken, each way once."""
    used = dict.fromkeys(judgement.method for judgement in judged if judgement.method)
    return f"About the 95 % intervals: {'; '.join(used)}." if used else ""


def findings(results: Results) -> Grid:
    """Return what the detectors found in the data: of many findings of one kind the first, and how many more."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in results.findings:
        kinds.setdefault((finding.severity, finding.code), []).append(finding)
    rows = []
    for (severity, code), alike in kinds.items():
        rows += [(severity, code, finding.where, finding.message) for finding in alike[:MOST_ALIKE]]
        if len(alike) > MOST_ALIKE:
            rows.append((severity, code, "", f"and {len(alike) - MOST_ALIKE} more: statistics/validity_findings.json"))
    return Grid.of(("severity", "finding", "where", "what"), rows, "No detector found anything.")
