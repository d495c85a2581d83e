"""Matches the kernel's transmit stamps to the datagrams they belong to."""

from __future__ import annotations

import select
from collections import Counter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from node_agent.datagrams import kernel_stamps, mmsg

if TYPE_CHECKING:
    import socket

T = TypeVar("T")

_FULL_BUFFER_PATIENCE_S: Final = 0.05
_MOST_FORGOTTEN: Final = 65_536  # where stamps do not come at all, what is known of the oldest is let go


class TransmitStamps(Generic[T]):
    """Sends on one socket, each send with a token, and tells the kernel's stamp of every token.

    The kernel numbers the sends of a socket from 0 (SOF_TIMESTAMPING_OPT_ID). A send that fails, if only because the
    buffer is full, may or may not have taken a number, so numbering starts anew after one, and the tokens still
    waiting get no stamp.
    Stamps of the numberings before may still be on their way, and they come in no order: one datagram waits for its
    neighbour's address while a later one leaves at once. So a number that is still *owed* to an earlier send tells
    nothing, and a send that gets such a number gets no stamp: no send ever gets another's.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._next = 0
        self._waiting: dict[int, T | None] = {}
        self._forgotten: dict[int, None] = {}  # a set in order; apart, so that the oldest token is found at once
        self._owed: Counter[int] = Counter()
        self._stamps = kernel_stamps.DepartureStamps(sock)
        self.stamped = kernel_stamps.stamp_departures(sock)

    def send(self, datagram: bytes, target: bytes, token: T | None = None) -> bool:
        """Send to a ``mmsg.socket_address``; tell whether ``collect`` may yet return the token. Raises OSError."""
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
        number = self._next & 0xFFFF_FFFF
        self._next += 1
        if not self.stamped:
            return False
        if number in self._owed:
            self._owed[number] += 1
            return False
        self._waiting[number] = token
        return True

    def _start_anew(self) -> None:
        self._owed.update(self._waiting.keys())
        self._owed.update(self._forgotten.keys())
        self._waiting.clear()
        self._forgotten.clear()
        self._next = 0
        self.stamped = self.stamped and kernel_stamps.renumber_departures(self._sock)

    def collect(self) -> list[tuple[T, int]]:
        """Return the tokens whose stamps have arrived since, each with its kernel time in ns."""
        found = []
        for number, kernel_ns in self._stamps.take():
            if number in self._owed:
                self._owed[number] -= 1
                if not self._owed[number]:
                    del self._owed[number]
            elif number in self._forgotten:
                del self._forgotten[number]
            elif (token := self._waiting.pop(number, None)) is not None:
                found.append((token, kernel_ns))
        return found

    def forget(self, token: T) -> None:
        """Stop waiting for a token's stamp; should it still come, it is known whose it is."""
        for number, waiting in self._waiting.items():
            if waiting is token:
                del self._waiting[number]
                if len(self._forgotten) >= _MOST_FORGOTTEN:
                    del self._forgotten[next(iter(self._forgotten))]
                self._forgotten[number] = None
                return
