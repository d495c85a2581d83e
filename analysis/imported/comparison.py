"""The published comparison of an imported run, reproduced and labelled, beside the one of like with like.

What was published compares a worker's ChronoTick time (corrected) with the coordinator's send time (uncorrected): two
clocks, so it says how the two differ and nothing about causality. Like with like means the same source at both ends.
Instants are compared as 64-bit integers; nothing is dropped without being counted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analysis.clocks import offset_levels
from analysis.run.stored import in_memory
from analysis.tables import Grid
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.run.load import Run

MIXED: Final = "mixes a corrected clock (worker) with an uncorrected one (coordinator): says nothing about causality"
LIKE_WITH_LIKE: Final = "like with like: the same source at both ends"
NO_SENDS: Final = "not evaluable: no such reading at the coordinator"
NO_READINGS: Final = "not evaluable: no event has both readings"
NOT_MATCHED: Final = "rows of no event in the coordinator's file are counted apart"


@dataclass(frozen=True)
class Count:
    """``hits`` of ``of`` comparable events, or the reason why nothing was comparable. ``label`` says what it means."""

    hits: int | None
    of: int
    label: str

    @property
    def text(self) -> str:
        """Return "122 of 2,995", or the reason why not."""
        return self.label if self.hits is None else f"{self.hits:,} of {self.of:,}"


@dataclass(frozen=True)
class WorkerComparison:
    """One worker's part of the published comparison. Offsets in ms, shares between 0 and 1, None: nothing to judge."""

    node_id: str
    sent: int
    received: int
    unmatched: int
    system: Count
    chronotick_against_uncorrected: Count
    violating_offset_min_ms: float | None
    violating_offset_max_ms: float | None
    violating_at_clamp: int
    ntp: Count
    chronotick: Count
    mean_abs_difference_ms: float | None
    within_uncertainty: int
    differences: int
    payload_lead_min_ns: int | None
    payload_lead_max_ns: int | None

    @property
    def within_share(self) -> float | None:
        """Return the share of events whose two offsets differ by no more than 1 x ct_uncertainty_ms."""
        return self.within_uncertainty / self.differences if self.differences else None


