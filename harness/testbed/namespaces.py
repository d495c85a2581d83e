"""Reaching into a host's namespaces from outside: a program run there, and a socket made there."""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from harness.testbed.needs import program

CLONE_NEWNET: Final = 0x40000000  # linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)


def enter_all(pid: int, *, user_id: int | None = None, home: str = "/") -> list[str]:
    """Return the words that run what follows as a process of the host whose first process is ``pid``."""
    words = [program("nsenter"), f"--target={pid}", "--net", "--uts", "--mount", "--pid"]
    if user_id is not None:
        words += [f"--setuid={user_id}", f"--setgid={user_id}"]
    return [*words, "env", f"--chdir={home}"]  # nsenter's own --wd means the folder outside


def enter_network(pid: int) -> list[str]:
    """Return the words that run what follows in the host's network, and end it with the host; files are ours."""
    return [program("nsenter"), f"--target={pid}", "--net", "--pid"]


def socket_in(pid: int, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    """Return a socket of the network that process ``pid`` lives in; it stays there. Raises OSError.

    setns(2) moves one thread, so a thread goes there, makes the socket and ends.
    """

    def make() -> socket.socket:
        namespace = os.open(Path("/proc", str(pid), "ns/net"), os.O_RDONLY)
        try:
            if _libc.setns(namespace, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"setns: {os.strerror(number)}")
            return socket.socket(family, kind)
        finally:
            os.close(namespace)

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(make).result()
