"""The run as arrays: per node and source, one reading per event of the run, in event order, loss included.

This is the tidy form every verdict is computed from: `Table.readings` and `Table.sends` are its blocks, `tidy` is the
same as one long frame, one row per (event, node, source). A reading that is not there has a status that says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.run import drift_limits, event_rows, load, truth
from analysis.run.event_rows import Instants, RawStamps, Rows, Text
from analysis.run.facts import NEVER, Facts
from analysis.run.table import (
    LOCAL,
    LOST,
    NO_DATA,
    NO_RAW_STAMP,
    NO_STATUS,
    NOT_SENT,
    POINT,
    UNSTATED,
    Readings,
    Table,
)
from analysis.run.utc import UTC_LABEL
from node_agent.clocks.holdover import drift_per_ns
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.arrays import Ints

__all__ = ["Instants", "RawStamps", "Readings", "Table", "table", "tidy"]


@dataclass(frozen=True)
class _Words:
    """The categories that all statuses of a run share, and all references."""

    status: pd.CategoricalDtype
    reference: pd.CategoricalDtype

    def all_of(self, word: str, count: int) -> pd.Categorical:
        """Return so many times the same reference."""
        return Text(np.full(count, -1), ()).within(self.reference, word)


def table(run: load.Run, facts: Facts | None = None, begins_at: int = 0) -> Table:
    """Align all nodes of a run on the union of their events, sorted by event id. The first of duplicates counts.

    ``facts``: those of the run that this is a part of, ``begins_at``: the place of its first event among the run's.
    """
    frames = {node_id: load.in_memory(frame) for node_id, frame in run.rows_by_node().items()}
    named = {node_id: event_rows.event_ids(node_id, frame) for node_id, frame in frames.items()}
    events = event_rows.different(np.concatenate(list(named.values())))
    aligned = {node_id: event_rows.align(frame, named[node_id], events) for node_id, frame in frames.items()}
    coordinator, count = run.manifest.coordinator_id, len(events)
    prefixes = load.prefixes(frames.values())
    texts = {
        (node_id, f"{prefix}_{name}"): rows.text(f"{prefix}_{name}")
        for node_id, rows in aligned.items()
        for prefix in prefixes
        for name in ("status", "reference")
        if f"{prefix}_status" in rows
    }
    words = _words(texts)
    sources = (records.SYSTEM, *(load.source_name(prefix) for prefix in prefixes))

    kinds, levels = _said((coordinator, *run.worker_ids), aligned, prefixes)
    receive: dict[tuple[str, str], Readings] = {}
    stamps: dict[str, Instants] = {}
    raw_stamps: dict[str, RawStamps] = {}
    for node_id in (coordinator, *run.worker_ids):
        kind = "send" if node_id == coordinator else "receive"
        rows = aligned.get(node_id)
        stamps[node_id] = event_rows.nothing(count) if rows is None else rows.instants(f"{kind}_time_ns")
        raw_stamps[node_id] = event_rows.no_raw(count) if rows is None else rows.raw(kind)
        missing = NO_DATA if rows is None else NOT_SENT if node_id == coordinator else LOST
        for source in sources:
            block = _readings(node_id, source, rows, stamps[node_id], missing, words, texts, begins_at)
            receive[node_id, source] = block
    received = {node_id: aligned[node_id].there for node_id in run.workers}
    sent_at = stamps[coordinator]
    own_facts = Facts(
        heard=frozenset(worker for worker in run.workers if received[worker].any()),
        with_raw=frozenset(node_id for node_id, raw in raw_stamps.items() if raw.known.any()),
        known=frozenset(key for key, block in receive.items() if block.known.any()),
        bounded=frozenset(key for key, block in receive.items() if block.bounded.any()),
        to_utc=frozenset(key for key, block in receive.items() if (block.reference == UTC_LABEL).any()),
        kinds=kinds,
        levels=levels,
        first_sent_ns=int(sent_at.ns[sent_at.known].min(initial=NEVER)),
    )
    sent = aligned[coordinator]
    own_rows = event_rows.sends_of(load.in_memory(run.sends), run.worker_ids, events, stamped=True)
    holding = own_facts if facts is None else facts
    receive = {key: replace(block, **holding.claim(*key)._asdict()) for key, block in receive.items()}
    send, own = _send_readings(run, sources, sent, own_rows, stamps[coordinator], receive)
    return Table(
        run=run,
        event_ids=events,
        sequence=sent.instants("sequence_number") if "sequence_number" in sent else event_rows.nothing(count),
        sent=stamps[coordinator],
        sources=sources,
        workers=tuple(run.worker_ids),
        present=tuple(run.workers),
        received=received,
        duplicates={node_id: len(rows.frame) - int(rows.there.sum()) for node_id, rows in aligned.items()},
        stamps=stamps,
        own_sends=own,
        raw_stamps=raw_stamps,
        raw_sends={worker: _raw_sends(rows, raw_stamps[coordinator]) for worker, rows in own_rows.items()},
        rows=aligned,
        facts=holding,
        begins_at=begins_at,
        _true={node_id: _true(run, node_id, of) for node_id, of in stamps.items()},
        _true_sends={worker: _true(run, coordinator, of) for worker, of in own.items()},
        _receive=receive,
        _send=send,
    )


def _said(
    nodes: Sequence[str], rows: Mapping[str, Rows], prefixes: Sequence[str]
) -> tuple[dict[tuple[str, str], frozenset[str]], dict[tuple[str, str], frozenset[float]]]:
    """Return every kind and every level that sources claim of their intervals, by (node, source)."""
    kinds = {(node_id, records.SYSTEM): frozenset({POINT}) for node_id in nodes}
    levels: dict[tuple[str, str], frozenset[float]] = {key: frozenset() for key in kinds}
    for node_id, of_node in rows.items():
        for prefix in prefixes:
            if f"{prefix}_status" in of_node:
                key = node_id, load.source_name(prefix)
                kinds[key] = frozenset(map(str, of_node.distinct(f"{prefix}_kind")))
                levels[key] = frozenset(map(float, of_node.distinct(f"{prefix}_level")))
    return kinds, levels


def tidy(data: Table) -> pd.DataFrame:
    """Return the long form: one row per (event, node, source), with ``true_ns`` where truth was injected."""
    blocks = []
    for node_id in (data.coordinator_id, *data.workers):
        true = data.truth(node_id)
        for source in data.sources:
            block = data.readings(node_id, source)
            frame = {
                "event_id": data.event_ids,
                "node_id": node_id,
                "source": source,
                "kind": block.kind,
                "status": block.status,
                "local_ns": data.stamps[node_id].nullable(),
                "est_ns": Instants(block.est, block.known).nullable(),
                "earliest_ns": Instants(block.earliest, block.bounded).nullable(),
                "latest_ns": Instants(block.latest, block.bounded).nullable(),
            }
            if true is not None:
                frame["true_ns"] = true.nullable()
            blocks.append(pd.DataFrame(frame))
    return pd.concat(blocks, ignore_index=True)


def _words(texts: Mapping[tuple[str, str], Text]) -> _Words:
    statuses = [text for (_, column), text in texts.items() if column.endswith("_status")]
    references = [text for (_, column), text in texts.items() if column.endswith("_reference")]
    ours = (records.OK, records.NOT_CONFIGURED, LOST, NO_DATA, NOT_SENT, NO_RAW_STAMP, NO_STATUS)
    return _Words(event_rows.shared(statuses, ours), event_rows.shared(references, ("", LOCAL)))


def _true(run: load.Run, node_id: str, stamps: Instants) -> Instants | None:
    """Return the true instants of a node's stamps; a stamp that a clock set back shows twice has none."""
    clock = truth.clock_of(run.manifest.nodes[node_id].virtual_clock)
    if clock is None:
        return None
    local = np.where(stamps.known, stamps.ns, np.int64(clock.epoch_ns))
    known = stamps.known & truth.told_apart(clock, local)
    return Instants(np.where(known, truth.true_from_wall(clock, local), 0), known)


