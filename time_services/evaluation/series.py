"""Recorded series of NTP samples: the columns of the files, read strictly."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from time_services.listening import cause
from time_services.models import NtpSample

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMES = ("system_time", "timestamp")
OFFSETS = ("ntp_offset_ms", "ntp_ground_truth_offset_ms")
RAW_START_NS = 1_000_000_000_000
STAMPING_MS = 0.01  # reading two clocks in user space
LARGEST = 1e12  # of an instant in s, an offset or a delay in ms: 31,000 years, 31 years


class SeriesError(ValueError):
    """A file that is no series: which, what was expected, what was seen."""


@dataclass(frozen=True)
class Series:
    """The NTP samples of one node; its wall clock is taken for its oscillator, from the first sample on."""

    name: str
    samples: tuple[NtpSample, ...]


def read_series(path: Path, cadence_s: float = 0.0) -> Series:
    """Read a file; with ``cadence_s`` only samples at least so far apart. Raises SeriesError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            time = next((column for column in TIMES if column in columns), None)
            offset = next((column for column in OFFSETS if column in columns), None)
            delay = next((name for name in ("ntp_delay_ms", "ntp_time", "ntp_uncertainty_ms") if name in columns), None)
            if time is None or offset is None or delay is None:
                expected = "system_time or timestamp, ntp_offset_ms or ntp_ground_truth_offset_ms, and ntp_delay_ms, "
                expected += "ntp_time or ntp_uncertainty_ms"
                raise SeriesError(f"{path}: expected columns {expected}; got {', '.join(columns)[:200] or 'none'}")
            rows = [_row(path, reader.line_num, row, time, offset, delay) for row in reader if row[offset]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SeriesError(f"{path}: cannot be read as a CSV: {cause(error)}") from error
    if not rows:
        raise SeriesError(f"{path}: holds no NTP sample: every {offset} is empty")
    rows.sort(key=lambda row: row[0])
    samples = [
        NtpSample(
            server, RAW_START_NS + round((at_s - rows[0][0]) * 1e9), offset_ms, delay_ms, delay_ms / 2 + STAMPING_MS
        )
        for at_s, offset_ms, delay_ms, server in rows
    ]
    return Series(path.stem, thinned(samples, cadence_s))


def thinned(samples: Iterable[NtpSample], cadence_s: float) -> tuple[NtpSample, ...]:
    """Return the samples, in order of time, that are at least ``cadence_s`` apart, and never two of one instant."""
    kept: list[NtpSample] = []
    for sample in samples:
        if not kept or sample.raw_ns - kept[-1].raw_ns >= max(cadence_s * 1e9, 1):
            kept.append(sample)
    return tuple(kept)


def _row(
    path: Path, line: int, row: dict[str, str], time: str, offset: str, delay: str
) -> tuple[float, float, float, str]:
    try:
        at_s, offset_ms, value = float(row[time]), float(row[offset]), float(row[delay])
    except (TypeError, ValueError):
        given = {name: row[name] for name in (time, offset, delay)}
        raise SeriesError(f"{path}, line {line}: expected numbers, got {given}") from None
    if delay == "ntp_time":  # the answer's arrival on the reference's clock; the offset is known to half the delay
        value = 2 * ((value - at_s) * 1e3 - offset_ms)
    elif delay == "ntp_uncertainty_ms":
        value = 2 * value
    if not all(abs(number) <= LARGEST for number in (at_s, offset_ms, value)):
        raise SeriesError(f"{path}, line {line}: expected numbers up to {LARGEST:g}, got {at_s}, {offset_ms}, {value}")
    # a recorded name is a pool's: its machines change, and are one server to the node
    return at_s, offset_ms, max(value, 0.0), row.get("ntp_server") or ""
