"""The coordinator: say hello, broadcast on schedule, say end, and keep one send stamp per worker."""

from __future__ import annotations

import logging
import queue
import select
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from node_agent import kernel_stamps, mmsg, records, wire
from node_agent.departures import Departures
from node_agent.instants import ClockPair, kernel_stamp, user_stamp
from node_agent.journal import cell
from node_agent.lifecycle import AgentError
from node_agent.records import KERNEL_TX, USER, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from node_agent.node import Node
    from node_agent.plan import WorkerAddress

log = logging.getLogger(__name__)

_ASK_EVERY_S: Final = 0.1
_STAMP_PATIENCE_NS: Final = 1_000_000_000  # a transmit stamp that has not come by then will not come
_SPIN_NS: Final = 300_000
_IDLE_NS: Final = 1_500_000
_PAIR_EVERY_NS: Final = 100_000_000
_PAYLOAD_BYTES: Final = 65_535


@dataclass
class _Send:
    """One event on its way to one worker; ``stamp`` starts as the user stamp before the send."""

    worker: WorkerAddress
    stamp: Stamp
    settled: bool = False
    error: str = ""


@dataclass
class _Sent:
    """One broadcast event."""

    event_id: int
    sequence_number: int
    planned_ns: int
    delay_ms: float
    begun_raw_ns: int
    sends: list[_Send] = field(default_factory=list)


