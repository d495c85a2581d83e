"""The probe mesh: datagrams between the nodes that no clock under test has a hand in.

Each end journals its own stamps alone. Joined offline, a's tx of (b, sequence) and b's rx of (a, sequence) bound how
the two nodes' clocks stand to each other: an honest stamp of sending is not after, one of receiving not before.
"""

from __future__ import annotations

import heapq
import logging
import random
import select
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from node_agent import addresses
from node_agent.contract import records
from node_agent.contract.plan import KERNEL_STAMPS
from node_agent.contract.records import KERNEL_RX, KERNEL_TX, PROBE_RX, PROBE_TX, USER, Stamp
from node_agent.datagrams import kernel_stamps, mmsg, wire
from node_agent.datagrams.probe import PROBE_SIZE, ProbeWire
from node_agent.datagrams.transmit_stamps import TransmitStamps
from node_agent.duplicates import EventIds, SequenceSpan
from node_agent.local.instants import Anchor, ClockPair, anchor, anchored, kernel_stamp, user_stamp

if TYPE_CHECKING:
    import socket

    from node_agent.node import Node

log = logging.getLogger(__name__)

PROBE_BUFFER_BYTES: Final = 4 << 20  # a second of 63 peers' probes, several times over
_BATCH: Final = 64
_TURN_NS: Final = 500_000  # costs 0.25 us of raw error (500 ppm), keeps the turns of a hub below 2,000 a second
_IDLE_NS: Final = 50_000_000
_STAMP_PATIENCE_NS: Final = 1_000_000_000  # a transmit stamp that has not come by then will not come
_JITTER: Final = 0.5  # of the mean interval, either way: probes lock to no event and leave no long gap


@dataclass
class _Peer:
    """One other node: where it is, how many probes it was sent, and which of its own have come."""

    node_id: str
    index: int
    target: bytes
    sent: int = 0
    seen: EventIds = field(default_factory=EventIds)
    span: SequenceSpan = field(default_factory=SequenceSpan)


class _Departure:
    """One probe on its way out: the clock pair before it, and whether it has its row."""

    __slots__ = ("before", "journaled", "peer", "sequence")

    def __init__(self, peer: _Peer, sequence: int, before: ClockPair) -> None:
        self.peer = peer
        self.sequence = sequence
        self.before = before
        self.journaled = False


