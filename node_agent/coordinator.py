"""The coordinator: say hello, broadcast on schedule, say end, and keep one send stamp per worker."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from node_agent import addresses
from node_agent.contract import records
from node_agent.contract.cells import cell, stamp_cells
from node_agent.contract.records import KERNEL_TX, USER, Stamp
from node_agent.datagrams import kernel_stamps, wire
from node_agent.datagrams.transmit_stamps import TransmitStamps
from node_agent.local import machine
from node_agent.local.instants import ClockPair, anchor, anchored, late_pair, user_stamp
from node_agent.waits import Waits

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from node_agent.node import Node

log = logging.getLogger(__name__)

_ASK_EVERY_S: Final = 0.1
_STAMP_PATIENCE_NS: Final = 1_000_000_000  # a transmit stamp that has not come by then will not come
_WAKE_NS: Final = 200_000  # a long sleep may end so late
_SPIN_NS: Final = 40_000  # and a short one so late; who spins for longer is the first to lose the CPU, mid-send
_WORK_NS: Final = 60_000  # judging and journaling one event takes less
_LEAD_NS: Final = 1_500_000
_BACKLOG: Final = 16_384  # events, 1 kB each: with more in hand a send may come late, memory may not grow
_COLLECT_EVERY_NS: Final = 1_000_000  # costs 0.5 us of raw error (500 ppm), saves two system calls an event
_PAIR_EVERY_NS: Final = 100_000_000
_PAYLOAD_BYTES: Final = 65_535


class _Send:
    """One event on its way to one worker: the clock pair before it, and the kernel's stamp once that has come."""

    __slots__ = ("before", "error", "settled", "stamp", "worker_id")

    def __init__(self, worker_id: str, before: ClockPair) -> None:
        self.worker_id = worker_id
        self.before = before
        self.stamp: Stamp | None = None
        self.settled = False
        self.error = ""


class _Sent:
    """One broadcast event."""

    __slots__ = ("begun_raw_ns", "delay_ms", "event_id", "planned_ns", "sends", "sequence_number")

    def __init__(self, sequence_number: int, planned_ns: int, delay_ms: float, begun_raw_ns: int) -> None:
        self.event_id = sequence_number + 1
        self.sequence_number = sequence_number
        self.planned_ns = planned_ns
        self.delay_ms = delay_ms
        self.begun_raw_ns = begun_raw_ns
        self.sends: list[_Send] = []


