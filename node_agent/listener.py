"""The listener of a check: sends a few datagrams to every peer, as a run would, and counts what arrives.

It binds the ports that the node's agent would, and no other. All listeners are started first; then each is told to
send, and once all have sent each is told to end and answers what came. So no clocks need to agree and no start needs to
be early. Words come on a local socket that only programs of the same user may use. Without any it ends by itself.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from node_agent import addresses
from node_agent.contract.arrivals import ANSWERS, DATAGRAMS, END, EVENTS, PROBES, SEND, Arrivals, listener_name
from node_agent.datagrams import kernel_stamps, mmsg, wire
from node_agent.datagrams.probe import PROBE_SIZE, ProbeWire
from node_agent.lifecycle import EXIT_UNFIT, AgentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node_agent.contract.plan import NodePlan

LISTEN_S: Final = 15.0  # without a word a listener lives so long
_APART_S: Final = 0.02  # between two datagrams to the same peer: a queue that is full once is not full thrice
_PATIENCE_S: Final = 0.5  # after all nodes have sent, a datagram that has not come by then is lost
_WORD_S: Final = 1.0
_LONGEST_WORD: Final = 16
_BATCH: Final = 64
_CREDENTIALS = struct.Struct("=iii")  # struct ucred: pid, user, group


class Listener:
    """One node's part in a check of the ways between the nodes. Sockets are bound when it is made."""

    def __init__(self, plan: NodePlan, key: bytes, sockets: contextlib.ExitStack) -> None:
        """Bind the sockets of a plan's node and find its peers. Raises AgentError, as the run's agent would."""
        self._node_id = plan.node_id
        self._sockets = sockets
        self._wire = wire.Wire(plan.run_id, key)
        self._poll = select.poll()
        self._arrived: dict[tuple[str, str], set[int]] = {}
        self._unsent: dict[str, dict[str, str]] = {}
        self._refused: Counter[str] = Counter()
        self._take: list[Callable[[], None]] = []
        self._sends: list[Callable[[int], None]] = []
        self._awaited = 0  # ways on which all datagrams should come
        if plan.watch is None:
            self._awaited = self._hear_events(plan)
        if plan.probes is not None:
            self._awaited += len(plan.probes.peers)
            probes = self._bind(plan.listen_host, plan.probes.port)
            self._probe_wire = ProbeWire(plan.run_id, key, plan.probes.index)
            self._probers = {peer.index: peer.node_id for peer in plan.probes.peers}
            self._receive(probes, PROBE_SIZE, self._probe_arrived)
            for peer in plan.probes.peers:
                seal = self._probe_sealer(peer.index)
                self._send_to(PROBES, peer.node_id, probes, addresses.look_up(peer, probes), seal)

    def _hear_events(self, plan: NodePlan) -> int:
        """Bind the socket of events; return on how many ways they, or their answers, should come."""
        events = self._bind(plan.listen_host, plan.events_port)
        self._receive(events, plan.buffer_size, self._event_arrived)
        if plan.broadcast is None:
            return 1  # a worker hears of one coordinator
        for worker in plan.broadcast.workers:
            self._send_to(EVENTS, worker.node_id, events, addresses.look_up(worker, events), self._hello)
        return len(plan.broadcast.workers)

    def serve(self, control: socket.socket) -> None:
        """Obey the words that come on ``control`` until one is `end`, or none comes for ``LISTEN_S``."""
        self._poll.register(control, select.POLLIN)
        while (caller := self._next_caller(control)) is not None:
            with caller, contextlib.suppress(OSError):  # a caller that has gone comes again, or nobody does
                word = caller.recv(_LONGEST_WORD).decode("ascii", "replace").strip()
                if word == SEND:
                    self._send_all()
                elif word == END:
                    self._hear(_PATIENCE_S, self._complete)
                    self._sockets.close()  # before the answer: what comes next may need the ports
                caller.sendall(json.dumps(asdict(self.arrivals())).encode())
                if word == END:
                    return

    def arrivals(self) -> Arrivals:
        """Return what has come so far."""
        arrived: dict[str, dict[str, int]] = {}
        for (way, sender), numbers in self._arrived.items():
            arrived.setdefault(way, {})[sender] = len(numbers)
        return Arrivals(arrived, self._unsent, dict(self._refused))

    def _bind(self, host: str, port: int) -> socket.socket:
        try:
            sock = addresses.bound(host, port, lambda made: made.setblocking(False))
        except OSError as error:
            raise AgentError(addresses.bind_problem(error, host, port), EXIT_UNFIT) from error
        return self._sockets.enter_context(sock)

    def _receive(self, sock: socket.socket, size: int, arrived: Callable[[socket.socket, bytes, bytes], None]) -> None:
        inbox = mmsg.Inbox(sock, size, _BATCH)

        def take() -> None:
            while datagrams := inbox.take():
                for datagram in map(kernel_stamps.parse, datagrams):
                    if datagram.truncated:
                        self._refused[wire.OVERSIZED] += 1
                    else:
                        arrived(sock, datagram.data, datagram.name)

        self._poll.register(sock, select.POLLIN)
        self._take.append(take)

    def _send_to(
        self, way: str, peer: str, sock: socket.socket, target: bytes, datagram: Callable[[int], bytes]
    ) -> None:
        def send(number: int) -> None:
            try:
                mmsg.send(sock, datagram(number), target)
            except OSError as error:
                self._unsent.setdefault(way, {})[peer] = error.strerror or str(error)

        self._sends.append(send)

    def _send_all(self) -> None:
        self._unsent.clear()
        for number in range(DATAGRAMS):
            for send in self._sends:
                send(number)
            self._hear(_APART_S)

    def _hello(self, number: int) -> bytes:
        return self._wire.control(wire.HELLO, node_id=self._node_id, number=number)

    def _probe_sealer(self, index: int) -> Callable[[int], bytes]:
        return lambda number: self._probe_wire.seal(index, number)

    def _event_arrived(self, sock: socket.socket, data: bytes, name: bytes) -> None:
        opened = self._wire.open(data)
        if isinstance(opened, wire.Refused):
            self._refused[opened.reason] += 1
            return
        fields = opened.fields if isinstance(opened, wire.Control) else {}
        sender, number = fields.get("node_id"), fields.get("number")
        if not isinstance(opened, wire.Control) or not isinstance(sender, str) or type(number) is not int:
            self._refused[wire.MALFORMED] += 1
        elif opened.kind == wire.HELLO:
            self._count(EVENTS, sender, number)
            try:
                mmsg.send(sock, self._wire.control(wire.HELLO_ACK, node_id=self._node_id, number=number), name)
            except OSError as error:
                self._unsent.setdefault(ANSWERS, {})[sender] = error.strerror or str(error)
        elif opened.kind == wire.HELLO_ACK:
            self._count(ANSWERS, sender, number)

    def _probe_arrived(self, _sock: socket.socket, data: bytes, _name: bytes) -> None:
        opened = self._probe_wire.open(data)
        if isinstance(opened, wire.Refused):
            self._refused[opened.reason] += 1
        elif opened.sender in self._probers:
            self._count(PROBES, self._probers[opened.sender], opened.sequence)

    def _count(self, way: str, sender: str, number: int) -> None:
        if 0 <= number < DATAGRAMS:
            self._arrived.setdefault((way, sender), set()).add(number)

    def _complete(self) -> bool:
        full = sum(len(numbers) == DATAGRAMS for numbers in self._arrived.values())
        return full == self._awaited

    def _hear(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Take what arrives for so long, or until it is over."""
        deadline_s = time.monotonic() + seconds
        while not over() and (left_s := deadline_s - time.monotonic()) > 0:
            self._poll.poll(left_s * 1e3)
            for take in self._take:
                take()

    def _next_caller(self, control: socket.socket) -> socket.socket | None:
        """Return the next connection of a program of this user; None if there is none for ``LISTEN_S``."""
        found: list[socket.socket] = []

        def called() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(control.accept()[0])
            return bool(found)

        deadline_s = time.monotonic() + LISTEN_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._hear(left_s, called)
            for caller in found:
                if _user_of(caller) == os.getuid():
                    caller.settimeout(_WORD_S)
                    return caller
                caller.close()
            found.clear()
        return None


def listen(plan: NodePlan, key: bytes, report: Callable[[dict[str, Any]], None]) -> int:
    """Report once the plan's ports are bound, obey words, return the exit code. Raises AgentError if they cannot be."""
    with contextlib.ExitStack() as sockets, socket.socket(socket.AF_UNIX) as control:
        control.setblocking(False)
        try:
            control.bind(f"\0{listener_name(plan.run_id, plan.node_id)}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise AgentError(f"listener: cannot make a local socket: {error.strerror}") from error
            report({"bound": True})  # the controller asks again, since it did not hear the answer
            return 0
        listener = Listener(plan, key, sockets)
        control.listen()
        report({"bound": True})
        listener.serve(control)
    return 0


def _user_of(caller: socket.socket) -> int:
    packed = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, user, _group = _CREDENTIALS.unpack(packed)
    return int(user)
