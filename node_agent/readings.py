"""From a stamp to its cells: every source's reading of one stamp, as the source columns of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node_agent.clocks.base import evaluate
from node_agent.records import COLUMN_PREFIX, NOT_CONFIGURED, OK, SOURCE_FIELDS, Available, Reading, Stamp, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node_agent.clocks.base import ClockSource
    from node_agent.sampler import Snapshot

_NO_NUMBERS = "," * (len(SOURCE_FIELDS) - 1)


class Readings:
    """Reads every configured source for a stamp and counts the readings that were not available, by column prefix."""

    def __init__(self, sources: Mapping[str, ClockSource]) -> None:
        self._sources = sources
        self.unavailable = dict.fromkeys(COLUMN_PREFIX.values(), 0)

    def of(self, stamp: Stamp, snapshot: Snapshot) -> dict[str, Reading]:
        """Return the reading of every known source by name; one that is not configured says so."""
        return {
            name: evaluate(self._sources[name], snapshot.samples[name], stamp)
            if name in self._sources
            else Unavailable(NOT_CONFIGURED)
            for name in COLUMN_PREFIX
        }

    def cells(self, stamp: Stamp, snapshot: Snapshot) -> str:
        """Return the source columns of a row, in the order of ``records.SOURCE_PREFIXES``."""
        parts = []
        for name, reading in self.of(stamp, snapshot).items():
            if isinstance(reading, Unavailable) and reading.reason != NOT_CONFIGURED:
                self.unavailable[COLUMN_PREFIX[name]] += 1
            parts.append(cells(reading, stamp.wall_ns))
        return ",".join(parts)


def cells(reading: Reading, wall_ns: int) -> str:
    """Return one reading as its cells; ``wall_ns`` is the stamp's wall clock, which the offset is added to."""
    if not isinstance(reading, Available):
        return reading.reason + _NO_NUMBERS
    return "%s,%.6f,%.6f,%d,%d,%d,%s,%.6g,%s,%.3f,%s" % (  # noqa: UP031 - a quarter of the time of an f-string's format specs
        OK,
        (reading.est_ns - wall_ns) / 1e6,
        reading.uncertainty_ns / 1e6,
        reading.est_ns,
        reading.earliest_ns,
        reading.latest_ns,
        reading.kind,
        reading.level,
        reading.reference,
        reading.age_ns / 1e6,
        reading.sample_id,
    )
