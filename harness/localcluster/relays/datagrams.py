"""A UDP relay: every client has a flow of its own, from its own address, so that each end knows whom it speaks with.

A new socket that is waited for takes the kernel longer than a datagram is to be under way. So after a client's first
datagram the relay prepares the flow of the next client at that address.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from harness.localcluster.relays.lane import Delay, Lane, arrival_ns

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from harness.localcluster.relays.messages import Counts, RelayOrder

MOST_FLOWS: Final = 256  # of one relay; an NTP client asks from a new port every time, and the oldest makes room
MOST_PREPARED: Final = 64  # flows that have not begun: one for each address of clients
PREPARED_AFTER_S: Final = 0.02  # when the exchange that began a flow is over
LARGEST: Final = 65_535
BUFFER_BYTES: Final = 4 << 20
SO_MARK: Final = 36  # asm-generic/socket.h; socket names it on no Python we run on
SO_RXQ_OVFL: Final = 40  # asm-generic/socket.h: tell with each datagram how many found the socket full
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h: tell with each datagram when it came (CLOCK_REALTIME)
_OVERFLOWS: Final = struct.Struct("@I")
_TIMESPEC: Final = struct.Struct("@ll")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_OVERFLOWS.size) + socket.CMSG_SPACE(_TIMESPEC.size)
_BATCH: Final = 64


class DatagramRelay:
    """One relay: a front that its clients reach, and one socket to the target per client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, order: RelayOrder, counts: Counts) -> None:
        """Listen. Raises OSError."""
        self._loop, self._order, self._counts = loop, order, counts
        self._there, self._back = Delay(order.there_ns, order.tail_ns), Delay(order.back_ns, order.tail_ns)
        self._flows: OrderedDict[Any, _Flow] = OrderedDict()
        self._prepared: dict[str, _Flow] = {}  # by the address of the client that may come
        self._front = _Port(order.host, order.mark, counts)
        loop.add_reader(self._front.sock, self._from_clients)

    @property
    def place(self) -> tuple[str, int]:
        """Return where the relay listens."""
        return self._order.host, int(self._front.sock.getsockname()[1])

    def _from_clients(self) -> None:
        for data, client, came_ns in self._front.take():
            flow = self._flows.get(client) or self._begin(client)
            if flow is None:
                self._counts.dropped += 1
            else:
                self._flows.move_to_end(client)
                flow.there.put(data, came_ns)

    def _begin(self, client: Any) -> _Flow | None:
        """Return a new flow; None where as many as there may be are busy."""
        if not self._has_room():
            return None
        address = client[0]
        flow = self._prepared.pop(address, None) or self._new(address)
        flow.begin(client, self._order.target)
        self._flows[client] = flow
        self._loop.call_later(PREPARED_AFTER_S, self._prepare, address)
        return flow

    def _prepare(self, address: str) -> None:
        """Have a flow, and room, for the next client at ``address``."""
        if self._has_room() and address not in self._prepared:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.pop(next(iter(self._prepared))).end()  # of an address that was silent for longest
            self._prepared[address] = self._new(address)

    def _has_room(self) -> bool:
        """Return whether a flow more may be; the one that was silent for longest makes room, if it is idle."""
        if len(self._flows) < MOST_FLOWS:
            return True
        client, oldest = next(iter(self._flows.items()))
        if not oldest.is_idle:
            return False
        del self._flows[client]
        oldest.end()
        return True

    def _new(self, address: str) -> _Flow:
        port = _Port(address, self._order.mark, self._counts)
        return _Flow(self._loop, port, self._front, (self._there, self._back), self._counts)


class _Flow:
    """One client's way to the target and back, once it began."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: _Port, front: _Port, delays: tuple[Delay, Delay], counts: Counts
    ) -> None:
        self._loop, self._port = loop, port
        self._client: Any = None
        self.there = Lane(loop, delays[0], counts, port.send)
        self._back = Lane(loop, delays[1], counts, lambda data: front.send(data, self._client))
        loop.add_reader(port.sock, self._from_target)

    def begin(self, client: Any, target: tuple[str, int]) -> None:
        """Relay between ``client`` and ``target`` from now on."""
        self._client = client
        self._port.sock.connect(target)  # which lets in its answers alone

    def end(self) -> None:
        """Relay no more."""
        self._loop.remove_reader(self._port.sock)
        self._port.sock.close()

    @property
    def is_idle(self) -> bool:
        return self.there.is_empty and self._back.is_empty

    def _from_target(self) -> None:
        for data, _, came_ns in self._port.take():
            if self._client is not None:  # else somebody found the port of a flow that has not begun
                self._back.put(data, came_ns)


class _Port:
    """A bound socket and how many datagrams it had no room for."""

    def __init__(self, host: str, mark: int, counts: Counts) -> None:
        """Bind to a free port of ``host``. Raises OSError."""
        self._counts, self._overflows = counts, 0
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        with contextlib.suppress(OSError):  # a kernel without them: what a busy relay takes comes on top of the delay
            self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if mark:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        self.sock.bind((host, 0))

    def take(self) -> Iterator[tuple[bytes, Any, int]]:
        """Yield some of the datagrams that have come, with their senders, and when each came (CLOCK_MONOTONIC)."""
        for _ in range(_BATCH):
            try:
                data, ancillary, _, sender = self.sock.recvmsg(LARGEST, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # nobody is there; on a network nobody would say so
                continue
            kernel_ns = None
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                    (overflows,) = _OVERFLOWS.unpack(content)
                    self._counts.missed += overflows - self._overflows
                    self._overflows = overflows
                elif (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, ns = _TIMESPEC.unpack(content)
                    kernel_ns = seconds * 1_000_000_000 + ns
            yield data, sender, arrival_ns(kernel_ns)

    def send(self, data: bytes, target: Any = None) -> None:
        """Send a datagram; one that the kernel has no room for is dropped and counted."""
        with contextlib.suppress(ConnectionRefusedError):  # as above
            try:
                if target is None:
                    self.sock.send(data)
                else:
                    self.sock.sendto(data, target)
            except BlockingIOError:
                self._counts.dropped += 1
