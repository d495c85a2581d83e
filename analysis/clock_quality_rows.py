"""What a node's rows say beside the readings, aligned to the events of the run: oscillator, age, sample, sigma.

Everything is an array with one element per event, in event order; a row that is not there leaves its place empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import bootstrap
from analysis.readings import Instants
from node_agent import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.readings import Readings, Table

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class NodeRows:
    """One node's raw instants, and where its row of each event is (-1: there is none)."""

    frame: pd.DataFrame
    place: NDArray[np.intp]
    raw: Instants


@dataclass(frozen=True)
class SourceRows:
    """Beside one source's readings: ``age_ms`` and ``sigma_ns`` (NaN where there is none), and the sample served.

    ``sample`` indexes ``sample_ids``, -1 where there is none.
    """

    age_ms: NDArray[np.float64]
    claimed_ns: NDArray[np.float64]
    sample: NDArray[np.int64]
    sample_ids: NDArray[np.object_]


def node_rows(table: Table, node_id: str) -> NodeRows:
    """Align a node's rows with the events of the run; the first of duplicates counts."""
    is_coordinator = node_id == table.coordinator_id
    frame = table.run.coordinator if is_coordinator else table.run.workers[node_id]
    ids = frame["event_id"].to_numpy(dtype=np.int64)
    if len(ids) == len(table.event_ids) and np.array_equal(ids, table.event_ids):
        place = np.arange(len(ids))
    else:
        place = np.full(len(table.event_ids), -1, dtype=np.intp)
        known, first = np.unique(ids, return_index=True)
        place[np.searchsorted(table.event_ids, known)] = first
    name = "send_raw_ns" if is_coordinator else "receive_raw_ns"
    if name not in frame:
        zero = np.zeros(len(place), dtype=np.int64)
        return NodeRows(frame, place, Instants(zero, zero.astype(np.bool_)))
    column = frame[name]
    known_raw = np.asarray(column.notna())[place] & (place >= 0)
    raw = np.asarray(column.fillna(0).to_numpy(dtype=np.int64))[place]
    return NodeRows(frame, place, Instants(np.where(known_raw, raw, 0), known_raw))


def source_rows(rows: NodeRows, source: str) -> SourceRows:
    """Return what a node's rows say beside the readings of one source."""
    prefix = records.COLUMN_PREFIX.get(source, source)
    nothing = np.full(len(rows.place), np.nan)
    codes = np.full(len(rows.place), -1, dtype=np.int64)
    names: Any = np.zeros(0, dtype=object)
    if f"{prefix}_sample_id" in rows.frame:
        found, names = pd.factorize(rows.frame[f"{prefix}_sample_id"])
        codes = np.where(rows.place >= 0, found[rows.place], -1).astype(np.int64)
        names = np.asarray(names, dtype=object)
    return SourceRows(
        age_ms=_numbers(rows, f"{prefix}_age_ms", nothing),
        claimed_ns=1e6 * _numbers(rows, f"{prefix}_uncertainty_ms", nothing),
        sample=codes,
        sample_ids=names,
    )


def stretches(readings: Readings, rows: SourceRows, stamps: Instants) -> NDArray[np.int64]:
    """Return the stretches of events that stand or fall together: those served by one sample, else those of a second.

    A clock without samples is not measured anew at every event either.
    """
    return readings.stretch if len(rows.sample_ids) else bootstrap.stretches_of(stamps.ns // SECOND_NS)


def _numbers(rows: NodeRows, column: str, nothing: NDArray[np.float64]) -> NDArray[np.float64]:
    if column not in rows.frame:
        return nothing
    values = rows.frame[column].to_numpy(dtype=np.float64)
    return np.where(rows.place >= 0, values[rows.place], np.nan)
