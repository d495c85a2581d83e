"""The run as arrays: per node and source, one reading per event of the run, in event order, loss included.

This is the tidy form every verdict is computed from: `Table.readings` and `Table.sends` are its blocks, `tidy` is the
same as one long frame, one row per (event, node, source). A reading that is not there has a status that says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.by_event import event_rows
from analysis.by_event.event_rows import Instants, RawStamps, Rows, Text
from analysis.by_event.facts import NEVER, Asked, Facts
from analysis.by_event.lazily import Lazily
from analysis.by_event.table import (
    LOCAL,
    LOST,
    NO_DATA,
    NO_RAW_STAMP,
    NO_STATUS,
    NOT_SENT,
    POINT,
    SECOND_NS,
    UNSTATED,
    Readings,
    Table,
)
from analysis.by_event.utc import UTC_LABEL
from analysis.errors import AnalysisError
from analysis.run import drift_limits, load, truth
from node_agent.clocks.holdover import drift_per_ns
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from analysis.arrays import Bools, Ints

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
    frames = run.rows_by_node()
    named = {node_id: event_rows.event_ids(node_id, frame) for node_id, frame in frames.items()}
    events = event_rows.different(np.concatenate(list(named.values())))
    aligned = {node_id: event_rows.align(frame, named[node_id], events) for node_id, frame in frames.items()}
    made = _Made(run, events, aligned)
    received = {node_id: aligned[node_id].there for node_id in run.workers}
    coordinator, nodes = made.coordinator, (made.coordinator, *run.worker_ids)
    blocks = Lazily(((node_id, source) for node_id in nodes for source in made.sources), made.receive)
    holding = made.facts(blocks, received) if facts is None else facts
    receive = Lazily(blocks, lambda key: replace(blocks[key], **holding.claim(*key)._asdict()))
    return Table(
        run=run,
        event_ids=events,
        sequence=made.sequence,
        sent=made.stamps[coordinator],
        sources=made.sources,
        workers=tuple(run.worker_ids),
        present=tuple(run.workers),
        received=received,
        duplicates={node_id: len(rows.frame) - int(rows.there.sum()) for node_id, rows in aligned.items()},
        stamps=made.stamps,
        own_sends=Lazily(run.worker_ids, lambda worker: made.way(worker).own),
        raw_stamps=made.raw_stamps,
        raw_sends=Lazily(run.worker_ids, made.raw_sends),
        rows=aligned,
        facts=holding,
        begins_at=begins_at,
        _true=Lazily(nodes, lambda node_id: _true(run, node_id, made.stamps[node_id])),
        _true_sends=Lazily(run.worker_ids, lambda worker: _true(run, coordinator, made.way(worker).own)),
        _receive=receive,
        _send=Lazily(
            ((worker, source) for worker in run.worker_ids for source in made.sources),
            lambda key: made.way(key[0]).carry(receive[coordinator, key[1]]),
        ),
    )


class _Made:
    """What a table is made of, each when it is asked for: nothing of a file is read that nobody needs."""

    def __init__(self, run: load.Run, events: Ints, aligned: Mapping[str, Rows]) -> None:
        self._run, self._events, self._aligned = run, events, aligned
        self._prefixes = load.prefixes(rows.frame for rows in aligned.values())
        self._words = _words(aligned.values(), self._prefixes)
        self._ways: dict[str, _Way] = {}
        self.coordinator = run.manifest.coordinator_id
        self.sources = (records.SYSTEM, *(load.source_name(prefix) for prefix in self._prefixes))
        nodes = (self.coordinator, *run.worker_ids)
        self.stamps = Lazily(nodes, self._stamps)
        self.raw_stamps = Lazily(nodes, self._raw_stamps)

    @property
    def sequence(self) -> Instants:
        """Return the events' places in the sequence."""
        sent = self._aligned[self.coordinator]
        return sent.instants("sequence_number") if "sequence_number" in sent else event_rows.nothing(len(self._events))

    def _kind(self, node_id: str) -> str:
        return "send" if node_id == self.coordinator else "receive"

    def _stamps(self, node_id: str) -> Instants:
        rows = self._aligned.get(node_id)
        if rows is None:
            return event_rows.nothing(len(self._events))
        return rows.instants(f"{self._kind(node_id)}_time_ns")

    def _raw_stamps(self, node_id: str) -> RawStamps:
        rows = self._aligned.get(node_id)
        return event_rows.no_raw(len(self._events)) if rows is None else rows.raw(self._kind(node_id))

    def receive(self, key: tuple[str, str]) -> Readings:
        """Return one node's block of one source, whose claim is not known yet."""
        node_id, source = key
        rows = self._aligned.get(node_id)
        missing = NO_DATA if rows is None else NOT_SENT if node_id == self.coordinator else LOST
        return _readings(node_id, source, rows, self.stamps[node_id], missing, self._words)

    def raw_sends(self, worker: str) -> RawStamps:
        """Return the raw stamps of the transmits to a worker; of the first ones where it has none of its own."""
        first, rows = self.raw_stamps[self.coordinator], self.way(worker).rows
        own = rows.raw("send")
        return RawStamps(
            np.where(rows.there, own.ns, first.ns),
            np.where(rows.there, own.error_ns, first.error_ns),
            np.where(rows.there, own.known, first.known),
        )

    def way(self, worker: str) -> _Way:
        """Return the way from the coordinator's earliest transmit stamp to that of the send to one worker."""
        if not self._ways:
            rows = event_rows.sends_of(self._run.sends, self._run.worker_ids, self._events, stamped=True)
            sent = self._aligned[self.coordinator]
            stamps = self.stamps[self.coordinator]
            self._ways = {name: _Way(self._run, sent, of_worker, stamps) for name, of_worker in rows.items()}
        return self._ways[worker]

    def facts(self, blocks: Mapping[tuple[str, str], Readings], received: Mapping[str, Bools]) -> Facts:
        """Return what holds for these events, were they all of the run's."""
        kinds, levels = _said(tuple(self.stamps), self._aligned, self._prefixes)
        sent = self.stamps[self.coordinator]
        return Facts(
            heard=frozenset(worker for worker in self._run.workers if received[worker].any()),
            with_raw=frozenset(node_id for node_id, raw in self.raw_stamps.items() if raw.known.any()),
            known=frozenset(key for key, block in blocks.items() if block.known.any()),
            bounded=frozenset(key for key, block in blocks.items() if block.bounded.any()),
            to_utc=frozenset(key for key, block in blocks.items() if (block.reference == UTC_LABEL).any()),
            kinds=kinds,
            levels=levels,
            first_sent_ns=int(sent.ns[sent.known].min(initial=NEVER)),
            asked={
                key: Asked(int(block.stamped.sum()), block.statuses(block.stamped & ~block.known))
                for key, block in blocks.items()
            },
        )


