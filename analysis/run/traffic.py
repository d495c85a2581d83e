"""What a source's own questions cost on the network, and what the experiment's probes cost: messages and bytes.

Counted from samples.csv: one message per question sent and one per answer that came, failures included. What they were
on the wire is for each kind of source to say (``traffic`` of ``node_agent.clocks.kind``): where it leaves something
out, its bytes are a lower limit; where nobody counts, they are not evaluable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from node_agent.clocks.kind import headers_bytes
from node_agent.clocks.sources import BY_NAME
from node_agent.contract import records
from node_agent.contract.records import Sample

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from analysis.run.load import Run

PROBE_BYTES: Final = 64  # node_agent's probe datagram; the tests hold it against the agent's own
NOT_KNOWN: Final = "nothing here knows what a question of this source is on the wire"
NO_SAMPLES: Final = "no samples.csv of this source"


@dataclass(frozen=True)
class Polling:
    """One source's questions on all nodes. ``reason`` says why nothing is known; ``rests_on``: what it is fed with."""

    source: str
    questions: int
    answers: int
    bytes_sent: int
    bytes_received: int
    reason: str = ""
    rests_on: str = ""
    left_out: str = ""

    @property
    def messages(self) -> int:
        """Return questions and answers together."""
        return self.questions + self.answers

    @property
    def bytes(self) -> int:
        """Return the bytes both ways."""
        return self.bytes_sent + self.bytes_received

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-serialisable data."""
        if self.reason:
            return {"status": "not_evaluable", "reason": self.reason}
        names = ("questions", "answers", "messages", "bytes_sent", "bytes_received", "bytes", "rests_on", "left_out")
        return {"status": "counted"} | {name: getattr(self, name) for name in names}


def of(run: Run, source: str) -> Polling:
    """Count what one source's questions cost on all nodes; the system clock asks nobody."""
    if source == records.SYSTEM:
        return Polling(source, 0, 0, 0, 0)
    kind = BY_NAME.get(source)
    if kind is None or kind.traffic is None:
        return Polling(source, 0, 0, 0, 0, NOT_KNOWN if kind is None else kind.traffic_note)
    if not any((frame["source"] == source).any() for frame in run.samples.values()):
        return Polling(source, 0, 0, 0, 0, NO_SAMPLES)
    counts = [kind.traffic(node, _samples(frame, {source, kind.fed_by})) for node, frame in run.samples.items()]
    names = ("questions", "answers", "bytes_sent", "bytes_received")
    totals = {name: sum(getattr(count, name) for count in counts) for name in names}
    rests_on = kind.fed_by if any(count.fed for count in counts) else ""
    return Polling(source, **totals, rests_on=rests_on, left_out=kind.traffic_note)


def _samples(frame: pd.DataFrame, sources: Collection[str]) -> list[Sample]:
    """Return a node's samples of some sources as the agent knows them; what is not in the files is absent."""
    rows = frame[frame["source"].isin(sources)]
    absent: Any = None  # of the values that pandas' types know of it is none
    columns = [
        rows[name].to_numpy(dtype=object, na_value=absent) if name in rows else [None] * len(rows)
        for name in records.SAMPLES_COLUMNS
    ]
    return [Sample(*cells) for cells in zip(*columns, strict=True)]


def probes(run: Run) -> dict[str, int]:
    """Return what the probe mesh cost: the experiment's own, no source's."""
    sent = sum(int((frame["direction"] == records.PROBE_TX).sum()) for frame in run.probes.values())
    return {"probes": sent, "bytes": sent * message_bytes(run)}


def message_bytes(run: Run) -> int:
    """Return the bytes of a probe, and of a message of its size, between the nodes of a run: they are of one family."""
    plans = [node.plan for node in run.manifest.nodes.values() if node.plan is not None]
    return PROBE_BYTES + headers_bytes(str(plans[0].get("listen_host", "")) if plans else "")
