"""What a node's rows say beside the readings, event by event: the age of the sample, the sample, the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.run import event_rows
from node_agent.contract import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.run.event_rows import Instants, Rows, Text
    from analysis.run.readings import Readings, Table

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class SourceRows:
    """Beside one source's readings: age and claims (NaN where there is none), the sample served, and the law."""

    age_ms: NDArray[np.float64]
    claimed_ns: NDArray[np.float64]
    asymmetry_ns: NDArray[np.float64]
    sample: Text
    law: Text

    def laws(self, events: NDArray[np.bool_]) -> dict[str, int]:
        """Return how many readings of some events were held over by which law, of those that say so."""
        codes = self.law.codes[events]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.law.words))
        return {word: int(count) for word, count in sorted(zip(self.law.words, counts, strict=True)) if count}


def node_rows(table: Table, node_id: str) -> Rows:
    """Align a node's rows with the events of the run; the first of duplicates counts."""
    frame = table.run.coordinator if node_id == table.coordinator_id else table.run.workers[node_id]
    return event_rows.align(frame, event_rows.event_ids(node_id, frame), table.event_ids)


def source_rows(rows: Rows, source: str) -> SourceRows:
    """Return what a node's rows say beside the readings of one source."""
    prefix = records.COLUMN_PREFIX.get(source, source)
    name, law, age_ms = f"{prefix}_sample_id", f"{prefix}_law", _numbers(rows, f"{prefix}_age_ms")
    drift_limit = event_rows.Text(np.where(np.isnan(age_ms), -1, 0), (records.DRIFT_LIMIT,))  # of earlier versions
    return SourceRows(
        age_ms=age_ms,
        claimed_ns=1e6 * _numbers(rows, f"{prefix}_uncertainty_ms"),
        asymmetry_ns=1e6 * _numbers(rows, f"{prefix}_asymmetry_ms"),
        sample=rows.text(name) if name in rows else event_rows.Text(np.full(len(rows.there), -1), ()),
        law=rows.text(law) if law in rows else drift_limit,
    )


def served(readings: Readings, rows: SourceRows, stamps: Instants) -> NDArray[np.int64]:
    """Return which sample served every event, -1 for none; of a clock without samples, the second of the stamp.

    A clock without samples is not measured anew at every event either.
    """
    return readings.sample if rows.sample.words else np.where(stamps.known, stamps.ns // SECOND_NS, -1)


def _numbers(rows: Rows, column: str) -> NDArray[np.float64]:
    if column not in rows or not len(rows.frame):
        return np.full(len(rows.there), np.nan)
    values: NDArray[np.float64] = rows.frame[column].to_numpy(dtype=np.float64)
    return values if rows.place is None else np.where(rows.there, values[rows.place], np.nan)
