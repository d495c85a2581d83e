"""What a node's rows say beside the readings, event by event: the age of the sample, the sample, the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.by_event import serving_samples
from analysis.by_event.event_rows import Text
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.arrays import Bools, Floats
    from analysis.by_event.event_rows import Rows


@dataclass(frozen=True)
class SourceRows:
    """Beside one source's readings: age and claims (NaN where there is none), the sample served, and the law."""

    age_ms: Floats
    claimed_ns: Floats
    asymmetry_ns: Floats
    sample: Text
    law: Text

    def laws(self, events: Bools) -> dict[str, int]:
        """Return how many readings of some events were held over by which law, of those that say so."""
        codes = self.law.codes[events]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.law.words))
        return {word: int(count) for word, count in sorted(zip(self.law.words, counts, strict=True)) if count}


def source_rows(rows: Rows, source: str) -> SourceRows:
    """Return what a node's rows say beside the readings of one source."""
    prefix = records.COLUMN_PREFIX.get(source, source)
    law, age_ms = f"{prefix}_law", _numbers(rows, f"{prefix}_age_ms")
    drift_limit = Text(np.where(np.isnan(age_ms), -1, 0), (records.DRIFT_LIMIT,))  # of earlier versions
    return SourceRows(
        age_ms=age_ms,
        claimed_ns=1e6 * _numbers(rows, f"{prefix}_uncertainty_ms"),
        asymmetry_ns=1e6 * _numbers(rows, f"{prefix}_asymmetry_ms"),
        sample=serving_samples.sample_ids(rows, source, len(rows.there)),
        law=rows.text(law) if law in rows else drift_limit,
    )


def _numbers(rows: Rows, column: str) -> Floats:
    return rows.floats(column) if column in rows else np.full(len(rows.there), np.nan)
