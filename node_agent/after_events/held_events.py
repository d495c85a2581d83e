"""Commit-wait proper: assign a timestamp, and hold the event until that timestamp has certainly passed.

s = now().latest; release when now().earliest > s (TrueTime's commit wait: J. C. Corbett et al., Spanner, OSDI 2012,
section 4.1.2). Every look at the clock is a row, so that the whole way from assignment to release can be drawn.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_agent.contract.hold_rule import GAVE_UP, MAX_LOOKS, WAITING, next_look_ns
from node_agent.contract.records import COMMIT, OK, Available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node_agent.contract.records import Reading, Stamp


@dataclass
class _Hold:
    """One event held for one source; the first look at the clock assigns its timestamp and begins its wait."""

    event_id: int
    source: str
    begun_raw_ns: int | None = None
    assigned_ns: int | None = None
    spins: int = 0


class Holds:
    """The events held just now, ordered by when each is to be looked at next."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Hold]] = []
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
        self._push(raw_ns, _Hold(event_id, source))

    def look(self, stamp: Stamp, readings: Mapping[str, Reading]) -> list[str]:
        """Look at every event that is due at ``stamp``; return a row of commit_wait.csv per look."""
        now = stamp.raw_ns or 0
        lines = []
        while self._heap and self._heap[0][0] <= now:
            due, _number, hold = heapq.heappop(self._heap)
            lines.append(self._look_at(hold, due, stamp, now, readings[hold.source]))
        return lines

    def _look_at(self, hold: _Hold, due: int, stamp: Stamp, now: int, reading: Reading) -> str:
        if hold.begun_raw_ns is None:
            hold.begun_raw_ns = now
        start = f"{hold.event_id},{hold.source},{COMMIT},{due},{now},{(now - hold.begun_raw_ns) / 1e9:.9f}"
        if not isinstance(reading, Available):
            self._ended += 1
            return f"{start},{reading.reason},,,,{_cell(hold.assigned_ns)},,{hold.spins}"
        hold.spins += 1
        if hold.assigned_ns is None:
            hold.assigned_ns = reading.latest_ns
        released = reading.earliest_ns > hold.assigned_ns
        status = OK if released else WAITING if hold.spins < MAX_LOOKS else GAVE_UP
        if status == WAITING:
            self._push(next_look_ns(now, hold.assigned_ns, reading.earliest_ns), hold)
        else:
            self._ended += 1
        numbers = f"{(reading.est_ns - stamp.wall_ns) / 1e6:.6f},{reading.uncertainty_ns / 1e6:.6f},{reading.sample_id}"
        end = reading.earliest_ns if released else ""
        return f"{start},{status},{numbers},{hold.assigned_ns},{end},{hold.spins}"

    def _push(self, at_ns: int, hold: _Hold) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at_ns, self._number, hold))


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)
