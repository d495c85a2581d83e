"""What a run has and what it lacks: events and datagrams of every node, and readings that are not there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.stats import rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analysis.by_event.readings import Table
    from analysis.stats.rates import Rate

DROPPED: Final = ("malformed", "foreign", "bad_tag", "oversized", "kernel_dropped")


@dataclass(frozen=True)
class NodeCounts:
    """What one node sent or received; None where nobody counted.

    ``received``: events that left a row, None without a table; ``of_sent``: the sent ones among them, of a worker.
    ``dropped``: datagrams that were not counted as events, by reason.
    """

    node_id: str
    sent: int | None
    received: int | None
    of_sent: Rate | None
    duplicates: int | None
    dropped: Mapping[str, int]
    user_stamps: int | None

    @property
    def lost(self) -> int | None:
        """Return how many events were sent and left no row; None where there is no table."""
        known = self.of_sent is not None and self.received is not None
        return self.of_sent.denominator - self.of_sent.numerator if known and self.of_sent else None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return {
            "sent": self.sent,
            "received": self.received,
            "received_of_sent": None if self.of_sent is None else self.of_sent.as_dict(),
            "lost": self.lost,
            "duplicates": self.duplicates,
            "dropped": dict(self.dropped),
            "user_stamps": self.user_stamps,
        }


@dataclass(frozen=True)
class Missing:
    """Which share of the stamps of a node a source has no reading for, and why not."""

    source: str
    node_id: str
    rate: Rate
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class RunCounts:
    """The counts of a run: events sent and the time (s) from the first to the last, nodes, and missing readings."""

    sent: int
    span_s: float
    nodes: tuple[NodeCounts, ...]
    missing: tuple[Missing, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data, missing readings by source and node."""
        missing: dict[str, Any] = {}
        for entry in self.missing:
            said = {"unavailable": entry.rate.as_dict(), "reasons": dict(entry.reasons)}
            missing.setdefault(entry.source, {})[entry.node_id] = said
        return {
            "events_sent": self.sent,
            "span_s": self.span_s,
            "nodes": {node.node_id: node.as_dict() for node in self.nodes},
            "missing_readings": missing,
        }


def of(table: Table) -> RunCounts:
    """Count what a run has and what it lacks; lost packets are no missing readings."""
    sent = table.sent
    return RunCounts(
        sent=int(sent.known.sum()),
        span_s=float(np.ptp(sent.ns[sent.known])) / 1e9 if sent.known.any() else 0.0,
        nodes=tuple(_node(table, node_id) for node_id in table.run.manifest.nodes),
        missing=tuple(_missing(table)),
    )


def _node(table: Table, node_id: str) -> NodeCounts:
    node = table.run.manifest.nodes[node_id]
    counts = (node.status or {}).get("counts") or {}
    received, sent = table.received.get(node_id), int(table.sent.known.sum())
    coordinator = node.role == "coordinator"
    arrived = 0 if received is None else int((table.sent.known & received).sum())
    duplicates = (counts.get("duplicate") or 0) + table.duplicates.get(node_id, 0)
    return NodeCounts(
        node_id=node_id,
        sent=sent if coordinator else None,
        received=None if received is None or coordinator else int(received.sum()),
        of_sent=None if coordinator else rates.rate(arrived, sent),
        duplicates=duplicates if counts or received is not None else None,
        dropped={name: counts[name] for name in DROPPED if name in counts},
        user_stamps=counts.get("user_stamps"),
    )


def _missing(table: Table) -> Iterator[Missing]:
    """Yield, source by source and node by node, why there is no reading of how many stamps."""
    for source, node_id in product(table.sources, table.nodes):
        stamps, why = table.facts.asked[node_id, source]
        yield Missing(source, node_id, rates.rate(sum(why.values()), stamps), dict(sorted(why.items())))