def _raw_sends(rows: Rows, first: RawStamps) -> RawStamps:
    """Return the raw stamps of the transmits to a worker; of the first ones where it has none of its own."""
    own = rows.raw("send")
    return RawStamps(
        np.where(rows.there, own.ns, first.ns),
        np.where(rows.there, own.error_ns, first.error_ns),
        np.where(rows.there, own.known, first.known),
    )


def _readings(
    node_id: str,
    source: str,
    rows: Rows | None,
    stamps: Instants,
    missing: str,
    words: _Words,
    texts: Mapping[tuple[str, str], Text],
    begins_at: int,
) -> Readings:
    """Return one node's block of one source, whose claim is not known yet.

    ``missing`` is the status of events the node has no row of; ``begins_at``: the place of the first event in the run.
    """
    count = len(stamps.ns)
    none, unserved = np.zeros(count, dtype=np.bool_), np.full(count, -1)
    there = none if rows is None else rows.there
    if source == records.SYSTEM:
        status = Text(np.where(stamps.known, 0, -1), (records.OK,)).within(words.status, missing)
        numbers = (stamps.known, stamps.known, none, stamps.ns, stamps.ns, stamps.ns)
        served = np.where(stamps.known, begins_at + np.arange(count), -1)
        return Readings(node_id, source, UNSTATED, None, *numbers, status, words.all_of(LOCAL, count), served)
    prefix = records.COLUMN_PREFIX.get(source, source)
    if rows is None or f"{prefix}_status" not in rows:
        status = Text(np.where(there, 0, -1), (records.NOT_CONFIGURED,)).within(words.status, missing)
        empty = event_rows.nothing(count).ns
        numbers = (stamps.known, none, none, empty, empty, empty)
        return Readings(node_id, source, UNSTATED, None, *numbers, status, words.all_of("", count), unserved)
    est = rows.instants(f"{prefix}_timestamp_ns")
    low, high = rows.instants(f"{prefix}_lower_bound_ns"), rows.instants(f"{prefix}_upper_bound_ns")
    status = texts[node_id, f"{prefix}_status"].within(words.status, NO_STATUS)
    status[~there] = missing
    return Readings(
        node_id=node_id,
        source=source,
        kind=UNSTATED,
        level=None,
        stamped=stamps.known,
        known=est.known,
        bounded=est.known & low.known & high.known,
        est=est.ns,
        earliest=low.ns,
        latest=high.ns,
        status=status,
        reference=texts[node_id, f"{prefix}_reference"].within(words.reference, ""),
        sample=_served(rows, prefix),
    )


