"""The run as arrays: per node and source, one reading per event of the run, in event order, loss included.

This is the tidy form every verdict is computed from: `Table.readings` and `Table.sends` are its blocks, `tidy` is the
same as one long frame, one row per (event, node, source). A reading that is not there has a status that says why.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analysis import bootstrap, load, truth
from analysis.errors import AnalysisError
from node_agent import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Statuses the analysis adds to the agents' own; each says why there is no reading.
LOST: Final = "lost"
NO_DATA: Final = "no_data"
NOT_SENT: Final = "not_in_coordinator_csv"
NO_RAW_STAMP: Final = "no_raw_stamp"

POINT: Final = "point"
UNSTATED: Final = "unstated"


@dataclass(frozen=True)
class Instants:
    """Instants in ns, with a mask of those that are known; ``ns`` is 0 elsewhere and means nothing there."""

    ns: NDArray[np.int64]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class RawStamps:
    """Raw-oscillator stamps in ns, each within ``error_ns`` of its instant, with a mask of those that are known."""

    ns: NDArray[np.int64]
    error_ns: NDArray[np.int64]
    known: NDArray[np.bool_]

    def take(self, positions: NDArray[np.int64]) -> RawStamps:
        """Return the stamps of some events, in the order given."""
        return RawStamps(self.ns[positions], self.error_ns[positions], self.known[positions])


@dataclass(frozen=True)
class Readings:
    """What one source says on one node, event by event.

    ``stamped``: the node has a stamp of the event. ``known``: there is a best estimate ``est``. ``bounded``: there is
    an interval [``earliest``, ``latest``]. Numbers are 0 where the mask says no. A point clock is never bounded.
    ``stretch`` numbers the runs of consecutive events served by one clock sample; without samples each is its own.
    """

    node_id: str
    source: str
    kind: str
    level: float | None
    stamped: NDArray[np.bool_]
    known: NDArray[np.bool_]
    bounded: NDArray[np.bool_]
    est: NDArray[np.int64]
    earliest: NDArray[np.int64]
    latest: NDArray[np.int64]
    status: NDArray[np.object_]
    reference: NDArray[np.object_]
    stretch: NDArray[np.int64]

    def take(self, positions: NDArray[np.int64]) -> Readings:
        """Return the readings of some events, in the order given."""
        chosen: dict[str, Any] = {
            spec.name: array[positions]
            for spec in fields(self)
            if isinstance(array := getattr(self, spec.name), np.ndarray)
        }
        return replace(self, **chosen)


@dataclass(frozen=True)
class Table:
    """All readings of a run. ``workers`` are all configured workers; ``present`` those that left data."""

    run: load.Run
    event_ids: NDArray[np.int64]
    sequence: Instants
    sent: Instants
    sources: tuple[str, ...]
    workers: tuple[str, ...]
    present: tuple[str, ...]
    received: Mapping[str, NDArray[np.bool_]]
    duplicates: Mapping[str, int]
    stamps: Mapping[str, Instants]
    own_sends: Mapping[str, Instants]
    raw_stamps: Mapping[str, RawStamps]  # by node: of the receipts, at the coordinator of the first transmits
    raw_sends: Mapping[str, RawStamps]  # by worker: of the transmits to it, like own_sends
    _receive: Mapping[tuple[str, str], Readings]
    _send: Mapping[tuple[str, str], Readings]

    @property
    def coordinator_id(self) -> str:
        """Return the coordinator's node id."""
        return self.run.manifest.coordinator_id

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the coordinator and the workers that left data."""
        return (self.coordinator_id, *self.present)

    @property
    def heard(self) -> tuple[str, ...]:
        """Return the workers that left at least one row: whoever is silent can neither agree nor disagree."""
        return tuple(worker for worker in self.present if self.received[worker].any())

    @property
    def silent(self) -> tuple[str, ...]:
        """Return the configured workers without any row."""
        return tuple(worker for worker in self.workers if worker not in self.heard)

    def readings(self, node_id: str, source: str) -> Readings:
        """Return a node's readings: a worker's of its receipts, the coordinator's of its earliest transmit stamps."""
        return self._receive[node_id, source]

    def sends(self, worker: str, source: str) -> Readings:
        """Return the coordinator's readings of the sends to one worker (its own transmit stamp where there is one)."""
        return self._send[worker, source]

    def truth(self, node_id: str) -> Instants | None:
        """Return the true instants of a node's stamps, or None where no truth was injected.

        A stamp that a clock set back shows twice has none.
        """
        return self._true(node_id, self.stamps[node_id])

    def true_sends(self, worker: str) -> Instants | None:
        """Return the true instants of the sends to one worker, or None where no truth was injected."""
        return self._true(self.coordinator_id, self.own_sends[worker])

    def _true(self, node_id: str, stamps: Instants) -> Instants | None:
        clock = truth.clock_of(self.run.manifest.nodes[node_id].virtual_clock)
        if clock is None:
            return None
        local = np.where(stamps.known, stamps.ns, np.int64(clock.epoch_ns))
        known = stamps.known & truth.told_apart(clock, local)
        return Instants(np.where(known, truth.true_from_wall(clock, local), 0), known)


