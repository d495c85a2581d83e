"""The worker: stamp every datagram as it comes, queue it, and judge it elsewhere."""

from __future__ import annotations

import logging
import queue
import select
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from node_agent.contract import records
from node_agent.contract.cells import stamp_cells
from node_agent.contract.records import KERNEL_RX, USER
from node_agent.contract.servers import join_address
from node_agent.datagrams import kernel_stamps, mmsg, wire
from node_agent.duplicates import EventIds, SequenceRanges, SequenceSpan
from node_agent.local.instants import Anchor, ClockPair, anchor, anchored, user_stamp

if TYPE_CHECKING:
    import socket

    from node_agent.datagrams.kernel_stamps import Datagram
    from node_agent.node import Node

log = logging.getLogger(__name__)

MOST_SENDERS: Final = 4_096  # told apart, of those that send to a worker without a run key
_WAKE_UP_MS: Final = 100  # the longest time between two clock pairs: 10 Hz
_BATCH: Final = 256
_NAP_S: Final = 0.001  # costs 0.5 us of raw error (500 ppm), saves a wake-up per datagram
_GATHER_S: Final = 0.005
_QUIET_S: Final = 0.5  # after `end`, this long without an event and the network is taken to be empty


@dataclass(frozen=True)
class _WakeUp:
    """What one wake-up of the receive path found: datagrams, a clock pair older than them all, and one right after."""

    datagrams: list[mmsg.RawDatagram]
    before: ClockPair
    pair: ClockPair