class Coordinator:
    """Broadcasts one run's events. One thread sends and stamps; another one judges and journals."""

    def __init__(self, node: Node, sock: socket.socket, key: bytes | None) -> None:
        if node.plan.broadcast is None:
            raise ValueError("a coordinator's plan has a broadcast")
        self._node = node
        self._sock = sock
        self._plan = node.plan.broadcast
        self._wire = wire.Wire(node.plan.run_id, key)
        self._by_hand = key is None
        self._departures: Departures[_Send] = Departures(sock)
        self._targets = {worker.node_id: _resolve(worker) for worker in self._plan.workers}
        self._sends = node.add_journal(records.SENDS_FILE, records.SENDS_COLUMNS)
        self._waiting: deque[_Sent] = deque()
        self._finished: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._journaled = 0
        self._stopping = threading.Event()
        self._paired_ns = 0
        self._counts = dict.fromkeys(("planned", "sent", "send_errors", "user_stamps"), 0)
        self._counts["planned"] = self._plan.num_events
        self._sender = threading.Thread(target=self._broadcast, name="broadcast", daemon=True)
        self._judge = threading.Thread(target=self._judge_all, name="judge", daemon=True)

    def start(self) -> None:
        """Start; the broadcast begins by itself once every required source answers."""
        self._sender.start()
        self._judge.start()

    def stop(self) -> None:
        """Stop sending, then journal everything that was sent."""
        self._stopping.set()
        self._sender.join()
        self._finished.put(None)
        self._judge.join()

    def counts(self) -> dict[str, int]:
        """Return the counters."""
        return dict(self._counts)

    def _broadcast(self) -> None:
        """Go through the phases; whatever happens here ends the node with its reason."""
        node = self._node
        try:
            if not self._get_ready():
                return
            if not self._by_hand:
                node.enter(records.HELLO)
                silent = self._ask_all(wire.HELLO, wire.HELLO_ACK, self._plan.hello_timeout_s)
                if silent:
                    self._fail(f"no answer to hello within {self._plan.hello_timeout_s:g} s from {', '.join(silent)}")
                    return
            node.enter(records.BROADCASTING)
            self._send_all()
            node.enter(records.DRAINING)
            silent = [] if self._by_hand else self._ask_all(wire.END, wire.END_ACK, self._plan.hello_timeout_s)
            self._await_stamps()
            node.enter(records.TAIL)
            if not self._by_hand:
                self._wait_until(lambda: self._journaled == self._counts["sent"] and node.pending == 0)
            detail = f"; no answer to end from {', '.join(silent)}" if silent else ""
            node.end(records.FINISHED_OK, f"{self._counts['sent']} events sent{detail}")
        except OSError as error:
            self._fail(f"broadcast: {error}")
        finally:
            self._await_stamps()

    def _fail(self, detail: str) -> None:
        log.error("failed detail=%r", detail)
        self._node.end(records.FINISHED_FAILED, detail)

    def _get_ready(self) -> bool:
        if not self._by_hand:
            self._wait_until(lambda: not self._node.waiting_for())
        self._node.enter(records.READY)
        return not self._stopping.is_set()

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait, keeping the clock pairs coming; the lease and the controller's stop are the deadline."""
        while not self._stopping.is_set() and not condition():
            self._keep_pairs(self._node.clock.pair())
            self._stopping.wait(0.05)

    def _keep_pairs(self, pair: ClockPair) -> None:
        if pair.raw_ns - self._paired_ns >= _PAIR_EVERY_NS:
            self._node.journal_pair(pair)
            self._paired_ns = pair.raw_ns

    def _ask_all(self, kind: str, answer: str, timeout_s: float) -> list[str]:
        """Send a control datagram through the real data path until every worker answered; return who did not."""
        silent = dict(self._targets)
        deadline = time.monotonic() + timeout_s
        while silent and time.monotonic() < deadline and not self._stopping.is_set():
            for target in silent.values():
                self._departures.send(self._wire.control(kind, total=self._counts["sent"]), target)
            ask_again = time.monotonic() + _ASK_EVERY_S
            while silent and (wait_s := ask_again - time.monotonic()) > 0:
                select.select([self._sock], [], [], wait_s)
                self._collect_stamps()
                while (got := kernel_stamps.receive(self._sock, _PAYLOAD_BYTES)) is not None:
                    opened = self._wire.open(got.data)
                    if isinstance(opened, wire.Control) and opened.kind == answer:
                        silent.pop(str(opened.fields.get("node_id")), None)
            self._keep_pairs(self._node.clock.pair())
        return sorted(silent)

    def _send_all(self) -> None:
        """Send every event when it is due on the monotonic clock."""
        begin_ns = time.monotonic_ns() + _IDLE_NS
        for sequence, (offset_ns, delay_ms) in enumerate(self._plan.schedule()):
            if not self._await_instant(begin_ns + offset_ns):
                return
            self._send_one(sequence, begin_ns + offset_ns, delay_ms)

    def _await_instant(self, due_ns: int) -> bool:
        """Sleep, tidy up, and spin for the last part; False if told to stop."""
        while (left_ns := due_ns - time.monotonic_ns()) > _SPIN_NS:
            if left_ns > _IDLE_NS:
                self._collect_stamps()
                left_ns = due_ns - time.monotonic_ns()
            if self._stopping.wait(max(0, min(left_ns - _SPIN_NS, _PAIR_EVERY_NS)) / 1e9):
                return False
        while time.monotonic_ns() < due_ns:
            pass
        return not self._stopping.is_set()

    def _send_one(self, sequence: int, due_ns: int, delay_ms: float) -> None:
        clock = self._node.clock
        before = clock.pair()
        late_ns = time.monotonic_ns() - due_ns
        event = _Sent(sequence + 1, sequence, before.wall_ns - late_ns, delay_ms, before.raw_ns)
        datagram = self._wire.event(event.event_id, before.wall_ns, sequence)
        stamped = self._departures.stamped
        first = user_stamp(before)
        for worker in self._plan.workers:
            send = _Send(worker, first if stamped or not event.sends else user_stamp(clock.pair()))
            try:
                self._departures.send(datagram, self._targets[worker.node_id], send)
            except OSError as error:
                send.error = error.strerror or str(error)
                self._counts["send_errors"] += 1
            send.settled = bool(send.error) or not self._departures.stamped
            event.sends.append(send)
        self._waiting.append(event)
        self._counts["sent"] += 1
        self._collect_stamps()

    def _collect_stamps(self) -> None:
        """Take the transmit stamps that have come, and hand on the events that have all of theirs."""
        stamps = self._departures.collect()
        now = self._node.clock.pair()
        for send, kernel_ns in stamps:
            stamp = kernel_stamp(self._node.clock.wall_of_kernel(kernel_ns), KERNEL_TX, now, _pair(send.stamp))
            if _is_after(stamp, send.stamp):
                send.stamp = stamp
            send.settled = True
        while self._waiting and self._is_complete(self._waiting[0], now.raw_ns):
            self._finished.put(self._waiting.popleft())
        self._keep_pairs(now)

    def _is_complete(self, event: _Sent, raw_ns: int) -> bool:
        if all(send.settled for send in event.sends):
            return True
        if raw_ns - event.begun_raw_ns <= _STAMP_PATIENCE_NS:
            return False
        for send in event.sends:
            self._departures.forget(send)
        return True

    def _await_stamps(self) -> None:
        """Wait for the stamps of the last sends, no longer than the patience they are given."""
        while self._waiting:
            self._collect_stamps()
            if self._waiting:
                select.select([], [], [self._sock], 0.02)

    def _judge_all(self) -> None:
        while (event := self._finished.get()) is not None:
            self._journal(event)
            self._journaled += 1

    def _journal(self, event: _Sent) -> None:
        node = self._node
        reached = [send for send in event.sends if not send.error]
        missed = [send for send in event.sends if send.error]
        self._counts["user_stamps"] += sum(send.stamp.origin == USER for send in reached)
        first = _earliest(reached or missed)
        start = f"{event.event_id},{event.sequence_number}"
        self._sends.write([f"{start},{s.worker.node_id},{_stamp_cells(s.stamp)},{cell(s.error)}" for s in event.sends])
        cells = node.readings.cells(first, node.sampler.snapshot())
        sent = f"{event.planned_ns},{_stamp_cells(first)},{event.delay_ms:g}"
        node.events.write([f"{start},{sent},{cells},{_names(reached)},{_names(missed)}"])
        if first.raw_ns is not None:
            node.follow_up([(event.event_id, first.raw_ns)])


