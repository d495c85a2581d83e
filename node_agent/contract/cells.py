"""Rows and cells of the CSV files, each written in one place, for the agent and for who makes or replays such files."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from node_agent.contract.records import OK, PER_EVENT, SAMPLES_COLUMNS, SOURCE_FIELDS, Available, Reading, Sample, Stamp

_NO_NUMBERS: Final = "," * (len(SOURCE_FIELDS) - 1)


def sample_row(sample: Sample) -> str:
    """Return a sample as its line of samples.csv."""
    values = (getattr(sample, name) for name in SAMPLES_COLUMNS)
    return ",".join("" if value is None else cell(str(value)) for value in values)


def cell(text: str) -> str:
    """Return free text as one CSV cell (RFC 4180)."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def per_event_row(event_id: int, raw_ns: int, sample: Sample) -> str:
    """Return the row of commit_wait.csv that says what the query for one event said, and how long after its stamp."""
    took_s = (sample.raw_after_ns - raw_ns) / 1e9
    start = f"{event_id},{sample.source},{PER_EVENT},{raw_ns},{sample.raw_after_ns},{took_s:.9f}"
    if sample.outcome != OK:
        return f"{start},{sample.outcome},,,,{sample.sample_id},,,"
    offset_ms, sigma_ms = (sample.offset_ns or 0) / 1e6, (sample.sigma_ns or 0) / 1e6
    return f"{start},{OK},{offset_ms:.6f},{sigma_ms:.6f},{_ms(sample.asymmetry_ns)},{sample.sample_id},,,"


def reading_cells(reading: Reading, wall_ns: int) -> str:
    """Return one reading as its cells; ``wall_ns`` is the stamp's wall clock, which the offset is added to."""
    if not isinstance(reading, Available):
        return reading.reason + _NO_NUMBERS
    est_ns, earliest_ns, latest_ns, kind, level, reference, uncertainty_ns, age_ns, sample_id, asymmetry_ns, law = (
        reading
    )
    return "%s,%.6f,%.6f,%d,%d,%d,%s,%.3f,%s,%s,%s" % (  # noqa: UP031 - a quarter of the time of an f-string's format specs
        OK,
        (est_ns - wall_ns) / 1e6,
        uncertainty_ns / 1e6,
        est_ns,
        earliest_ns,
        latest_ns,
        _claim_cells(kind, level, reference),
        age_ns / 1e6,
        sample_id,
        _ms(asymmetry_ns),
        law,
    )


def remeasured_cells(reading: Reading, wall_ns: int) -> str:
    """Return the cells of commit_wait.csv from status to sample_id, of a reading at a stamp's wall clock."""
    if not isinstance(reading, Available):
        return f"{reading.reason},,,,"
    return f"{OK},{claim_cells(reading, wall_ns)}"


def claim_cells(reading: Available, wall_ns: int) -> str:
    """Return offset, uncertainty, asymmetry and sample of a reading at a wall clock, as cells of commit_wait.csv."""
    offset_ms, uncertainty_ms = (reading.est_ns - wall_ns) / 1e6, reading.uncertainty_ns / 1e6
    return f"{offset_ms:.6f},{uncertainty_ms:.6f},{_ms(reading.asymmetry_ns)},{reading.sample_id}"


def stamp_cells(stamp: Stamp) -> str:
    """Return a stamp as its cells of a row: wall clock, raw instant and its error, origin."""
    wall_ns, raw_ns, raw_error_ns, origin, _problem = stamp
    return f"{wall_ns},{'' if raw_ns is None else raw_ns},{raw_error_ns},{origin}"


def reading_row(reading_id: int, node_id: str, stamp: Stamp, source_cells: str) -> str:
    """Return a line of a watch's readings.csv: the instant of a user stamp, and what the sources say of it."""
    return f"{reading_id},{node_id},{stamp.wall_ns},{stamp.raw_ns},{stamp.raw_error_ns},{source_cells}"


def _ms(value_ns: int | None) -> str:
    return "" if value_ns is None else f"{value_ns / 1e6:.6f}"


@lru_cache(maxsize=64)  # a run has one claim per source
def _claim_cells(kind: str, level: float, reference: str) -> str:
    return f"{kind},{level:.6g},{reference}"
