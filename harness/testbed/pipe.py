"""Connect standard input and output to a TCP address: what ``nc HOST PORT`` does, where there is none."""

from __future__ import annotations

import os
import socket
import sys
import threading

CONNECT_TIMEOUT_S = 10
CHUNK = 65536


def copy_in(peer: socket.socket) -> None:
    """Pass standard input on to its end."""
    while data := os.read(0, CHUNK):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


def main() -> None:
    """Pass bytes both ways until the peer ends."""
    peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=CONNECT_TIMEOUT_S)
    peer.settimeout(None)
    threading.Thread(target=copy_in, args=(peer,), daemon=True).start()
    while data := peer.recv(CHUNK):
        while data:
            data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
