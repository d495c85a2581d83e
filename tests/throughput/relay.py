"""A UDP relay with a delay of its own in each direction, which it measures itself."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.80.3"


class Relay:
    """Passes one exchange at a time on; ``delays_ns`` are (forward, back) of each, as they really were."""

    def __init__(self, server: str, forward_s: float, back_s: float) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._forward_s, self._back_s = forward_s, back_s
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((HOST, 0))
        self._back.settimeout(5)
        self.address = "{}:{}".format(*self._front.getsockname())
        self.delays_ns: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._pass_on)

    def _pass_on(self) -> None:
        while True:
            question, asker = self._front.recvfrom(1024)
            if not question:
                return
            forward = self._wait(self._forward_s)
            self._back.sendto(question, self._server)
            answer = self._back.recv(1024)
            back = self._wait(self._back_s)
            self.delays_ns.append((forward, back))
            self._front.sendto(answer, asker)

    def _wait(self, seconds: float) -> int:
        begun = time.monotonic_ns()
        time.sleep(seconds)
        return time.monotonic_ns() - begun

    @contextmanager
    def running(self) -> Iterator[Relay]:
        """Relay until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", self._front.getsockname())
            self._thread.join()
            self._front.close()
            self._back.close()
