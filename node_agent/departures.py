"""Matches the kernel's transmit stamps to the datagrams they belong to."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from node_agent import kernel_stamps, mmsg

if TYPE_CHECKING:
    import socket

T = TypeVar("T")

_FULL_BUFFER_PATIENCE_S: Final = 0.05


class Departures(Generic[T]):
    """Sends on one socket, each send with a ticket, and tells the kernel's stamp of every ticket.

    The kernel numbers the sends of a socket from 0 (SOF_TIMESTAMPING_OPT_ID). A send that fails, if only because the
    buffer is full, may or may not have taken a number, so numbering starts anew after one, and the tickets still
    waiting get no stamp.
    Stamps of the numbering before may still be on their way: the first stamp of a number that was waited for then
    belongs to the old send and is dropped, so that no send ever gets another's stamp.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._next = 0
        self._waiting: dict[int, T | None] = {}
        self._orphans: set[int] = set()
        self._stamps = kernel_stamps.DepartureStamps(sock)
        self.stamped = kernel_stamps.stamp_departures(sock)

    def send(self, datagram: bytes, target: bytes, ticket: T | None = None) -> None:
        """Send to a ``mmsg.socket_address``; the stamp of ``ticket`` will come out of ``collect``. Raises OSError."""
        try:
            try:
                mmsg.send(self._sock, datagram, target)
            except BlockingIOError:  # the send buffer is full: let the network take some, but not for long
                self._start_anew()
                select.select([], [self._sock], [], _FULL_BUFFER_PATIENCE_S)
                mmsg.send(self._sock, datagram, target)
        except OSError:
            self._start_anew()
            raise
        if self.stamped:
            self._waiting[self._next & 0xFFFF_FFFF] = ticket
        self._next += 1

    def _start_anew(self) -> None:
        self._orphans.update(self._waiting)
        self._waiting.clear()
        self._next = 0
        self.stamped = self.stamped and kernel_stamps.renumber_departures(self._sock)

    def collect(self) -> list[tuple[T, int]]:
        """Return the tickets whose stamps have arrived since, each with its kernel time in ns."""
        found = []
        for number, kernel_ns in self._stamps.take():
            if number in self._orphans:
                self._orphans.remove(number)
            elif (ticket := self._waiting.pop(number, None)) is not None:
                found.append((ticket, kernel_ns))
        return found

    def forget(self, ticket: T) -> None:
        """Stop waiting for a ticket's stamp."""
        for number, waiting in self._waiting.items():
            if waiting is ticket:
                del self._waiting[number]
                return
