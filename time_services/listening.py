"""Where a service listens, how it says so, and how it ends: the few lines both servers share.

A service is started by a parent that reads one line, ``listening udp HOST:PORT``, from its standard output; it ends on
SIGTERM and, with ``--die-with-parent``, when its parent does, however that happens.
"""

from __future__ import annotations

import argparse
import ctypes
import ipaddress
import os
import re
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Ancillary = tuple[int, int, bytes]

PR_SET_PDEATHSIG = 1  # linux/prctl.h

EXIT_USAGE = 2
STANDARD_OUTPUT, STANDARD_ERROR = 1, 2

IP_PKTINFO = 8  # linux/in.h; the socket module does not name it before Python 3.14
IN_PKTINFO = struct.Struct("=i4s4s")  # interface, local address, destination of the header (ip(7))
IN6_PKTINFO = struct.Struct("=16si")  # address, interface (ipv6(7))
FIRST_MULTICAST = 224
ALL_MULTICAST_V6 = 0xFF
LINK_LOCAL_V6 = b"\xfe\x80"
ANCILLARY_BYTES = 256

ADDRESS = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` or ``[HOST]:PORT``. Raises argparse.ArgumentTypeError naming what was expected.

    A link-local IPv6 address names its interface (``fe80::1%eth0``). ``node_agent.contract.servers`` has the same rule.
    """
    match = ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    host = match["bracketed"] or match["plain"]
    try:
        link_local = ":" in host and "%" not in host and ipaddress.IPv6Address(host).is_link_local
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}") from None
    if link_local:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT with the interface, as in {host}%eth0, got {text!r}")
    return host, int(match["port"])


def format_address(host: str, port: int) -> str:
    """Write an address as ``parse_address`` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a socket of ``kind`` bound to the first address of ``host`` that is this machine's. Raises OSError.

    Port 0 lets the kernel choose.
    """
    problem: OSError | None = None
    for family, _, protocol, _, address in socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE):
        bound = socket.socket(family, kind, protocol)
        try:
            if kind == socket.SOCK_STREAM:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restarted one may bind past TIME_WAIT
            bound.bind(address)
        except OSError as error:
            bound.close()
            problem = problem or error
        else:
            return bound
    raise problem or OSError(f"{host} has no address")


def note_asked_address(bound: socket.socket) -> None:
    """Let the kernel tell with every datagram which of this machine's addresses it was sent to. Raises OSError.

    From a wildcard the kernel chooses an answer's source by the way back: a client that asked another address drops it.
    """
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        bound.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def from_asked_address(ancillary: Sequence[Ancillary]) -> list[Ancillary]:
    """Return the ancillary data of an answer (``sendmsg``) that leaves from the address that the question came to."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO) and len(data) >= IN_PKTINFO.size:
            _interface, local, destination = IN_PKTINFO.unpack_from(data)
            source = destination if destination[0] < FIRST_MULTICAST else local
            return [(level, kind, IN_PKTINFO.pack(0, source, bytes(4)))]  # interface 0: the routes decide as ever
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) and len(data) >= IN6_PKTINFO.size:
            address, interface = IN6_PKTINFO.unpack_from(data)
            if address[0] == ALL_MULTICAST_V6:
                return []
            link_local = address[:2] == LINK_LOCAL_V6
            return [(level, kind, IN6_PKTINFO.pack(address, interface if link_local else 0))]
    return []


def announce(kind: str, bound: socket.socket) -> None:
    """Print the one line the parent waits for, with the actual port."""
    host, port = bound.getsockname()[:2]
    say(f"listening {kind} {format_address(host, port)}", sys.stdout)


def open_streams() -> None:
    """Let standard streams that were closed (``>&-``) lead nowhere: else a socket gets their number and lines."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(STANDARD_OUTPUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(STANDARD_ERROR, "w", closefd=False)


def say(line: str, stream: TextIO) -> None:
    """Write a line at once. A stream whose other end is closed, or whose disk is full, loses it and ends no service."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # what is still in the buffer must not fail again at the end
        os.close(nowhere)


def cause(error: Exception) -> str:
    """Return in one line what went wrong: of what the system refused its words alone, without number and file."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(told.split())


def give_up(program: str, problem: str) -> NoReturn:
    """End the program with one line on standard error and exit code 2."""
    say(f"{program}: {problem}", sys.stderr)
    raise SystemExit(EXIT_USAGE)


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong; argparse puts the whole usage in front."""

    def error(self, message: str) -> NoReturn:
        """End the program with one line and exit code 2."""
        give_up(self.prog, message.removeprefix("argument "))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options every service has."""
    listen_help = "the address to serve; port 0 lets the kernel choose"
    parser.add_argument("--listen", type=parse_address, required=True, metavar="HOST:PORT", help=listen_help)
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent ends, even if it is killed")


LARGEST = 1e9  # of an option's number


def positive(kind: type[int | float]) -> Callable[[str], float]:
    """Return a reader of an option's number above 0. It raises argparse.ArgumentTypeError naming what was expected."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < LARGEST:
            number = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"expected a {number} above 0 and below {LARGEST:g}, got {text!r}")
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