class Worker:
    """Receives one run's events. The receive thread stamps and queues, and does nothing else."""

    def __init__(self, node: Node, sock: socket.socket, key: bytes | None) -> None:
        self._node = node
        self._sock = sock
        self._wire = wire.Wire(node.plan.run_id, key)
        self._by_hand = key is None
        self._queue: queue.SimpleQueue[_WakeUp] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._seen = EventIds()
        self._snapshot = node.sampler.snapshot()
        self._counts = dict.fromkeys(
            ("received", "duplicate", wire.MALFORMED, wire.FOREIGN, wire.BAD_TAG, wire.OVERSIZED, "kernel_dropped",
             "user_stamps", "unusable_stamps"), 0,
        )  # fmt: skip
        self._total: int | None = None
        self._sequences: SequenceSpan | SequenceRanges = SequenceRanges() if self._by_hand else SequenceSpan()
        self._senders: set[tuple[str, int]] = set()  # by hand only, and no more than MOST_SENDERS
        self._last_event_s = time.monotonic()
        self._receiver = threading.Thread(target=self._receive, name="receive", daemon=True)
        self._judge = threading.Thread(target=self._judge_all, name="judge", daemon=True)

    def start(self) -> None:
        """Start receiving."""
        self._receiver.start()
        self._judge.start()

    def stop(self) -> None:
        """Stop receiving, then judge and journal everything that was received."""
        self._stopping.set()
        self._receiver.join()
        self._judge.join()

    def counts(self) -> dict[str, int]:
        """Return the counters; ``lost`` counts from the total that `end` told, until then from sequence gaps.

        Without a run key anyone's numbers come in, so nothing is lost for certain: what was seen is told in its place.
        """
        received = self._counts["received"]
        if isinstance(self._sequences, SequenceRanges):
            return {**self._counts, **self._sequences.counts(), "senders": len(self._senders)}
        expected = self._sequences.expected if self._total is None else self._total
        return {"received": received, "lost": max(0, expected - received), **self._counts}

    def _receive(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        clock = self._node.clock
        inbox = mmsg.Inbox(self._sock, self._node.plan.buffer_size, _BATCH)
        before = last = clock.pair()
        streaming = False
        datagrams: list[mmsg.RawDatagram] = []
        while True:
            stopping = self._stopping.is_set()
            if streaming and len(datagrams) < _BATCH:
                time.sleep(_NAP_S)  # let some datagrams gather: their stamps are taken
            elif not streaming:
                poll.poll(0 if stopping else _WAKE_UP_MS)
            datagrams = inbox.take()
            streaming = bool(datagrams)
            pair = clock.pair()
            self._queue.put(_WakeUp(datagrams, before, pair))
            if len(datagrams) < _BATCH:  # the socket was emptied after `last`, so what comes next arrived after it
                before = last
            last = pair
            if stopping and len(datagrams) < _BATCH:  # what had arrived when the end came is taken along
                return

    def _judge_all(self) -> None:
        """Judge what the receive path queued until it has stopped and its queue is empty."""
        while True:
            wake_ups = self._drain()
            if not wake_ups and not self._receiver.is_alive() and self._queue.empty():
                return
            lines: list[str] = []
            due: list[tuple[int, int]] = []
            self._snapshot = self._node.sampler.snapshot()  # later than every stamp of the batch, so complete for all
            for wake_up in wake_ups:
                self._node.keep_pair(wake_up.pair)
                by = anchor(wake_up.pair, wake_up.before)
                for datagram in wake_up.datagrams:
                    self._judge_one(kernel_stamps.parse(datagram), wake_up.pair, by, lines, due)
            if lines:
                self._node.rows.write(lines)
                self._node.follow_up(due)
            self._advance()

    def _drain(self) -> list[_WakeUp]:
        try:
            wake_ups = [self._queue.get(timeout=_WAKE_UP_MS / 1000)]
        except queue.Empty:
            return []
        time.sleep(_GATHER_S)  # judging in batches leaves the interpreter to the receive path in between
        while len(wake_ups) < _BATCH and not self._queue.empty():
            wake_ups.append(self._queue.get_nowait())  # this thread is the only one that takes
        return wake_ups

    def _judge_one(
        self, datagram: Datagram, pair: ClockPair, by: Anchor, lines: list[str], due: list[tuple[int, int]]
    ) -> None:
        counts = self._counts
        counts["kernel_dropped"] = max(counts["kernel_dropped"], datagram.drops)
        if datagram.truncated:
            counts[wire.OVERSIZED] += 1
            return
        opened = self._wire.open(datagram.data)
        if isinstance(opened, wire.Refused):
            counts[opened.reason] += 1
            return
        if isinstance(opened, wire.Control):
            self._obey(opened, datagram.sender)
            return
        if not self._seen.add(opened.event_id):
            counts["duplicate"] += 1
            return
        counts["received"] += 1
        self._sequences.add(opened.sequence_number)
        if self._by_hand and len(self._senders) < MOST_SENDERS:
            self._senders.add(datagram.sender)
        self._last_event_s = time.monotonic()
        if datagram.kernel_ns is None:
            stamp = user_stamp(pair)
        else:
            stamp = anchored(self._node.clock.wall_of_kernel(datagram.kernel_ns), KERNEL_RX, by)
        counts["user_stamps"] += stamp.origin == USER
        counts["unusable_stamps"] += stamp.raw_ns is None
        cells = self._node.readings.cells(stamp, self._snapshot)
        lines.append(
            f"{opened.event_id},{self._node.plan.node_id},{opened.sequence_number},{opened.coordinator_timestamp_ns},"
            f"{stamp_cells(stamp)},{cells}{self._node.row_end}"
        )
        if stamp.raw_ns is not None:
            due.append((opened.event_id, stamp.raw_ns))

    def _obey(self, control: wire.Control, sender: tuple[str, int]) -> None:
        """Answer the coordinator's hello and end; anything else in a run's own tag is a newer version's."""
        node = self._node
        if control.kind == wire.HELLO and node.phase != records.STARTING:
            if node.phase == records.READY:
                node.enter(records.RUNNING)
            self._answer(wire.HELLO_ACK, sender)
        elif control.kind == wire.END and type(control.fields.get("total")) is int:
            self._total = control.fields["total"]
            self._answer(wire.END_ACK, sender)
            if node.phase in {records.READY, records.RUNNING}:
                node.enter(records.DRAINING)

    def _answer(self, kind: str, sender: tuple[str, int]) -> None:
        """Acknowledge; the coordinator asks again if this is lost, so an answer that cannot leave is no disaster."""
        try:
            self._sock.sendto(self._wire.control(kind, node_id=self._node.plan.node_id), sender)
        except OSError as error:
            log.warning("cannot answer kind=%s to=%s error=%r", kind, join_address(*sender), error.strerror)

    def _advance(self) -> None:
        """Go on to the next phase when its condition holds."""
        node = self._node
        if node.phase == records.STARTING and not node.waiting_for():
            node.enter(records.READY)
        if self._by_hand:
            return
        if node.phase == records.DRAINING and time.monotonic() - self._last_event_s > _QUIET_S:
            node.enter(records.TAIL)
        if node.phase == records.TAIL and node.pending == 0:
            node.end(records.FINISHED_OK, "every event and every re-measurement is journaled")