def table(run: load.Run) -> Table:
    """Align all nodes of a run on the union of their events, sorted by event id. The first of duplicates counts."""
    frames = {run.manifest.coordinator_id: run.coordinator, **run.workers}
    unique = {node_id: _first_copies(node_id, frame) for node_id, frame in frames.items()}
    ids = np.unique(np.concatenate([_int64(frame["event_id"]).ns for frame in unique.values()]))
    events = pd.Index(ids, name="event_id")
    aligned = {node_id: frame.set_index("event_id").reindex(events) for node_id, frame in unique.items()}
    coordinator = run.manifest.coordinator_id
    there = {node_id: np.isin(ids, _int64(frame["event_id"]).ns) for node_id, frame in unique.items()}
    sources = (records.SYSTEM, *(load.source_name(prefix) for prefix in load.prefixes(frames.values())))

    receive: dict[tuple[str, str], Readings] = {}
    stamps: dict[str, Instants] = {}
    raw_stamps: dict[str, RawStamps] = {}
    for node_id in (coordinator, *run.worker_ids):
        column = "send_time_ns" if node_id == coordinator else "receive_time_ns"
        frame = aligned.get(node_id)
        stamps[node_id] = _nothing(len(ids)) if frame is None else _int64(frame[column])
        raw_stamps[node_id] = _raw(frame, "send" if node_id == coordinator else "receive", len(ids))
        missing = NO_DATA if frame is None else NOT_SENT if node_id == coordinator else LOST
        for source in sources:
            receive[node_id, source] = _readings(node_id, source, frame, stamps[node_id], there.get(node_id), missing)
    sent = aligned[coordinator]
    send, own = _send_readings(run, sources, sent, stamps[coordinator], receive)
    return Table(
        run=run,
        event_ids=ids,
        sequence=_int64(sent["sequence_number"]) if "sequence_number" in sent else _nothing(len(ids)),
        sent=stamps[coordinator],
        sources=sources,
        workers=tuple(run.worker_ids),
        present=tuple(run.workers),
        received={node_id: there[node_id] for node_id in run.workers},
        duplicates={node_id: len(frames[node_id]) - len(unique[node_id]) for node_id in frames},
        stamps=stamps,
        own_sends=own,
        raw_stamps=raw_stamps,
        raw_sends=_raw_sends(run, sent, raw_stamps[coordinator]),
        _receive=receive,
        _send=send,
    )


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
                "local_ns": _masked(data.stamps[node_id].ns, data.stamps[node_id].known),
                "est_ns": _masked(block.est, block.known),
                "earliest_ns": _masked(block.earliest, block.bounded),
                "latest_ns": _masked(block.latest, block.bounded),
            }
            if true is not None:
                frame["true_ns"] = _masked(true.ns, true.known)
            blocks.append(pd.DataFrame(frame))
    return pd.concat(blocks, ignore_index=True)


def _masked(values: NDArray[np.int64], known: NDArray[np.bool_]) -> Any:
    return pd.array(values, dtype="Int64").copy() if known.all() else pd.arrays.IntegerArray(values.copy(), ~known)


def _first_copies(node_id: str, frame: pd.DataFrame) -> pd.DataFrame:
    if frame["event_id"].isna().any():
        raise AnalysisError(f"{node_id}: expected an event_id in every row, got an empty cell; collect the run again")
    return frame.drop_duplicates("event_id", keep="first")


def _int64(column: pd.Series[Any]) -> Instants:
    array = column.array
    known = ~np.asarray(array.isna())
    return Instants(np.asarray(column.fillna(0).to_numpy(dtype=np.int64)), known)


def _nothing(count: int) -> Instants:
    return Instants(np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_))


def _raw(frame: pd.DataFrame | None, prefix: str, count: int) -> RawStamps:
    """Return the raw stamps of aligned rows; without its error a raw stamp is of no use and not known."""
    if frame is None or f"{prefix}_raw_ns" not in frame or f"{prefix}_raw_error_ns" not in frame:
        nothing = _nothing(count)
        return RawStamps(nothing.ns, nothing.ns, nothing.known)
    raw, error = _int64(frame[f"{prefix}_raw_ns"]), _int64(frame[f"{prefix}_raw_error_ns"])
    return RawStamps(raw.ns, error.ns, raw.known & error.known)