def _pair(before_send: Stamp) -> ClockPair:
    """Return the clock pair that a user stamp was made of; it is older than the send it was made for."""
    raw = before_send.raw_ns or 0
    return ClockPair(raw - before_send.raw_error_ns, before_send.wall_ns, raw + before_send.raw_error_ns)


def _is_after(stamp: Stamp, before_send: Stamp) -> bool:
    """Tell whether a transmit stamp can be that of a send begun at ``before_send``, not another datagram's."""
    if stamp.raw_ns is None or before_send.raw_ns is None:
        return False
    return stamp.raw_ns + stamp.raw_error_ns >= before_send.raw_ns - before_send.raw_error_ns


def _earliest(sends: list[_Send]) -> Stamp:
    """Return the earliest kernel transmit stamp, else the earliest user stamp (DESIGN section 4)."""
    kernel = [send.stamp for send in sends if send.stamp.origin == KERNEL_TX]
    return min(kernel or [send.stamp for send in sends], key=lambda stamp: stamp.wall_ns)


def _stamp_cells(stamp: Stamp) -> str:
    return f"{stamp.wall_ns},{'' if stamp.raw_ns is None else stamp.raw_ns},{stamp.raw_error_ns},{stamp.origin}"


def _resolve(worker: WorkerAddress) -> bytes:
    """Return a worker's socket address; names are looked up once, before anything is sent. Raises AgentError."""
    try:
        return mmsg.socket_address(socket.gethostbyname(worker.host), worker.port)
    except OSError as error:
        raise AgentError(f"worker {worker.node_id}: cannot look up {worker.host!r}: {error.strerror}") from error


def _names(sends: list[_Send]) -> str:
    return ";".join(send.worker.node_id for send in sends)
