"""What reached the workers and was not used: datagrams of others, doubled ones, and such that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks.finding import Finding, reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.checks.finding import Severity
    from analysis.run.load import Run

# By code: its severity, the workers' counters that tell, and what that means.
_COUNTERS: Final[dict[str, tuple[Severity, tuple[str, ...], str]]] = {
    "foreign-datagrams": (
        "warning",
        ("foreign", "bad_tag"),
        "another coordinator (or run) sends to this port; counted, none used",
    ),
    "duplicate-datagrams": ("note", ("duplicate",), "the network doubled them; the first copy counts"),
    "malformed-datagrams": ("warning", ("malformed", "oversized"), "no events of any run; counted, none used"),
}


def find(run: Run) -> Iterator[Finding]:
    """Yield one finding per worker and kind of datagram that its agent counted and dropped."""
    for node_id in run.worker_ids:
        status = run.manifest.nodes[node_id].status or {}
        counted = status.get("counts") or {}
        for code, (severity, names, meaning) in _COUNTERS.items():
            counts = {name: int(counted.get(name) or 0) for name in names}
            dropped = {name: count for name, count in counts.items() if count}
            if dropped:
                text = f"datagrams were dropped ({reasons(dropped)}): {meaning}"
                yield Finding(code, severity, node_id, "", text, dropped)