def _served(rows: Rows, prefix: str) -> Ints:
    """Return which sample served every event; where none is named (older formats), each new offset is a new one."""
    named = rows.text(f"{prefix}_sample_id").codes
    if (named >= 0).any() or f"{prefix}_offset_ms" not in rows:
        return named
    offset = rows.floats(f"{prefix}_offset_ms")
    there = np.flatnonzero(np.isfinite(offset))
    served = np.full(len(offset), -1)
    served[there] = np.cumsum(np.diff(offset[there], prepend=np.nan) != 0)
    return served


def _send_readings(
    run: load.Run,
    sources: tuple[str, ...],
    sent: Rows,
    own_rows: Mapping[str, Rows],
    stamps: Instants,
    receive: Mapping[tuple[str, str], Readings],
) -> tuple[dict[tuple[str, str], Readings], dict[str, Instants]]:
    """Carry the coordinator's readings from its earliest transmit stamp to each worker's own.

    The way is the raw oscillator's between the two stamps; the bound grows by its drift and, where the own stamp is
    less sure than the first, by the difference.
    """
    readings: dict[tuple[str, str], Readings] = {}
    own_sends: dict[str, Instants] = {}
    coordinator = run.manifest.coordinator_id
    for worker, rows in own_rows.items():
        own = rows.instants("send_time_ns")
        has_own = own.known & stamps.known
        own_sends[worker] = Instants(np.where(has_own, own.ns, stamps.ns), stamps.known)
        if not has_own.any():
            readings |= {(worker, source): receive[coordinator, source] for source in sources}
            continue
        raw, first_raw = rows.instants("send_raw_ns"), sent.instants("send_raw_ns")
        error, first_error = rows.instants("send_raw_error_ns"), sent.instants("send_raw_error_ns")
        both_raw = raw.known & first_raw.known
        shift = np.where(has_own & both_raw, raw.ns - first_raw.ns, 0)
        grown = np.where(shift == 0, 0, _drift_bound(shift, run, coordinator))
        grown = grown + np.where(has_own & both_raw, np.maximum(error.ns - first_error.ns, 0), 0)
        for source in sources:
            block = receive[coordinator, source]
            if source == records.SYSTEM:
                wall = own_sends[worker].ns
                readings[worker, source] = replace(block, est=wall, earliest=wall, latest=wall)
                continue
            carried = ~has_own | both_raw
            status = block.status.copy()
            status[~carried & block.known] = NO_RAW_STAMP
            readings[worker, source] = replace(
                block,
                known=block.known & carried,
                bounded=block.bounded & carried,
                est=block.est + shift,
                earliest=block.earliest + shift - grown,
                latest=block.latest + shift + grown,
                status=status,
            )
    return readings, own_sends


def _drift_bound(elapsed_ns: Ints, run: load.Run, node: str) -> Ints:
    """Return node_agent.clocks.holdover.drift_bound_ns for arrays (elapsed up to an hour)."""
    ppm = drift_limits.of_node(run, node)
    if ppm is None:
        where = f"{run.path / records.MANIFEST_FILE}: config.worker.clocks.{drift_limits.KEY}"
        raise AnalysisError(f"{where}: expected a number to carry send stamps by, got none")
    rate, per = drift_per_ns(ppm)
    bound: Ints = -(-np.abs(elapsed_ns) * rate // per)
    return bound