class ProbeMesh:
    """One node's part in the mesh. One thread sends to all peers and receives from all; no event waits for it."""

    def __init__(self, node: Node, sock: socket.socket, key: bytes) -> None:
        plan = node.plan.probes
        if plan is None:
            raise ValueError("a node of the mesh has a plan for its probes")
        self._node = node
        self._plan = plan
        self._sock = sock
        self._wire = ProbeWire(node.plan.run_id, key, plan.index)
        peers = [_Peer(peer.node_id, peer.index, addresses.look_up(peer, sock)) for peer in plan.peers]
        self._peers = {peer.index: peer for peer in peers}
        kernel = plan.stamps == KERNEL_STAMPS
        self._departures: TransmitStamps[_Departure] | None = TransmitStamps(sock) if kernel else None
        self._waiting: deque[_Departure] = deque()
        self._lines: list[str] = []
        self._journal = node.add_journal(records.PROBES_FILE, records.PROBES_COLUMNS)
        self._random = random.Random()
        self._mean_ns = 1e9 / plan.rate_hz
        self._due: list[tuple[int, int]] = []
        self._last_ns: int | None = None
        self._cpu_ns = 0
        self._counts = dict.fromkeys(
            ("sent", "received", "duplicate", wire.MALFORMED, wire.FOREIGN, wire.BAD_TAG, "send_errors",
             "kernel_dropped", "user_stamps", "unusable_stamps"), 0,
        )  # fmt: skip
        self._stopping = threading.Event()
        self._trailed = threading.Event()
        self._thread = threading.Thread(target=self._exchange, name="probes", daemon=True)

    def start(self) -> None:
        """Start receiving; sending begins with the coordinator's hello."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, with every stamp that has come journaled."""
        self._stopping.set()
        self._thread.join()

    @property
    def pending(self) -> int:
        """Return 1 until the last probe after the last event has been sent, then 0."""
        return 0 if self._trailed.is_set() else 1

    def counts(self) -> dict[str, int]:
        """Return the counters; ``probe_lost`` counts gaps between a peer's first and last probe that came."""
        expected = sum(peer.span.expected for peer in self._peers.values())
        lost = max(0, expected - self._counts["received"])
        counted = {**self._counts, "lost": lost, "cpu_us": self._cpu_ns // 1_000}
        return {f"probe_{name}": count for name, count in counted.items()}

    def _exchange(self) -> None:
        """Take turns: send what is due, take what has come, journal it, and sleep until there is more to do."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)  # and, unasked, POLLERR: a transmit stamp has come
        clock = self._node.clock
        inbox = mmsg.Inbox(self._sock, PROBE_SIZE, _BATCH)
        before = last = clock.pair()
        while not self._stopping.is_set():
            begun_ns = time.monotonic_ns()
            self._send_due(begun_ns)
            datagrams = inbox.take()
            stamps = self._departures.collect() if self._departures else []
            pair = clock.pair()
            for departure, kernel_ns in stamps:
                self._depart(departure, kernel_ns, pair)
            if datagrams:
                by = anchor(pair, before)
                for datagram in datagrams:
                    self._arrive(kernel_stamps.parse(datagram), pair, by)
            self._give_up_waiting(pair.raw_ns - _STAMP_PATIENCE_NS)
            if self._lines:
                self._journal.write(self._lines)
                self._lines.clear()
            if len(datagrams) < _BATCH:  # the socket was emptied after `last`, so what comes next arrived after it
                before = last
            last = pair
            self._cpu_ns = time.thread_time_ns()
            if len(datagrams) < _BATCH:
                poll.poll(self._idle_ns() / 1e6)
                left_ns = begun_ns + _TURN_NS - time.monotonic_ns()
                if left_ns > 0:
                    time.sleep(left_ns / 1e9)
        self._give_up_waiting(clock.pair().raw_ns)
        self._journal.write(self._lines)

    def _probing(self, now_ns: int) -> bool:
        """Tell whether to send: from the coordinator's hello until ``trail_s`` after the last event."""
        phase = self._node.phase
        if phase in {records.STARTING, records.READY}:
            return False
        if self._last_ns is None and phase in {records.DRAINING, records.TAIL}:
            self._last_ns = now_ns + round(self._plan.trail_s * 1e9)
        if self._last_ns is not None and now_ns >= self._last_ns:
            self._trailed.set()
        return not self._trailed.is_set()

    def _send_due(self, now_ns: int) -> None:
        if not self._probing(now_ns):
            self._due.clear()
            return
        if not self._due:
            first = ((now_ns + round(self._random.random() * self._mean_ns), index) for index in self._peers)
            self._due = sorted(first)  # which is a heap
        before: ClockPair | None = None
        while self._due[0][0] <= now_ns:
            due_ns, index = self._due[0]
            late = now_ns - due_ns > self._mean_ns  # a thread that was held up catches up with nothing
            interval_ns = round(self._mean_ns * self._random.uniform(1 - _JITTER, 1 + _JITTER))
            heapq.heapreplace(self._due, ((now_ns if late else due_ns) + interval_ns, index))
            if before is None or self._departures is None or not self._departures.stamped:
                before = self._node.clock.pair()
            self._send(self._peers[index], before)

    def _send(self, peer: _Peer, before: ClockPair) -> None:
        """Send one probe; a number is used once, since who knows whether a failed send has left after all."""
        departure = _Departure(peer, peer.sent, before)
        peer.sent += 1
        datagram = self._wire.seal(peer.index, departure.sequence)
        awaited = False
        try:
            if self._departures is not None:
                awaited = self._departures.send(datagram, peer.target, departure)
            else:
                mmsg.send(self._sock, datagram, peer.target)
        except OSError:
            self._counts["send_errors"] += 1
            return
        self._counts["sent"] += 1
        if awaited:
            self._waiting.append(departure)
        else:
            self._journal_departure(departure, user_stamp(before))

    def _depart(self, departure: _Departure, kernel_ns: int, now: ClockPair) -> None:
        """Journal a probe with the kernel's stamp, unless that cannot be its own."""
        stamp = kernel_stamp(self._node.clock.wall_of_kernel(kernel_ns), KERNEL_TX, now, departure.before)
        if stamp.raw_ns is not None and stamp.raw_ns + stamp.raw_error_ns >= departure.before.raw_before_ns:
            self._journal_departure(departure, stamp)
        else:
            self._journal_departure(departure, user_stamp(departure.before))

    def _give_up_waiting(self, since_raw_ns: int) -> None:
        """Journal what was sent before ``since_raw_ns`` and has no kernel's stamp with the one taken before it left."""
        while self._waiting and (self._waiting[0].journaled or self._waiting[0].before.raw_ns <= since_raw_ns):
            departure = self._waiting.popleft()
            if not departure.journaled:
                if self._departures is not None:
                    self._departures.forget(departure)
                self._journal_departure(departure, user_stamp(departure.before))

    def _journal_departure(self, departure: _Departure, stamp: Stamp) -> None:
        departure.journaled = True
        self._keep(departure.peer, departure.sequence, PROBE_TX, stamp)

    def _arrive(self, datagram: kernel_stamps.Datagram, pair: ClockPair, by: Anchor) -> None:
        counts = self._counts
        counts["kernel_dropped"] = max(counts["kernel_dropped"], datagram.drops)
        opened = wire.Refused(wire.MALFORMED) if datagram.truncated else self._wire.open(datagram.data)
        if isinstance(opened, wire.Refused):
            counts[opened.reason] += 1
            return
        peer = self._peers.get(opened.sender)
        if peer is None:  # of this run, but no part of this node's mesh
            counts[wire.FOREIGN] += 1
            return
        if not peer.seen.add(opened.sequence):
            counts["duplicate"] += 1
            return
        counts["received"] += 1
        peer.span.add(opened.sequence)
        if datagram.kernel_ns is None:
            stamp = user_stamp(pair)
        else:
            stamp = anchored(self._node.clock.wall_of_kernel(datagram.kernel_ns), KERNEL_RX, by)
        self._keep(peer, opened.sequence, PROBE_RX, stamp)

    def _keep(self, peer: _Peer, sequence: int, direction: str, stamp: Stamp) -> None:
        """Queue a row of probes.csv."""
        self._counts["user_stamps"] += stamp.origin == USER
        self._counts["unusable_stamps"] += stamp.raw_ns is None
        raw = "" if stamp.raw_ns is None else stamp.raw_ns
        stamped = f"{stamp.wall_ns},{raw},{stamp.raw_error_ns},{stamp.origin}"
        self._lines.append(f"{peer.node_id},{sequence},{direction},{stamped}")

    def _idle_ns(self) -> int:
        """Return how long nothing is to be done unless something comes."""
        due_ns = self._due[0][0] - time.monotonic_ns() if self._due else _IDLE_NS
        return max(0, min(due_ns, _IDLE_NS))