class _Way:
    """From the coordinator's earliest transmit stamp of every event to the stamp of its send to one worker.

    The way is the raw oscillator's between the two stamps; the bound grows by its drift and, where the own stamp is
    less sure than the first, by the difference. ``rows`` are the worker's in sends.csv, ``own`` its stamps.
    """

    def __init__(self, run: load.Run, sent: Rows, rows: Rows, first: Instants) -> None:
        self._run, self._sent, self.rows = run, sent, rows
        own = rows.instants("send_time_ns")
        self._has_own = own.known & first.known
        self.own = Instants(np.where(self._has_own, own.ns, first.ns), first.known)

    @cached_property
    def _carried(self) -> tuple[Bools, Ints, Ints]:
        """Return which readings can be carried, by how much later, and by how much their bounds grow."""
        coordinator = self._run.manifest.coordinator_id
        raw, first_raw = self.rows.instants("send_raw_ns"), self._sent.instants("send_raw_ns")
        error, first_error = self.rows.instants("send_raw_error_ns"), self._sent.instants("send_raw_error_ns")
        both_raw = raw.known & first_raw.known
        shift = np.where(self._has_own & both_raw, raw.ns - first_raw.ns, 0)
        grown = np.where(shift == 0, 0, _drift_bound(shift, self._run, coordinator))
        grown = grown + np.where(self._has_own & both_raw, np.maximum(error.ns - first_error.ns, 0), 0)
        return ~self._has_own | both_raw, shift, grown

    def carry(self, block: Readings) -> Readings:
        """Return the coordinator's readings of one source as those of the sends to the worker."""
        if not self._has_own.any():
            return block
        if block.source == records.SYSTEM:
            return replace(block, est=self.own.ns, earliest=self.own.ns, latest=self.own.ns)
        carried, shift, grown = self._carried
        status = block.status.copy()
        status[~carried & block.known] = NO_RAW_STAMP
        return replace(
            block,
            known=block.known & carried,
            bounded=block.bounded & carried,
            est=block.est + shift,
            earliest=block.earliest + shift - grown,
            latest=block.latest + shift + grown,
            status=status,
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


def _words(rows: Iterable[Rows], prefixes: Sequence[str]) -> _Words:
    """Return the words of all statuses, and of all references."""
    texts: dict[str, list[Sequence[str]]] = {"status": [], "reference": []}
    for of_node in rows:
        for prefix in prefixes:
            if f"{prefix}_status" in of_node:
                for name, words in texts.items():
                    words.append(of_node.words(f"{prefix}_{name}"))
    ours = (records.OK, records.NOT_CONFIGURED, LOST, NO_DATA, NOT_SENT, NO_RAW_STAMP, NO_STATUS)
    return _Words(event_rows.shared(texts["status"], ours), event_rows.shared(texts["reference"], ("", LOCAL)))


def _true(run: load.Run, node_id: str, stamps: Instants) -> Instants | None:
    """Return the true instants of a node's stamps; a stamp that a clock set back shows twice has none."""
    clock = truth.clock_of(run.manifest.nodes[node_id].virtual_clock)
    if clock is None:
        return None
    local = np.where(stamps.known, stamps.ns, np.int64(clock.epoch_ns))
    known = stamps.known & truth.told_apart(clock, local)
    return Instants(np.where(known, truth.true_from_wall(clock, local), 0), known)


def _readings(
    node_id: str,
    source: str,
    rows: Rows | None,
    stamps: Instants,
    missing: str,
    words: _Words,
) -> Readings:
    """Return one node's block of one source, whose claim is not known yet.

    ``missing`` is the status of events the node has no row of.
    """
    count = len(stamps.ns)
    none, unserved = np.zeros(count, dtype=np.bool_), np.full(count, -1)
    there = none if rows is None else rows.there
    if source == records.SYSTEM:
        status = Text(np.where(stamps.known, 0, -1), (records.OK,)).within(words.status, missing)
        numbers = (stamps.known, stamps.known, none, stamps.ns, stamps.ns, stamps.ns)
        served = np.where(stamps.known, stamps.ns // SECOND_NS, -1)
        return Readings(node_id, source, UNSTATED, None, *numbers, status, words.all_of(LOCAL, count), served)
    prefix = records.COLUMN_PREFIX.get(source, source)
    if rows is None or f"{prefix}_status" not in rows:
        status = Text(np.where(there, 0, -1), (records.NOT_CONFIGURED,)).within(words.status, missing)
        empty = event_rows.nothing(count).ns
        numbers = (stamps.known, none, none, empty, empty, empty)
        return Readings(node_id, source, UNSTATED, None, *numbers, status, words.all_of("", count), unserved)
    est = rows.instants(f"{prefix}_timestamp_ns")
    low, high = rows.instants(f"{prefix}_lower_bound_ns"), rows.instants(f"{prefix}_upper_bound_ns")
    status = rows.text(f"{prefix}_status").within(words.status, NO_STATUS)
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
        reference=rows.text(f"{prefix}_reference").within(words.reference, ""),
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


def _drift_bound(elapsed_ns: Ints, run: load.Run, node: str) -> Ints:
    """Return node_agent.clocks.holdover.drift_bound_ns for arrays (elapsed up to an hour)."""
    ppm = drift_limits.of_node(run, node)
    if ppm is None:
        where = f"{run.path / records.MANIFEST_FILE}: config.worker.clocks.{drift_limits.KEY}"
        raise AnalysisError(f"{where}: expected a number to carry send stamps by, got none")
    rate, per = drift_per_ns(ppm)
    bound: Ints = -(-np.abs(elapsed_ns) * rate // per)
    return bound
