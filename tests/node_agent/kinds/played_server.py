"""An NTP server that a test plays: a real socket in a thread, whose answers can be spoilt in every field."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time

from node_agent.contract.servers import join_address
from node_agent.datagrams import mmsg

S = 1_000_000_000
NTP_UNIX_S = 2_208_988_800


def stamp(unix_ns):
    seconds, ns = divmod(unix_ns, S)
    return struct.pack("!II", (seconds + NTP_UNIX_S) % (1 << 32), (ns << 32) // S)


def short(seconds):
    return round(seconds * 65_536)


def answer(
    request, *, leap=0, stratum=2, reference_id=b"\x0a\x00\x00\x07", set_s_ago=1.0, set_at=None, root_delay_s=0.0,
    root_dispersion_s=0.0,
):  # fmt: skip
    """Return the answer of a server that is at its best; a keyword spoils a field."""
    now_ns = time.time_ns()
    set_at = stamp(now_ns - round(set_s_ago * S)) if set_at is None else set_at
    return struct.pack(
        "!BBbbII4s8s8s8s8s", leap << 6 | 4 << 3 | 4, stratum, 6, -23, short(root_delay_s), short(root_dispersion_s),
        reference_id, set_at, request[40:48], stamp(now_ns), stamp(now_ns + 1_000),
    )  # fmt: skip


class PlayedServer:
    """Answers at ``address`` with what ``say(request)`` returns (None: silence), and keeps when it was asked, in s."""

    def __init__(self, say, host="127.0.67.1"):
        self._say = say
        self._sock = socket.socket(mmsg.family_of(host), socket.SOCK_DGRAM)
        self._sock.bind((host, 0))
        self.place = self._sock.getsockname()
        self.address = join_address(*self.place[:2])
        self.asked_s = []
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self):
        while True:
            readable, _, _ = select.select([self._sock, self._wake], [], [])
            if self._wake in readable:
                return
            request, client = self._sock.recvfrom(2_048)
            self.asked_s.append(time.monotonic())
            said = self._say(request)
            if said is not None:
                self._sock.sendto(said, client)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._waker.send(b"x")
        self._thread.join()
        for sock in (self._sock, self._wake, self._waker):
            sock.close()
