"""From a stamp to its cells: every source's reading of one stamp, as the source columns of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node_agent.clocks.base import ClockSource, evaluate
from node_agent.clocks.sources import in_rows
from node_agent.contract.cells import reading_cells
from node_agent.contract.records import NOT_CONFIGURED, Reading, Stamp, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node_agent.sampler import Snapshot

_NOT_CONFIGURED: Final = Unavailable(NOT_CONFIGURED)


class Readings:
    """Reads every configured source for a stamp and counts the readings that were not available, by column prefix."""

    def __init__(self, sources: Mapping[str, ClockSource]) -> None:
        self._sources = sources
        self._in_rows = [(kind.name, kind.prefix, sources.get(kind.name)) for kind in in_rows(sources)]
        self.unavailable = {prefix: 0 for _name, prefix, _source in self._in_rows}

    @property
    def configured(self) -> tuple[str, ...]:
        """Return the names of the sources that are asked."""
        return tuple(self._sources)

    def by_source(self, stamp: Stamp, snapshot: Snapshot) -> dict[str, Reading]:
        """Return the reading of every source in a row, by name; one that is not configured says so."""
        return {
            name: _NOT_CONFIGURED if source is None else evaluate(source, snapshot.samples[name], stamp)
            for name, _prefix, source in self._in_rows
        }

    def cells(self, stamp: Stamp, snapshot: Snapshot) -> str:
        """Return the source columns of a row, in the order of the kinds."""
        parts = []
        for name, prefix, source in self._in_rows:
            reading = _NOT_CONFIGURED if source is None else evaluate(source, snapshot.samples[name], stamp)
            if isinstance(reading, Unavailable) and source is not None:
                self.unavailable[prefix] += 1
            parts.append(reading_cells(reading, stamp.wall_ns))
        return ",".join(parts)
