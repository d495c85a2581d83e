"""Where a service listens, how it says so, and how it ends: the few lines both servers share.

A service is started by a parent that reads one line, ``listening udp HOST:PORT``, from its standard output; it ends on
SIGTERM and, with ``--die-with-parent``, when its parent does, however that happens.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h

EXIT_USAGE = 2

ADDRESS = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` or ``[HOST]:PORT``. Raises argparse.ArgumentTypeError naming what was expected."""
    match = ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return match["bracketed"] or match["plain"], int(match["port"])


def format_address(host: str, port: int) -> str:
    """Write an address as ``parse_address`` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a socket of ``kind`` bound to the address; port 0 lets the kernel choose. Raises OSError."""
    family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restarted service may bind past TIME_WAIT
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def announce(kind: str, bound: socket.socket) -> None:
    """Print the one line the parent waits for, with the actual port."""
    host, port = bound.getsockname()[:2]
    print(f"listening {kind} {format_address(host, port)}", flush=True)  # noqa: T201 - this line is the interface


def give_up(program: str, problem: str) -> NoReturn:
    """End the program with one line on standard error and exit code 2."""
    print(f"{program}: {problem}", file=sys.stderr)  # noqa: T201 - the one line a person sees
    raise SystemExit(EXIT_USAGE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options every service has."""
    listen_help = "the address to serve; port 0 lets the kernel choose"
    parser.add_argument("--listen", type=parse_address, required=True, metavar="HOST:PORT", help=listen_help)
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent ends, even if it is killed")


def positive(kind: type[int | float]) -> Callable[[str], float]:
    """Return a reader of an option's number above 0. It raises argparse.ArgumentTypeError naming what was expected."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < 1e9:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
        return value

    return read


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends. Raises OSError where the kernel refuses."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the kernel knew our wish
        raise SystemExit(0)
