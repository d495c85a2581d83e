"""Commit-wait proper: the events held just now, each until its timestamp has certainly passed (``hold_rule``)."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from node_agent.contract.hold_rule import Hold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node_agent.contract.records import Reading, Stamp


class Holds:
    """The events held just now, ordered by when each is to be looked at next."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Hold]] = []
        self._number = 0
        self._begun = self._ended = 0

    def __len__(self) -> int:  # from counters, which any thread may read at any time
        return self._begun - self._ended

    @property
    def next_ns(self) -> int | None:
        """Return the raw instant of the next look, in ns; None if nothing is held."""
        return self._heap[0][0] if self._heap else None

    def begin(self, event_id: int, source: str, raw_ns: int) -> None:
        """Hold an event from ``raw_ns`` on."""
        self._begun += 1
        self._push(Hold(event_id, source, raw_ns))

    def look(self, stamp: Stamp, readings: Mapping[str, Reading]) -> list[str]:
        """Look at every event that is due at ``stamp``; return a row of commit_wait.csv per look."""
        now = stamp.raw_ns or 0
        lines = []
        while self._heap and self._heap[0][0] <= now:
            _due, _number, hold = heapq.heappop(self._heap)
            lines.append(hold.look(stamp, readings[hold.source]))
            self._push(hold)
        return lines

    def _push(self, hold: Hold) -> None:
        if hold.due_ns is None:
            self._ended += 1
            return
        self._number += 1
        heapq.heappush(self._heap, (hold.due_ns, self._number, hold))
