"""The watcher: no events, but every source read on schedule, by the same code that reads them for an event."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from node_agent.contract import records
from node_agent.contract.cells import reading_row
from node_agent.local.instants import user_stamp
from node_agent.waits import Waits

if TYPE_CHECKING:
    from node_agent.node import Node


class Watcher:
    """One node's part in a watch. It begins and ends by itself: nobody tells the nodes of a watch anything."""

    def __init__(self, node: Node) -> None:
        if node.plan.watch is None:
            raise ValueError("a watcher's plan has a watch")
        self._node = node
        self._plan = node.plan.watch
        self._stopping = threading.Event()
        self._waits = Waits(node, self._stopping)
        self._counts = {"planned": self._plan.readings, "readings": 0, "missed": 0}
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Start; the watch begins once every required source answers."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()
        self._thread.join()

    def counts(self) -> dict[str, int]:
        """Return the counters; ``missed`` are readings that were due while this process was held up."""
        return dict(self._counts)

    def _watch(self) -> None:
        """Go through the phases."""
        node = self._node
        self._waits.until(lambda: not node.waiting_for())
        if self._stopping.is_set():
            return
        node.enter(records.READY)
        node.enter(records.RUNNING)  # probes begin with it
        self._waits.let_probes_lead("reading")
        self._read_all()
        if self._stopping.is_set():
            return
        node.enter(records.TAIL)
        self._waits.until(lambda: node.pending == 0)
        missed = f", {self._counts['missed']} missed" if self._counts["missed"] else ""
        node.end(records.FINISHED_OK, f"{self._counts['readings']} readings{missed}")

    def _read_all(self) -> None:
        """Take every reading when it is due on the monotonic clock; one whose successor is due already is missed."""
        counts, every_ns, planned = self._counts, self._plan.every_ns, self._plan.readings
        begin_ns = time.monotonic_ns()
        reading_id = 0
        while reading_id < planned and self._waits.until_instant(begin_ns + reading_id * every_ns):
            newest_due = min((time.monotonic_ns() - begin_ns) // every_ns, planned - 1)
            counts["missed"] += newest_due - reading_id
            self._read(newest_due)
            counts["readings"] += 1
            reading_id = newest_due + 1

    def _read(self, reading_id: int) -> None:
        node = self._node
        stamp = user_stamp(node.clock.pair())
        snapshot = node.sampler.snapshot()  # later than the stamp, so complete for it
        node.rows.write([reading_row(reading_id, node.plan.node_id, stamp, node.readings.cells(stamp, snapshot))])
