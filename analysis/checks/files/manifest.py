"""Checks on the manifest: whether it is one of a run that is home, and what the agents said of how they ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analysis.checks.files import identity
from analysis.checks.finding import NOTE, WARNING, Finding, error, reasons, warning
from analysis.checks.subject import raw_file
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.checks.finding import Severity
    from analysis.checks.subject import Subject
    from analysis.run.load import Run

MANIFEST: Final = records.MANIFEST_FILE
PHASES: Final = {records.DEPLOYED, records.RUN_RUNNING, records.RUN_FINISHED, records.COLLECTED, records.IMPORTED}
RUN_OUTCOMES: Final = {None, records.RUN_OK, records.RUN_DEGRADED, records.RUN_FAILED}
KINDS: Final = (records.EXPERIMENT, records.WATCH, records.SERIES)
RUN_ID: Final = re.compile(r"[0-9a-f]{32}")

# By code: its severity, the workers' counters that tell, and what that means.
DATAGRAMS: Final[dict[str, tuple[Severity, tuple[str, ...], str]]] = {
    "foreign-datagrams": (
        WARNING,
        ("foreign", "bad_tag"),
        "another coordinator (or run) sends to this port; counted, none used",
    ),
    "duplicate-datagrams": (NOTE, ("duplicate",), "the network doubled them; the first copy counts"),
    "malformed-datagrams": (WARNING, ("malformed", "oversized"), "no events of any run; counted, none used"),
}


def find(subject: Subject) -> Iterator[Finding]:
    """Yield what is off in the manifest itself."""
    manifest = subject.manifest
    if manifest is None:
        return  # it is unreadable, which is said of every file
    folder = subject.path.resolve().name
    run_id, phase, outcome, imported = manifest.run_id, manifest.phase, manifest.outcome, manifest.imported
    why = f": {'; '.join(manifest.problems)}" if manifest.problems else ""
    coordinators = [node_id for node_id, role in subject.roles.items() if role == "coordinator"]
    for wrong, of, text in (
        (not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id), error,
         f"run_id: expected 32 hex digits, got {run_id!r}"),
        (manifest.experiment != folder, warning,
         f"experiment: expected the folder's name {folder!r}, got {manifest.experiment!r}"),
        (phase not in PHASES, error, f"phase: expected one of {', '.join(sorted(PHASES))}, got {phase!r}"),
        (outcome not in RUN_OUTCOMES, error, f"outcome: expected ok, degraded, failed or null, got {outcome!r}"),
        (not coordinators, error, "expected one coordinator, got none"),
        (not manifest.worker_ids and subject.has_events, error, "expected at least one worker, got none"),
        (manifest.kind not in KINDS, error, f"kind: expected one of {', '.join(KINDS)}, got {manifest.kind!r}"),
        (phase == records.IMPORTED and imported is None, error,
         "imported: expected where the data comes from, got null"),
        (imported is None and phase not in {records.COLLECTED, records.IMPORTED}, warning,
         f"the run is {phase}, not collected; collect it"),
        (outcome in {records.RUN_DEGRADED, records.RUN_FAILED}, warning, f"the run ended {outcome}{why}"),
    ):  # fmt: skip
        if wrong:
            yield of("manifest", MANIFEST, text)
    if len(coordinators) > 1:
        text = f"expected one coordinator, got {', '.join(coordinators)}: events of several are mixed"
        yield error("several-coordinators", MANIFEST, text, coordinators=coordinators)


def agents(subject: Subject) -> Iterator[Finding]:
    """Yield what the agents' last words say, where that is not what their tables or the manifest say."""
    manifest = subject.manifest
    if manifest is None:
        return
    for node_id, node in subject.recorded.items():
        where, status = f"{MANIFEST} {node_id}", node.status
        for name, key, wanted, got in identity.strangers(subject.path / records.RAW_DIR / node_id, node_id, manifest):
            file = where if name.startswith(MANIFEST) else raw_file(node_id, name)
            yield error("other-run", file, f"of another run or agent: {key}: expected {wanted}, got {got}", node_id)
        if not status:
            yield warning("agent-status", where, "no status of this node", node_id)
            continue
        if (run_id := status.get("run_id")) != manifest.run_id:
            text = f"status of another run: expected {manifest.run_id}, got {run_id}"
            yield error("other-run", where, text, node_id)
        if status.get("phase") != records.FINISHED or status.get("outcome") != records.FINISHED_OK:
            detail = f" ({status['detail']})" if status.get("detail") else ""
            text = f"the agent ended {status.get('phase')}, {status.get('outcome')}{detail}"
            yield warning("agent-status", where, text, node_id)
        counts, table = status.get("counts") or {}, subject.of_node(node_id)
        if table is None:
            continue
        word = "sent" if node.role == "coordinator" else "received"
        rows_of = {word if subject.has_events else "readings": len(table)}
        for prefix in records.SOURCE_PREFIXES:
            if f"{prefix}_status" in table:
                there = table[f"{prefix}_status"].isin([records.OK, records.NOT_CONFIGURED])
                rows_of[f"{prefix}_unavailable"] = int((~there).sum())
        for name, rows in rows_of.items():
            if name in counts and counts[name] != rows:
                text = f"the agent counted {counts[name]:,} {name}, its table has {rows:,} rows"
                yield error("agent-counts", where, text, node_id, counted=counts[name], rows=rows)


def datagrams(run: Run) -> Iterator[Finding]:
    """Yield one finding per worker and kind of datagram that its agent counted and dropped."""
    for node_id in run.worker_ids:
        counted = (run.manifest.nodes[node_id].status or {}).get("counts") or {}
        for code, (severity, names, meaning) in DATAGRAMS.items():
            dropped = {name: count for name in names if (count := int(counted.get(name) or 0))}
            if dropped:
                text = f"datagrams were dropped ({reasons(dropped)}): {meaning}"
                yield Finding(code, severity, node_id, "", text, dropped)
