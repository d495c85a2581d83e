"""The timer thread: what a source's uncertainty is some seconds after an event (DESIGN section 5, re-measurement)."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, Final

from node_agent.instants import user_stamp
from node_agent.records import NOT_CONFIGURED, OK, REMEASURE, Available, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node_agent.instants import LocalClock
    from node_agent.journal import Journal
    from node_agent.readings import Readings
    from node_agent.sampler import Sampler

_BATCH: Final = 256  # events that share one reading of the clocks when many are due at once
_GRAIN_S: Final = 0.01  # many events due in succession are measured together, this much late at the most
_TRIM: Final = 65_536


class CommitWait:
    """Re-measures every event at every configured delay, in one thread whatever the number pending.

    Events are due in the order they came, so that each delay is a queue: one array of event ids and one of raw instants
    serve all delays, each with a cursor of its own (16 bytes per pending event).
    """

    def __init__(
        self, delays_s: Sequence[float], clock: LocalClock, sampler: Sampler, readings: Readings, journal: Journal
    ) -> None:
        self._delays_s = tuple(delays_s)
        self._delays_ns = [round(delay * 1e9) for delay in delays_s]
        self._clock = clock
        self._sampler = sampler
        self._readings = readings
        self._journal = journal
        self._event_ids = array("q")
        self._raws = array("q")
        self._cursors = [0] * len(self._delays_ns)
        self._changed = threading.Condition()
        self._stopping = False
        self.done = 0
        self.latest_ns = 0  # the largest lateness so far
        self._thread = threading.Thread(target=self._run, name="commit-wait", daemon=True)

    @property
    def pending(self) -> int:
        """Return the number of re-measurements still to come."""
        with self._changed:
            return sum(len(self._raws) - cursor for cursor in self._cursors)

    def add(self, events: Iterable[tuple[int, int]]) -> None:
        """Queue events as (event_id, raw instant in ns), in the order of their instants."""
        with self._changed:
            new_head = any(cursor == len(self._raws) for cursor in self._cursors)
            for event_id, raw_ns in events:
                self._event_ids.append(event_id)
                self._raws.append(raw_ns)
            if new_head:
                self._changed.notify_all()

    def start(self) -> None:
        """Start the timer thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the timer thread; what is still pending stays unmeasured."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and (wait_s := self._next_due_s()) != 0:
                    self._changed.wait(None if wait_s is None else max(wait_s, _GRAIN_S))
                if self._stopping:
                    return
            self._measure()

    def _next_due_s(self) -> float | None:
        """Return the time until the next re-measurement in s, 0 if one is due, None if none is pending."""
        due = [
            self._raws[cursor] + delay
            for cursor, delay in zip(self._cursors, self._delays_ns)
            if cursor < len(self._raws)
        ]
        return max(0.0, (min(due) - self._clock.raw_ns()) / 1e9) if due else None

    def _measure(self) -> None:
        """Read the sources once and journal it for up to a batch of due events of each delay."""
        stamp = user_stamp(self._clock.pair())
        now = stamp.raw_ns or 0
        readings = self._readings.of(stamp, self._sampler.snapshot())
        said = {
            name: _cells(reading, stamp.wall_ns)
            for name, reading in readings.items()
            if not (isinstance(reading, Unavailable) and reading.reason == NOT_CONFIGURED)
        }
        lines: list[str] = []
        with self._changed:
            for place, delay in enumerate(self._delays_ns):
                cursor = self._cursors[place]
                end = min(len(self._raws), cursor + _BATCH)
                while cursor < end and self._raws[cursor] + delay <= now:
                    due = self._raws[cursor] + delay
                    self.latest_ns = max(self.latest_ns, now - due)
                    self.done += 1
                    lines.extend(
                        f"{self._event_ids[cursor]},{name},{REMEASURE},{due},{now},{self._delays_s[place]:g},{cells},,,"
                        for name, cells in said.items()
                    )
                    cursor += 1
                self._cursors[place] = cursor
            passed = min(self._cursors, default=0)
            if passed >= _TRIM:
                del self._event_ids[:passed], self._raws[:passed]
                self._cursors = [cursor - passed for cursor in self._cursors]
        self._journal.write(lines)


def _cells(reading: Available | Unavailable, wall_ns: int) -> str:
    if isinstance(reading, Unavailable):
        return f"{reading.reason},,,"
    return f"{OK},{(reading.est_ns - wall_ns) / 1e6:.6f},{reading.uncertainty_ns / 1e6:.6f},{reading.sample_id}"
