"""The wide table for other people's tools: one row per (event, worker), both ends, all sources; loss stays visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.load import prefixes
from node_agent.records import source_columns

if TYPE_CHECKING:
    from analysis.readings import Table


def merge(table: Table) -> pd.DataFrame:
    """Return every event of the run at every worker (outer join), the first copy where there are several.

    ``received_copies`` is 0 for a lost packet and more than 1 for duplicates. The columns of coordinator.csv and
    worker_<id>.csv keep their names, source columns get ``send_`` or ``receive_`` in front, the worker's own row of
    sends.csv ``own_``; ``true_send_ns`` and ``true_receive_ns`` are there where truth was injected.
    """
    run = table.run
    ids = pd.Index(table.event_ids, name="event_id")
    sources = {
        column for prefix in prefixes([run.coordinator, *run.workers.values()]) for column in source_columns(prefix)
    }
    coordinator = _unique(run.coordinator).reindex(ids)
    coordinator = coordinator.rename(columns={name: f"send_{name}" for name in coordinator.columns if name in sources})
    blocks = []
    for worker in table.workers:
        frame = run.workers.get(worker)
        parts = [coordinator]
        own = run.sends[run.sends["worker_id"] == worker].dropna(subset=["event_id"]).drop_duplicates("event_id")
        own = own.set_index("event_id").reindex(ids).drop(columns=["worker_id", "sequence_number"], errors="ignore")
        parts.append(own.add_prefix("own_"))
        copies = pd.Series(0, index=ids)
        if frame is not None:
            copies = frame.groupby("event_id").size().reindex(ids, fill_value=0)
            received = _unique(frame).reindex(ids).drop(columns=["node_id"])
            received = received.rename(columns={"sequence_number": "receive_sequence_number"})
            parts.append(received.rename(columns={n: f"receive_{n}" for n in received.columns if n in sources}))
        for name, true in (("true_send_ns", table.true_sends(worker)), ("true_receive_ns", table.truth(worker))):
            if true is not None:
                parts.append(pd.DataFrame({name: pd.arrays.IntegerArray(true.ns.copy(), ~true.known)}, index=ids))
        block = pd.concat(parts, axis=1)
        block.insert(0, "worker_id", worker)
        block.insert(1, "received_copies", copies.to_numpy())
        blocks.append(block.reset_index())
    return pd.concat(blocks, ignore_index=True).sort_values(["event_id", "worker_id"], kind="stable")


def _unique(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop_duplicates("event_id", keep="first").set_index("event_id")
