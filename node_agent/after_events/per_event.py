"""A fresh ChronoTick query for every event, off the receive path.

The answer is published as any sample is, and serves the stamps that come after it: an event's own reading never looks
ahead. What the query said for its event, and how long after the stamp it was answered, is a row of commit_wait.csv.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Final

from node_agent.contract.cells import per_event_row

if TYPE_CHECKING:
    from node_agent.exchange.asking import Asker
    from node_agent.local.journal import Journal
    from node_agent.sampler import Sampler

_MOST_WAITING: Final = 10_000  # beyond that the server cannot keep up with the events, and more would only be later


class PerEvent:
    """Asks once per event, in order, in one thread."""

    def __init__(self, asker: Asker, sampler: Sampler, journal: Journal) -> None:
        self._asker = asker
        self._sampler = sampler
        self._journal = journal
        self._events: queue.Queue[tuple[int, int] | None] = queue.Queue(_MOST_WAITING)
        self._stopping = False
        self.skipped = 0
        self._thread = threading.Thread(target=self._run, name="per-event", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def add(self, events: list[tuple[int, int]]) -> None:
        """Take events as (event_id, raw instant in ns); what the server cannot keep up with is skipped and counted."""
        for event in events:
            try:
                self._events.put_nowait(event)
            except queue.Full:  # noqa: PERF203 - each event is its own question
                self.skipped += 1

    @property
    def pending(self) -> int:
        """Return the number of events that are still to be asked for."""
        return self._events.unfinished_tasks

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop after the query under way; events still waiting are not asked for, and count as skipped."""
        self._stopping = True
        with contextlib.suppress(queue.Full):  # then the thread is busy, and looks at `_stopping` after every event
            self._events.put_nowait(None)
        self._thread.join(timeout_s)
        with contextlib.suppress(queue.Empty):
            while True:
                self.skipped += self._events.get_nowait() is not None

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            if self._stopping:
                self.skipped += 1
                break
            (sample,) = self._asker.ask()
            self._sampler.publish(sample)
            self._journal.write([per_event_row(*event, sample)])
            self._events.task_done()
        self._asker.close()
