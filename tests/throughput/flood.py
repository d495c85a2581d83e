"""Floods a UDP address with foreign datagrams at a steady rate: ``python flood.py SOURCE HOST PORT RATE``.

It goes on until SIGTERM, then prints how many the kernel took, and in how many seconds of somebody listening.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time

BURST = 50
TYPED = b'{"event_id":1,"coordinator_timestamp_ns":2,"sequence_number":3}'
DATAGRAMS = [
    TYPED,
    b"x",
    os.urandom(16),
    os.urandom(64),
    os.urandom(16) + TYPED[:-1] + b',"run_id":"%b"}' % (b"0" * 32),
]


def main() -> None:
    """Send bursts at the rate; what meets no listener does not count."""
    source, host, port, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    sent, listened_s = 0, 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.connect((host, port))
        due = time.monotonic()
        while not over.is_set():
            begun, before = time.monotonic(), sent
            with contextlib.suppress(OSError):  # an earlier one met nobody
                for datagram in DATAGRAMS * (BURST // len(DATAGRAMS)):
                    sock.send(datagram)
                    sent += 1
            due = max(due, begun - 0.1) + BURST / rate  # what a busy machine held up is made good, but not for ever
            time.sleep(max(0.0, due - time.monotonic()))
            if sent - before == BURST:
                listened_s += time.monotonic() - begun
    sys.stdout.write(f"{sent} {listened_s:.6f}\n")


if __name__ == "__main__":
    main()
