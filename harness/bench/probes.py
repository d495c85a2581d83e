"""What is measured beside the agents: a user-space receive stamp, and the offset that ntplib computes."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Final

import ntplib

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h
_TIMESPEC = struct.Struct("@ll")
_HOST: Final = "127.0.78.2"
_EVERY_S: Final = 0.001
_TIMEOUT_S: Final = 1.0


def receive_stamp_errors_us(count: int) -> list[float]:
    """Return by how many us a stamp taken after ``recvmsg`` is later than the kernel's, for datagrams 1 ms apart.

    This is what an application without kernel stamps would record. Raises OSError where the kernel stamps nothing.
    """
    errors = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        here.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        here.settimeout(_TIMEOUT_S)
        here.bind((_HOST, 0))
        target = here.getsockname()

        def send() -> None:
            for _ in range(count):
                there.sendto(b"event", target)
                time.sleep(_EVERY_S)

        sender = threading.Thread(target=send, name="send")
        sender.start()
        try:
            for _ in range(count):
                _data, control, _flags, _sender = here.recvmsg(64, 256)
                now_ns = time.time_ns()
                for _level, kind, value in control:
                    if kind == _SO_TIMESTAMPNS:
                        seconds, nanoseconds = _TIMESPEC.unpack_from(value)
                        errors.append((now_ns - seconds * 1_000_000_000 - nanoseconds) / 1e3)
        finally:
            sender.join()
    return errors[1:]  # the kernel stamps nothing until it has noticed that someone asks; the first is its "now"


class NtplibErrors:
    """Asks an NTP server with ntplib in the background; the server tells this machine's own time, so the truth is 0."""

    def __init__(self, server: str, every_s: float) -> None:
        host, _, port = server.rpartition(":")
        self.found_us: list[float] = []
        self.failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(host, int(port), every_s), name="ntplib")

    def __enter__(self) -> NtplibErrors:  # noqa: PYI034 - nobody subclasses it
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _ask(self, host: str, port: int, every_s: float) -> None:
        client = ntplib.NTPClient()
        while not self._stopping.wait(every_s):
            try:
                offset_s = float(client.request(host, version=4, port=port, timeout=_TIMEOUT_S).offset)
                self.found_us.append(abs(offset_s) * 1e6)
            except (OSError, ntplib.NTPException):  # noqa: PERF203 - each question is its own
                self.failures += 1
