"""The timer thread: every source's uncertainty some seconds after an event, and the commit-wait of some events.

Two different things, recorded under their own names: *re-measurement* reads the clocks again at fixed delays;
*commit-wait* proper holds an event until its timestamp has certainly passed.
"""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from collections import deque
from typing import TYPE_CHECKING, Final

from node_agent.contract.cells import remeasured_cells
from node_agent.contract.hold_rule import Choice, Hold
from node_agent.contract.records import NOT_CONFIGURED, REMEASURE, Reading, Stamp, Unavailable
from node_agent.local.instants import LocalClock, user_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node_agent.local.journal import Journal
    from node_agent.readings import Readings
    from node_agent.sampler import Sampler


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


_BATCH: Final = 256  # events that share one reading of the clocks when many are due at once
_GRAIN_S: Final = 0.01  # many events due in succession are measured together, this much late at the most
_HOLD_GRAIN_S: Final = 0.000_05
_TRIM: Final = 65_536
_NOT_CONFIGURED: Final = Unavailable(NOT_CONFIGURED)


class Remeasurements:
    """The re-measurements still to come: every event once per delay.

    Events are due in the order they came, so each delay is a queue: one array of event ids and one of raw instants
    serve all delays, each with a cursor of its own (16 bytes per pending event, whatever the number of delays).
    One thread may add while another measures: the first only appends (the instant last, which is what the other looks
    at), the second only trims, and either is one step of the interpreter.
    """

    def __init__(self, delays_s: Sequence[float]) -> None:
        self._delays = [(round(delay * 1e9), f"{delay:g}") for delay in delays_s]
        self._event_ids = array("q")
        self._raws = array("q")
        self._cursors = [0] * len(self._delays)
        self.done = self._added = 0
        self.latest_ns = 0  # the largest lateness so far

    def __len__(self) -> int:  # from counters, which any thread may read at any time
        return self._added * len(self._delays) - self.done

    @property
    def next_ns(self) -> int | None:
        """Return the raw instant of the next one, in ns; None if there is none."""
        pending = [(at, delay) for at, (delay, _text) in zip(self._cursors, self._delays) if at < len(self._raws)]
        return min((self._raws[at] + delay for at, delay in pending), default=None)

    def add(self, event_id: int, raw_ns: int) -> None:
        """Queue one event for all its delays."""
        self._event_ids.append(event_id)
        self._raws.append(raw_ns)
        self._added += 1

    def measure(self, stamp: Stamp, readings: dict[str, Reading]) -> list[str]:
        """Return the rows of what is due at ``stamp``, up to a batch of each delay."""
        now = stamp.raw_ns or 0
        cells_of = [(name, remeasured_cells(reading, stamp.wall_ns)) for name, reading in readings.items()]
        lines: list[str] = []
        for place, (delay, text) in enumerate(self._delays):
            cursor = self._cursors[place]
            end = min(len(self._raws), cursor + _BATCH)
            parts = [(f",{name},{REMEASURE},", f",{now},{text},{cells},,,") for name, cells in cells_of]
            while cursor < end and (due := self._raws[cursor] + delay) <= now:
                start = self._event_ids[cursor]
                self.latest_ns = max(self.latest_ns, now - due)
                self.done += 1
                lines.extend([f"{start}{head}{due}{tail}" for head, tail in parts])
                cursor += 1
            self._cursors[place] = cursor
        passed = min(self._cursors, default=len(self._raws))
        if passed >= _TRIM:
            del self._event_ids[:passed], self._raws[:passed]
            self._cursors = [cursor - passed for cursor in self._cursors]
        return lines


class CommitWait:
    """The one timer thread, whatever the number of events it has in hand.

    ``add`` takes no lock and, while events stream in, wakes nobody: the thread comes round by itself every
    ``_GRAIN_S``. Only a thread that has nothing to come round for is woken.
    """

    def __init__(
        self,
        delays_s: Sequence[float],
        share: float,
        clock: LocalClock,
        sampler: Sampler,
        readings: Readings,
        journal: Journal,
    ) -> None:
        self._remeasurements = Remeasurements(delays_s if readings.configured else ())  # else there is nothing to ask
        self._holds = Holds()
        self._choice = Choice(share)
        self._clock = clock
        self._sampler = sampler
        self._readings = readings
        self._journal = journal
        self._to_hold: deque[int] = deque()
        self._added = self._noticed = 0
        self._wake = threading.Condition()
        self._asleep = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="commit-wait", daemon=True)

    @property
    def pending(self) -> int:
        """Return the number of re-measurements still to come and of events still held or not yet looked at."""
        held = len(self._to_hold) + len(self._holds)
        return held + len(self._remeasurements)

    @property
    def done(self) -> int:
        """Return the number of re-measurements made."""
        return self._remeasurements.done

    def add(self, events: Sequence[tuple[int, int]]) -> None:
        """Take events as (event_id, raw instant in ns), in the order of their instants; from one thread only."""
        for event_id, raw_ns in events:
            self._remeasurements.add(event_id, raw_ns)
            if self._choice.takes(event_id, raw_ns):
                self._to_hold.append(event_id)
        self._added += len(events)
        if self._asleep:  # set before the thread looks once more at what was added, so one of the two is noticed
            with self._wake:
                self._wake.notify_all()

    def start(self) -> None:
        """Start the timer thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the timer thread; what is still pending stays unmeasured."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            streaming = self._notice()
            wait_s = self._wait_s()
            if wait_s == 0:
                self._work()
            elif streaming:
                time.sleep(_GRAIN_S if wait_s is None else min(_GRAIN_S, wait_s))
            else:
                self._sleep(wait_s)

    def _notice(self) -> bool:
        """Begin the holds that were asked for, and tell whether events were added since."""
        added = self._added
        while self._to_hold:
            now_ns = self._clock.raw_ns()
            for source in self._readings.configured:
                self._holds.begin(self._to_hold[0], source, now_ns)
            self._to_hold.popleft()  # only now, so that it is pending throughout
        streaming, self._noticed = added != self._noticed, added
        return streaming

    def _sleep(self, wait_s: float | None) -> None:
        """Sleep until something is due, something is added or the end has come."""
        with self._wake:
            self._asleep = True
            if self._added == self._noticed and not self._stopping:
                self._wake.wait(wait_s)
            self._asleep = False

    def _wait_s(self) -> float | None:
        """Return how long to wait, in s: 0 if something is due, None if nothing is pending."""
        now = self._clock.raw_ns()
        waits = [
            max(left_s, grain_s) if (left_s := (due - now) / 1e9) > 0 else 0.0
            for due, grain_s in ((self._remeasurements.next_ns, _GRAIN_S), (self._holds.next_ns, _HOLD_GRAIN_S))
            if due is not None
        ]
        return min(waits, default=None)

    def _work(self) -> None:
        """Read the clocks once, for all that is due now."""
        stamp = user_stamp(self._clock.pair())
        by_source = self._readings.by_source(stamp, self._sampler.snapshot())
        readings = {name: reading for name, reading in by_source.items() if reading != _NOT_CONFIGURED}
        lines = self._remeasurements.measure(stamp, readings)
        lines.extend(self._holds.look(stamp, readings))
        self._journal.write(lines)