@dataclass(frozen=True)
class PublishedComparison:
    """The published comparison over all workers that left data."""

    workers: tuple[WorkerComparison, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data for statistics/."""
        return {
            "labels": {
                "system": LIKE_WITH_LIKE,
                "chronotick_against_uncorrected": MIXED,
                "ntp": LIKE_WITH_LIKE,
                "unmatched": NOT_MATCHED,
            },
            "workers": {
                worker.node_id: asdict(worker) | {"within_uncertainty_share": worker.within_share}
                for worker in self.workers
            },
        }


def _span(least: float | None, most: float | None, form: str, unit: str = "") -> str:
    return "none" if least is None or most is None else f"{least:{form}} … {most:{form}}{unit}"


def _lead(worker: WorkerComparison) -> str:
    ends_ns = (worker.payload_lead_min_ns, worker.payload_lead_max_ns)
    least_us, most_us = (None if ns is None else ns / 1000 for ns in ends_ns)
    return _span(least_us, most_us, ".0f", " us")


def _difference(worker: WorkerComparison) -> str:
    mean_ms = worker.mean_abs_difference_ms
    return "not evaluable" if mean_ms is None else f"{mean_ms:.2f} ms"


def _share(worker: WorkerComparison) -> str:
    counts = f"({worker.within_uncertainty:,} of {worker.differences:,})"
    return "not evaluable" if worker.within_share is None else f"{100 * worker.within_share:.2f} % {counts}"


FIGURES: Final[tuple[tuple[str, Callable[[WorkerComparison], str], str], ...]] = (
    ("events received", lambda w: f"{w.received:,} of {w.sent:,}", "of those sent"),
    ("system clock: receive before send", lambda w: w.system.text, LIKE_WITH_LIKE),
    ('"ChronoTick violations" as published', lambda w: w.chronotick_against_uncorrected.text, f"**{MIXED}**"),
    (
        "ChronoTick offset in those events",
        lambda w: _span(w.violating_offset_min_ms, w.violating_offset_max_ms, ".3f"),
        "ms, smallest … largest",
    ),
    (
        "of those, offset held at a clamp",
        lambda w: f"{w.violating_at_clamp:,}",
        "the offset is on such a limit, or within 2 us of it",
    ),
    ("ChronoTick receive before ChronoTick send", lambda w: w.chronotick.text, "like with like"),
    ("NTP receive before NTP send", lambda w: w.ntp.text, LIKE_WITH_LIKE),
    (
        "mean |ChronoTick offset minus NTP offset|",
        _difference,
        "two sources of one clock differ; which of them is right is not evaluable without a reference",
    ),
    ("events with that difference within ± ct_uncertainty", _share, "± 1 · ct_uncertainty_ms, as published"),
    (
        "payload's send stamp before the logged one",
        _lead,
        "smallest … largest; the comparisons above use the logged one, as published",
    ),
)
NOTE: Final = (
    "Rows are matched by `event_id`; instants are compared as they are stored, in integer nanoseconds. NTP is taken as "
    "a point: the older format states no bound that could be defended, and how its offset was computed is not in it."
)


def compare(run: Run) -> PublishedComparison:
    """Return the published comparison of a run; every event of a worker is matched by ``event_id``."""
    sends = in_memory(run.coordinator).drop_duplicates("event_id")
    workers = (_worker(node_id, in_memory(frame), sends) for node_id, frame in run.workers.items())
    return PublishedComparison(tuple(workers))


def comparison(run: Run) -> dict[str, Any] | None:
    """Return the published comparison as JSON-serialisable data, or None for a run that was not imported."""
    return None if run.manifest.imported is None else compare(run).as_dict()


def comparison_parts(run: Run) -> list[Grid | str]:
    """Return the report's section on the published comparison: a table, and notes; nothing for a run of our own."""
    if run.manifest.imported is None:
        return []
    workers = compare(run).workers
    head = ("figure", *(worker.node_id for worker in workers), "what it is")
    rows = [(name, *(cell(worker) for worker in workers), meaning) for name, cell, meaning in FIGURES]
    parts: list[Grid | str] = [Grid.of(head, rows), NOTE]
    unmatched = [f"{worker.node_id}: {worker.unmatched:,}" for worker in workers if worker.unmatched]
    if unmatched:
        parts.append(f"Rows of events the coordinator's file does not have, left out above: {', '.join(unmatched)}.")
    return parts


def _worker(node_id: str, frame: pd.DataFrame, sends: pd.DataFrame) -> WorkerComparison:
    received = frame.drop_duplicates("event_id")
    rows = received.merge(sends, on="event_id", how="inner", suffixes=("", "_sent"), validate="one_to_one")
    sent = rows["send_time_ns"]
    mixed, early = _before(rows, "ct_timestamp_ns", sent, MIXED)
    all_offsets = rows["ct_offset_ms"].dropna() if "ct_offset_ms" in rows else pd.Series(dtype="float64")
    offsets = rows.loc[early, "ct_offset_ms"].dropna() if "ct_offset_ms" in rows else all_offsets
    differences, within = _differences(rows)
    leads = (sent - rows["coordinator_send_time_ns"]).dropna() if "coordinator_send_time_ns" in rows else sent[:0]
    return WorkerComparison(
        node_id=node_id,
        sent=len(sends),
        received=len(received),
        unmatched=len(received) - len(rows),
        system=_before(rows, "receive_time_ns", sent, LIKE_WITH_LIKE)[0],
        chronotick_against_uncorrected=mixed,
        violating_offset_min_ms=None if offsets.empty else float(offsets.min()),
        violating_offset_max_ms=None if offsets.empty else float(offsets.max()),
        violating_at_clamp=_at_clamp(offsets, all_offsets),
        ntp=_same_source(rows, records.COLUMN_PREFIX[records.NTP]),
        chronotick=_same_source(rows, records.COLUMN_PREFIX[records.CHRONOTICK]),
        mean_abs_difference_ms=math.fsum(differences) / len(differences) if len(differences) else None,
        within_uncertainty=within,
        differences=len(differences),
        payload_lead_min_ns=None if leads.empty else int(leads.min()),
        payload_lead_max_ns=None if leads.empty else int(leads.max()),
    )


def _before(rows: pd.DataFrame, column: str, sent: pd.Series[Any], label: str) -> tuple[Count, np.ndarray[Any, Any]]:
    """Count the rows whose ``column`` is before ``sent``, among those that have both; also return which they are."""
    if column not in rows:
        return Count(None, 0, NO_READINGS), np.zeros(len(rows), dtype=np.bool_)
    both = (rows[column].notna() & sent.notna()).to_numpy(dtype=np.bool_)
    early = (rows[column] < sent).fillna(value=False).to_numpy(dtype=np.bool_)
    if not both.any():
        return Count(None, 0, NO_READINGS), early
    return Count(int(early.sum()), int(both.sum()), label), early


def _same_source(rows: pd.DataFrame, prefix: str) -> Count:
    column = f"{prefix}_timestamp_ns"
    if f"{column}_sent" not in rows or rows[f"{column}_sent"].isna().all():
        return Count(None, 0, NO_SENDS)
    return _before(rows, column, rows[f"{column}_sent"], LIKE_WITH_LIKE)[0]


def _differences(rows: pd.DataFrame) -> tuple[list[float], int]:
    """Return |ct offset - ntp offset| in ms where both are known, and how many are within 1 x ct_uncertainty_ms."""
    needed = ["ct_offset_ms", "ntp_offset_ms", "ct_uncertainty_ms"]
    if any(column not in rows for column in needed):
        return [], 0
    known = rows[needed].dropna()
    apart = (known["ct_offset_ms"] - known["ntp_offset_ms"]).abs()
    return [float(value) for value in apart], int((apart <= known["ct_uncertainty_ms"]).sum())


def _at_clamp(offsets: pd.Series[Any], all_offsets: pd.Series[Any]) -> int:
    """Count the offsets that lie on a limit the source is held at, or within 2 us of it."""
    limits = [clamp.limit for clamp in offset_levels.clamps(all_offsets.to_numpy(dtype=np.float64))]
    return sum(any(abs(abs(value) - limit) <= offset_levels.NEAR_MS for limit in limits) for value in offsets)