def _raw_sends(run: load.Run, sent: pd.DataFrame, first: RawStamps) -> dict[str, RawStamps]:
    """Return, per worker, the raw stamps of its own transmits; of the first ones where it has none of its own."""
    rows = run.sends.dropna(subset=["event_id", "send_time_ns"]).drop_duplicates(["event_id", "worker_id"])
    found: dict[str, RawStamps] = {}
    for worker in run.worker_ids:
        frame = rows[rows["worker_id"] == worker].set_index("event_id").reindex(sent.index)
        has_own = _int64(frame["send_time_ns"]).known
        own = _raw(frame, "send", len(sent))
        found[worker] = RawStamps(
            np.where(has_own, own.ns, first.ns),
            np.where(has_own, own.error_ns, first.error_ns),
            np.where(has_own, own.known, first.known),
        )
    return found


def _readings(
    node_id: str,
    source: str,
    frame: pd.DataFrame | None,
    stamps: Instants,
    there: NDArray[np.bool_] | None,
    missing: str,
) -> Readings:
    """Return one node's block of one source; ``missing`` is the status of events the node has no row of."""
    count = len(stamps.ns)
    alone = np.arange(count)
    if source == records.SYSTEM:
        status = np.where(stamps.known, records.OK, missing).astype(object)
        local = np.full(count, "local", dtype=object)
        none = np.zeros(count, dtype=np.bool_)
        masks = (stamps.known, stamps.known, none)
        return Readings(node_id, source, POINT, None, *masks, stamps.ns, stamps.ns, stamps.ns, status, local, alone)
    prefix = records.COLUMN_PREFIX.get(source, source)
    if frame is None or there is None or f"{prefix}_status" not in frame:
        status = np.full(count, missing if there is None else records.NOT_CONFIGURED, dtype=object)
        if there is not None:
            status[~there] = missing
        empty, no = _nothing(count), np.zeros(count, dtype=np.bool_)
        blank = np.full(count, "", dtype=object)
        numbers = (empty.ns, empty.ns, empty.ns)
        return Readings(node_id, source, UNSTATED, None, stamps.known, no, no, *numbers, status, blank, alone)
    est = _int64(frame[f"{prefix}_timestamp_ns"])
    low, high = _int64(frame[f"{prefix}_lower_bound_ns"]), _int64(frame[f"{prefix}_upper_bound_ns"])
    status = frame[f"{prefix}_status"].fillna("no_status").to_numpy(dtype=object)
    status[~there] = missing
    kinds = frame[f"{prefix}_kind"].dropna().unique()
    levels = pd.to_numeric(frame[f"{prefix}_level"]).dropna().unique()
    return Readings(
        node_id=node_id,
        source=source,
        kind=str(kinds[0]) if len(kinds) == 1 else UNSTATED if len(kinds) == 0 else "mixed",
        level=float(levels[0]) if len(levels) == 1 else None,
        stamped=stamps.known,
        known=est.known,
        bounded=est.known & low.known & high.known,
        est=est.ns,
        earliest=low.ns,
        latest=high.ns,
        status=status,
        reference=frame[f"{prefix}_reference"].fillna("").to_numpy(dtype=object),
        stretch=bootstrap.stretches_of(pd.factorize(frame[f"{prefix}_sample_id"])[0]),
    )


def _send_readings(
    run: load.Run,
    sources: tuple[str, ...],
    sent: pd.DataFrame,
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
    rows = run.sends.dropna(subset=["event_id", "send_time_ns"]).drop_duplicates(["event_id", "worker_id"])
    for worker in run.worker_ids:
        frame = rows[rows["worker_id"] == worker].set_index("event_id").reindex(sent.index)
        own = _int64(frame["send_time_ns"])
        has_own = own.known & stamps.known
        own_sends[worker] = Instants(np.where(has_own, own.ns, stamps.ns), stamps.known)
        if not has_own.any():
            readings |= {(worker, source): receive[coordinator, source] for source in sources}
            continue
        raw, first_raw = _int64(frame["send_raw_ns"]), _int64(sent["send_raw_ns"])
        error, first_error = _int64(frame["send_raw_error_ns"]), _int64(sent["send_raw_error_ns"])
        both_raw = raw.known & first_raw.known
        shift = np.where(has_own & both_raw, raw.ns - first_raw.ns, 0)
        grown = np.where(shift == 0, 0, _drift_bound(shift, run))
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


def _drift_bound(elapsed_ns: NDArray[np.int64], run: load.Run) -> NDArray[np.int64]:
    """Return node_agent.clocks.base.drift_bound_ns for arrays (elapsed up to a day)."""
    try:
        ppm = float(run.manifest.config["worker"]["clocks"]["max_drift_ppm"])
    except (KeyError, TypeError) as error:
        where = f"{run.path / records.MANIFEST_FILE}: config.worker.clocks.max_drift_ppm"
        raise AnalysisError(f"{where}: expected a number to carry send stamps by, got none") from error
    ppb = -(-int(ppm * 1_000_000) // 1_000)
    bound: NDArray[np.int64] = -(-np.abs(elapsed_ns) * ppb // (1_000_000_000 - ppb))
    return bound
