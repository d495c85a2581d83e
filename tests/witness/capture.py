"""An AF_PACKET capture: the kernel's stamps of what one address receives, seen by nobody's agent."""

from __future__ import annotations

import contextlib
import ctypes
import json
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ETH_P_IP = 0x0800
PACKET_HOST = 0  # linux/if_packet.h: for us, as opposed to the copy made when it left
SO_ATTACH_FILTER = 26
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 32 << 20
HEADERS = 20 + 8  # IPv4 without options, UDP
TAG = 16


def only_to(host: str) -> bytes:
    """Return a classic BPF program that keeps what is sent to an IPv4 address (linux/filter.h)."""
    load_destination = (0x20, 0, 0, 16)
    is_host = (0x15, 0, 1, int.from_bytes(socket.inet_aton(host), "big"))
    keep, drop = (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)
    return b"".join(struct.pack("@HBBI", *step) for step in (load_destination, is_host, keep, drop))


@contextlib.contextmanager
def capture(interface: str, host: str) -> Iterator[socket.socket]:
    """Open a capture of the packets that ``host`` receives on ``interface``; they wait in the socket until read."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        program = only_to(host)
        steps = ctypes.create_string_buffer(program, len(program))
        sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
        )
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        sock.bind((interface, ETH_P_IP))
        yield sock


def events(sock: socket.socket) -> dict[int, int]:
    """Return the kernel's stamp in ns of every event that has been captured, by event id."""
    found = {}
    while True:
        try:
            data, control, _flags, address = sock.recvmsg(2048, 256)
        except BlockingIOError:
            return found
        body = json.loads(data[HEADERS + TAG :])
        if address[2] == PACKET_HOST and body["kind"] == "event":
            ((_level, _kind, value),) = control
            seconds, nanoseconds = struct.unpack_from("@ll", value)
            found[body["event_id"]] = seconds * 1_000_000_000 + nanoseconds