class Coordinator:
    """Broadcasts one run's events. One thread sends and, in the time between two sends, judges and journals.

    A thread of its own for that would hold the interpreter at the very moment when a send is due.
    """

    def __init__(self, node: Node, sock: socket.socket, key: bytes | None) -> None:
        if node.plan.broadcast is None:
            raise ValueError("a coordinator's plan has a broadcast")
        self._node = node
        self._sock = sock
        self._plan = node.plan.broadcast
        self._wire = wire.Wire(node.plan.run_id, key)
        self._by_hand = key is None
        self._departures: TransmitStamps[_Send] = TransmitStamps(sock)
        self._targets = {worker.node_id: addresses.look_up(worker, sock) for worker in self._plan.workers}
        self._everyone = ";".join(self._targets)
        self._sends = node.add_journal(records.SENDS_FILE, records.SENDS_COLUMNS)
        self._waiting: deque[_Sent] = deque()
        self._complete: deque[_Sent] = deque()
        self._snapshot = node.sampler.snapshot()
        self._collected = node.clock.pair()
        self._rows: list[str] = []
        self._send_rows: list[str] = []
        self._due: list[tuple[int, int]] = []
        self._stopping = threading.Event()
        self._waits = Waits(node, self._stopping)
        self._counts = dict.fromkeys(("planned", "sent", "send_errors", "user_stamps"), 0)
        self._counts["planned"] = self._plan.num_events
        self._sender = threading.Thread(target=self._broadcast, name="broadcast", daemon=True)

    def start(self) -> None:
        """Start; the broadcast begins by itself once every required source answers."""
        self._sender.start()

    def stop(self) -> None:
        """Stop sending, then journal everything that was sent."""
        self._stopping.set()
        self._sender.join()

    def counts(self) -> dict[str, int]:
        """Return the counters."""
        return dict(self._counts)

    def _broadcast(self) -> None:
        """Go through the phases; whatever happens here ends the node with its reason."""
        node = self._node
        try:
            if not self._by_hand:
                self._waits.until(lambda: not node.waiting_for())
            node.enter(records.READY)
            if self._stopping.is_set():
                return
            if not self._by_hand:
                node.enter(records.HELLO)
                silent = self._ask_all(wire.HELLO, wire.HELLO_ACK, self._plan.hello_timeout_s)
                if silent:
                    self._fail(f"no answer to hello within {self._plan.hello_timeout_s:g} s from {', '.join(silent)}")
                    return
                self._waits.let_probes_lead("event")
            node.enter(records.BROADCASTING)
            self._send_all()
            node.enter(records.DRAINING)
            silent = [] if self._by_hand else self._ask_all(wire.END, wire.END_ACK, self._plan.hello_timeout_s)
            self._finish()
            node.enter(records.TAIL)
            if not self._by_hand:
                self._waits.until(lambda: node.pending == 0)
            detail = f"; no answer to end from {', '.join(silent)}" if silent else ""
            node.end(records.FINISHED_OK, f"{self._counts['sent']} events sent{detail}")
        except OSError as error:
            self._fail(f"broadcast: {error.strerror or error}")
        finally:
            self._finish()

    def _fail(self, detail: str) -> None:
        log.error("failed detail=%r", detail)
        self._node.end(records.FINISHED_FAILED, detail)

    def _ask_all(self, kind: str, answer: str, timeout_s: float) -> list[str]:
        """Send a control datagram through the real data path until every worker answered; return who did not."""
        silent = dict(self._targets)
        deadline = time.monotonic() + timeout_s
        while silent and time.monotonic() < deadline and not self._stopping.is_set():
            for target in silent.values():
                with contextlib.suppress(OSError):  # one that cannot be reached is silent, and asked again
                    self._departures.send(self._wire.control(kind, total=self._counts["sent"]), target)
            ask_again = time.monotonic() + _ASK_EVERY_S
            while silent and (wait_s := ask_again - time.monotonic()) > 0:
                select.select([self._sock], [], [], wait_s)
                self._collect_stamps()
                while (datagram := kernel_stamps.receive(self._sock, _PAYLOAD_BYTES)) is not None:
                    opened = self._wire.open(datagram.data)
                    if isinstance(opened, wire.Control) and opened.kind == answer:
                        silent.pop(str(opened.fields.get("node_id")), None)
            self._node.keep_pair(self._node.clock.pair())
        return sorted(silent)

    def _send_all(self) -> None:
        """Send every event when it is due on the monotonic clock."""
        machine.be_prompt()
        begin_ns = time.monotonic_ns() + _LEAD_NS
        for sequence, (offset_ns, delay_ms) in enumerate(self._plan.schedule()):
            if not self._await_instant(begin_ns + offset_ns):
                return
            self._send_one(sequence, begin_ns + offset_ns, delay_ms)

    def _await_instant(self, due_ns: int) -> bool:
        """Use the time until ``due_ns``: collect stamps, judge, sleep, and spin the rest; False if told to stop."""
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            if self._complete:
                if left_ns > _WORK_NS:
                    self._journal(self._complete.popleft())
            elif left_ns > _SPIN_NS:
                if left_ns > _LEAD_NS or self._node.clock.raw_ns() - self._collected.raw_after_ns >= _COLLECT_EVERY_NS:
                    self._collect_stamps()
                if not self._complete:
                    longest_ns = _COLLECT_EVERY_NS if self._waiting else _PAIR_EVERY_NS
                    left_ns = due_ns - time.monotonic_ns()
                    early_ns = _WAKE_NS if left_ns > 2 * _WAKE_NS else _SPIN_NS
                    time.sleep(max(0, min(left_ns - early_ns, longest_ns)) / 1e9)
                    if self._stopping.is_set():
                        return False
        if len(self._complete) > _BACKLOG:
            self._journal(self._complete.popleft())
            self._journal(self._complete.popleft())
        return not self._stopping.is_set()

    def _send_one(self, sequence: int, due_ns: int, delay_ms: float) -> None:
        clock = self._node.clock
        first, late_ns = late_pair(clock.pair, due_ns)
        before = first
        event = _Sent(sequence, before.wall_ns - late_ns, delay_ms, before.raw_before_ns)
        datagram = self._wire.event(event.event_id, before.wall_ns, sequence)
        for worker_id, target in self._targets.items():
            stamped = self._departures.stamped
            if event.sends and not stamped:
                before = clock.pair()
            send = _Send(worker_id, before)
            try:
                send.settled = not self._departures.send(datagram, target, send)
            except OSError as error:
                send.error, send.settled = error.strerror or str(error), True
                self._counts["send_errors"] += 1
            event.sends.append(send)
        self._waiting.append(event)
        self._counts["sent"] += 1
        if first.raw_before_ns - self._collected.raw_after_ns >= _COLLECT_EVERY_NS:
            self._collect_stamps()

    def _collect_stamps(self) -> None:
        """Take the transmit stamps that have come, and put aside the events that have all of theirs."""
        clock = self._node.clock
        stamps = self._departures.collect()
        now, last = clock.pair(), self._collected
        common = anchor(now, last)  # of what was sent since the last collection, nearly always all of it
        for send, kernel_ns in stamps:
            by = common if send.before.raw_before_ns >= last.raw_after_ns else anchor(now, send.before)
            stamp = anchored(clock.wall_of_kernel(kernel_ns), KERNEL_TX, by)
            if stamp.raw_ns is not None and stamp.raw_ns + stamp.raw_error_ns >= send.before.raw_before_ns:
                send.stamp = stamp  # one from before the send would be another datagram's
            send.settled = True
        while self._waiting and self._is_complete(self._waiting[0], now.raw_ns):
            self._complete.append(self._waiting.popleft())
        if self._complete:
            self._snapshot = self._node.sampler.snapshot()  # later than every stamp of theirs, so complete for them
        self._collected = now
        self._write_out()
        self._node.keep_pair(now)

    def _is_complete(self, event: _Sent, raw_ns: int) -> bool:
        if all(send.settled for send in event.sends):
            return True
        if raw_ns - event.begun_raw_ns <= _STAMP_PATIENCE_NS:
            return False
        for send in event.sends:
            self._departures.forget(send)
        return True

    def _finish(self) -> None:
        """Wait for the stamps of the last sends, no longer than the patience they are given, and journal the rest."""
        while self._waiting or self._complete:
            self._collect_stamps()
            while self._complete:
                self._journal(self._complete.popleft())
            self._write_out()
            if self._waiting:
                select.select([], [], [self._sock], 0.02)

    def _journal(self, event: _Sent) -> None:
        """Make the rows of an event; ``_write_out`` writes what has gathered."""
        start = f"{event.event_id},{event.sequence_number}"
        earliest: Stamp | None = None
        cells = ""
        missed: list[_Send] = []
        for send in event.sends:
            stamp = send.stamp or user_stamp(send.before)
            stamped = stamp_cells(stamp)
            self._send_rows.append(f"{start},{send.worker_id},{stamped},{cell(send.error) if send.error else ''}")
            if send.error:
                missed.append(send)
                continue
            if stamp.origin == USER:
                self._counts["user_stamps"] += 1
            if earliest is None or _counts_before(stamp, earliest):
                earliest, cells = stamp, stamped
        if earliest is None:  # it left for nobody; the row says when that was tried
            earliest = user_stamp(event.sends[0].before)
            cells = stamp_cells(earliest)
        reached = self._everyone if not missed else _names(send for send in event.sends if not send.error)
        self._rows.append(
            f"{start},{event.planned_ns},{cells},{event.delay_ms:g},"
            f"{self._node.readings.cells(earliest, self._snapshot)},{reached},{_names(missed)}"
        )
        if earliest.raw_ns is not None:
            self._due.append((event.event_id, earliest.raw_ns))

    def _write_out(self) -> None:
        """Hand over the rows that have gathered since the last collection: journals take many as easily as one."""
        if self._rows:
            rows, sends, due = self._rows, self._send_rows, self._due
            self._rows, self._send_rows, self._due = [], [], []
            self._sends.write(sends)
            self._node.rows.write(rows)
            self._node.follow_up(due)


def _counts_before(stamp: Stamp, other: Stamp) -> bool:
    """Tell whether an event left at ``stamp``, not at ``other``: the earliest the kernel gave."""
    if stamp.origin != other.origin:
        return stamp.origin == KERNEL_TX
    return stamp.wall_ns < other.wall_ns


def _names(sends: Iterable[_Send]) -> str:
    return ";".join(send.worker_id for send in sends)
