"""A UDP relay that delays each direction by its own time; arguments: OWN HOST PORT FORWARD BACK (the last two in s).

It stands in the path by a rule of the host's own network (see ``NamespaceHost.relay``) and marks what it sends on, so
that the rule lets it pass. Datagrams keep their order, each client its own port, and nothing is sent before its time.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import socket
import sys
import time
from typing import Any, Final

from harness.testbed.topology import RELAY_MARK

SO_MARK: Final = 36  # asm-generic/socket.h; socket names it on no Python we run on
LARGEST: Final = 65_535
MAX_CLIENTS: Final = 1024


class Relay:
    """One relay: a front that the host's clients reach, and one socket to the server per client."""

    def __init__(self, own: str, server: tuple[str, int], forward_s: float, back_s: float) -> None:
        self._own, self._server = own, server
        self._forward_ns, self._back_ns = int(forward_s * 1e9), int(back_s * 1e9)
        self._selector = selectors.DefaultSelector()
        self._front = self._bound()
        self._clients: dict[Any, socket.socket] = {}
        self._under_way: list[tuple[int, int, bytes, socket.socket, Any]] = []
        self._numbers = itertools.count()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._selector.register(0, selectors.EVENT_READ, None)

    @property
    def port(self) -> int:
        """Return the front's port."""
        return int(self._front.getsockname()[1])

    def run(self) -> None:
        """Relay until standard input ends."""
        while True:
            wait_s = None
            if self._under_way:
                wait_s = max(0.0, (self._under_way[0][0] - time.monotonic_ns()) / 1e9)
            for key, _ in self._selector.select(wait_s):
                if key.fileobj == 0:
                    if not os.read(0, 1):
                        return
                elif key.fileobj is self._front:
                    self._forward()
                else:
                    self._back(key.data, key.fileobj)
            self._send_due()

    def _bound(self) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self._own else socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, SO_MARK, RELAY_MARK)
        made.bind((self._own, 0))
        return made

    def _forward(self) -> None:
        data, client = self._front.recvfrom(LARGEST)
        if client not in self._clients:
            if len(self._clients) == MAX_CLIENTS:
                return
            self._clients[client] = self._bound()
            self._selector.register(self._clients[client], selectors.EVENT_READ, client)
        self._later(self._forward_ns, data, self._clients[client], self._server)

    def _back(self, client: Any, sock: Any) -> None:
        self._later(self._back_ns, sock.recv(LARGEST), self._front, client)

    def _later(self, delay_ns: int, data: bytes, sock: socket.socket, target: Any) -> None:
        heapq.heappush(self._under_way, (time.monotonic_ns() + delay_ns, next(self._numbers), data, sock, target))

    def _send_due(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic_ns():
            _, _, data, sock, target = heapq.heappop(self._under_way)
            sock.sendto(data, target)


def main() -> None:
    """Relay as the command line says; print the front's port."""
    own, host, port, forward_s, back_s = sys.argv[1:6]
    relay = Relay(own, (host, int(port)), float(forward_s), float(back_s))
    print(relay.port, flush=True)  # noqa: T201 - the line that whoever started it reads
    relay.run()


if __name__ == "__main__":
    main()
