"""From a stamp to its cells: every source's reading of one stamp, as the source columns of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node_agent.clocks.base import evaluate
from node_agent.records import ALWAYS_IN_ROWS, COLUMN_PREFIX, NOT_CONFIGURED, Reading, Stamp, Unavailable, reading_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node_agent.clocks.base import ClockSource
    from node_agent.sampler import Snapshot


class Readings:
    """Reads every configured source for a stamp and counts the readings that were not available, by column prefix."""

    def __init__(self, sources: Mapping[str, ClockSource]) -> None:
        self._sources = sources
        self._names = [name for name in COLUMN_PREFIX if name in ALWAYS_IN_ROWS or name in sources]
        self.unavailable = {COLUMN_PREFIX[name]: 0 for name in self._names}

    @property
    def configured(self) -> tuple[str, ...]:
        """Return the names of the sources that are asked."""
        return tuple(self._sources)

    def of(self, stamp: Stamp, snapshot: Snapshot) -> dict[str, Reading]:
        """Return the reading of every source in a row, by name; one that is not configured says so."""
        return {
            name: evaluate(self._sources[name], snapshot.samples[name], stamp)
            if name in self._sources
            else Unavailable(NOT_CONFIGURED)
            for name in self._names
        }

    def cells(self, stamp: Stamp, snapshot: Snapshot) -> str:
        """Return the source columns of a row, in the order of ``records.COLUMN_PREFIX``."""
        parts = []
        for name, reading in self.of(stamp, snapshot).items():
            if isinstance(reading, Unavailable) and reading.reason != NOT_CONFIGURED:
                self.unavailable[COLUMN_PREFIX[name]] += 1
            parts.append(reading_cells(reading, stamp.wall_ns))
        return ",".join(parts)
