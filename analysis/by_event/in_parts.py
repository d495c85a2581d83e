"""All readings of a run whose tables are on disk: what is by event is read when a part of it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import accumulate
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.by_event import readings
from analysis.by_event.joining import joined
from analysis.by_event.table import Table
from analysis.run import csv_tables
from analysis.run.stored import StoredFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analysis.arrays import Bools, Ints
    from analysis.by_event.event_rows import Instants
    from analysis.by_event.facts import Facts
    from analysis.processes.pieces import ShareOut
    from analysis.run.load import Run
    from analysis.run.stored import Frame
    from analysis.storage.scratch import Scratch


@dataclass(frozen=True)
class TableInParts(Table):
    """All readings of a run in parts. Of the whole run there is who received, and when each event was sent.

    ``begins``: the place of the first event of every part, and how many events there are in all. Readings and stamps
    are those of a part; that asked for last is kept.
    """

    begins: tuple[int, ...] = ()
    _scratch: Scratch | None = None
    _kept: dict[int, Table] = field(default_factory=dict, repr=False, compare=False)

    @property
    def number_of_parts(self) -> int:
        """Return how many parts there are, at least one."""
        return len(self.begins) - 1

    @property
    def in_memory(self) -> bool:
        """Tell whether all of it is in memory: every process reads parts of its own."""
        return False

    @property
    def scratch(self) -> Scratch | None:
        """Return where that is kept which does not fit into memory."""
        return self._scratch

    def numbered(self, number: int) -> Table:
        """Return one part."""
        if number not in self._kept:
            self._kept.clear()  # one at a time
            csv_tables.release_memory()
            self._kept[number] = self._read(number, number + 1)
        return self._kept[number]

    def part(self, begin: int, end: int) -> Table:
        """Return the table of some consecutive events."""
        first = int(np.searchsorted(self.begins, begin, side="right")) - 1
        last = int(np.searchsorted(self.begins, max(end, begin + 1), side="left"))
        within = self.numbered(first) if last == first + 1 else self._read(first, last)
        return within.part(begin - self.begins[first], end - self.begins[first])

    def take(self, positions: Ints) -> Table:
        """Return the table of some events, which are given in the run's order; without the files' rows."""
        some = []
        for part in self.parts():
            own = positions - part.begins_at
            chosen = part.take(own[(own >= 0) & (own < len(part.event_ids))])
            some.append(replace(chosen, run=self.run, rows={}, duplicates={}, begins_at=0).loaded())
        return joined(some)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process begins with: it reads its parts itself."""
        return self.__dict__ | {"_kept": {}}

    def _read(self, first: int, end: int) -> Table:
        return readings.table(rows_of(self.run, first, end), self.facts, self.begins[first])


class _Look(NamedTuple):
    """What is kept of every part."""

    event_ids: Ints
    sequence: Instants
    sent: Instants
    received: Mapping[str, Bools]
    duplicates: Mapping[str, int]
    sources: tuple[str, ...]
    workers: tuple[str, ...]
    present: tuple[str, ...]


def table(run: Run, number_of_parts: int, scratch: Scratch, share_out: ShareOut) -> TableInParts:
    """Return the readings of a run in parts. Every part is looked at once, for what holds for all of them.

    ``scratch``: where that is kept which does not fit into memory. ``share_out``: who looks at parts.
    """
    looks = [partial(_look, run, number) for number in range(number_of_parts)]
    facts, kept = zip(*share_out(looks), strict=True)
    nothing: dict[str, Instants | None] = dict.fromkeys(run.manifest.nodes)
    return TableInParts(
        run=run,
        **joined(kept)._asdict(),
        stamps={},
        own_sends={},
        raw_stamps={},
        raw_sends={},
        rows={},
        facts=reduce(or_, facts),
        begins_at=0,
        _true=nothing,
        _true_sends=nothing,
        _receive={},
        _send={},
        _scratch=scratch,
        begins=tuple(accumulate((len(look.event_ids) for look in kept), initial=0)),
    )


def _look(run: Run, number: int) -> tuple[Facts, _Look]:
    part = readings.table(rows_of(run, number, number + 1))
    look = part.facts, _Look(*(getattr(part, name) for name in _Look._fields))
    csv_tables.release_memory()
    return look


class _Parts(Mapping[str, "Frame"]):
    """Some rows of one file of every node, by node id, read when asked for."""

    def __init__(self, tables: Mapping[str, Frame], part: Callable[[Frame], Frame]) -> None:
        self._tables, self._part = tables, part

    def __getitem__(self, node_id: str) -> Frame:
        return self._part(self._tables[node_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


def rows_of(run: Run, first: int, end: int) -> Run:
    """Return the rows of some consecutive parts of a run, as a run of its own."""

    def part(frame: Frame) -> Frame:
        return frame.part(first, end) if isinstance(frame, StoredFrame) else frame

    return replace(
        run,
        coordinator=part(run.coordinator),
        workers={node_id: part(frame) for node_id, frame in run.workers.items()},
        sends=part(run.sends),
        commit_wait=_Parts(run.commit_wait, part),
    )
