"""What a node's rows say beside the readings, event by event: the age of the sample, the sample, the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.run import serving_samples
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.arrays import Floats, Ints
    from analysis.run.event_rows import Instants, Rows, Text
    from analysis.run.readings import Readings

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class SourceRows:
    """Beside one source's readings: ``age_ms`` and ``claimed_ns`` (NaN where there is none), and the sample served."""

    age_ms: Floats
    claimed_ns: Floats
    sample: Text


def source_rows(rows: Rows, source: str) -> SourceRows:
    """Return what a node's rows say beside the readings of one source."""
    prefix = records.COLUMN_PREFIX.get(source, source)
    ids = serving_samples.sample_ids(rows, source, len(rows.there))
    return SourceRows(_numbers(rows, f"{prefix}_age_ms"), 1e6 * _numbers(rows, f"{prefix}_uncertainty_ms"), ids)


def served(readings: Readings, rows: SourceRows, stamps: Instants) -> Ints:
    """Return which sample served every event, -1 for none; of a clock without samples, the second of the stamp.

    A clock without samples is not measured anew at every event either.
    """
    return readings.sample if rows.sample.words else np.where(stamps.known, stamps.ns // SECOND_NS, -1)


def _numbers(rows: Rows, column: str) -> Floats:
    return rows.floats(column) if column in rows else np.full(len(rows.there), np.nan)
