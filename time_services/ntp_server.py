"""An NTP server (RFC 5905, server mode): ``python -m time_services.ntp_server --listen HOST:PORT`` serves this clock.

One process, one blocking loop, so that nothing else delays an answer. T2 is the kernel's receive stamp, so the time a
request waits for this process counts as the server's, not as path delay; T3 is read immediately before the answer is
sent. An answer leaves from the address that was asked, also where the socket is bound to every one of a host's.

What is served is this host's clock, whatever sets that: the reference id is ``XHST``, not that of a real reference
(RFC 5905 figure 12: X is for experiments), and whoever asks several such servers does not hear UTC.
"""

from __future__ import annotations

import argparse
import gc
import math
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from time_services.listening import (
    ANCILLARY_BYTES,
    OneLineParser,
    add_arguments,
    announce,
    bound_socket,
    cause,
    die_with_parent,
    format_address,
    from_asked_address,
    give_up,
    note_asked_address,
    open_streams,
    say,
)
from time_services.ntp_packet import Identity, PacketError, read_request, short_up, write_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
TIMESPEC = struct.Struct("=qq")  # as the kernel writes it on 64-bit machines
LARGEST_DATAGRAM = 2048
PRECISION_READS = 200
HOST_CLOCK = b"XHST"


@dataclass
class Counts:
    """What happened so far, in packets."""

    answered: int = 0
    ignored: int = 0
    send_errors: int = 0
    user_stamps: int = 0


def measured_precision() -> int:
    """Return the clock's precision as log2 s, rounded up: the least time between two reads (RFC 5905, section 7.3)."""
    shortest_ns = 0
    for _ in range(PRECISION_READS):
        first = time.time_ns()
        while (second := time.time_ns()) == first:
            pass
        if second > first:  # a step backwards is no precision
            shortest_ns = min(shortest_ns or second - first, second - first)
    return math.ceil(math.log2(shortest_ns / 1e9))


def kernel_stamp(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Return the kernel's receive stamp in ns since 1970, or None where the datagram carries none."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None


@dataclass(frozen=True)
class Lie:
    """A server wrong on purpose, to test a judge: by ``error_ns`` from ``after_s`` after its start on."""

    error_ns: int
    after_s: float
    started_s: float

    def now_ns(self) -> int:
        """Return by how much the clock served is off just now, in ns."""
        return self.error_ns if time.monotonic() - self.started_s >= self.after_s else 0


class NtpServer:
    """Answers the requests that arrive at one bound UDP socket."""

    def __init__(self, bound: socket.socket, stratum: int = 1, lie: Lie | None = None) -> None:
        precision = measured_precision()
        self.socket = bound
        self.lie = lie
        self.counts = Counts()
        self.ending = False
        self.waiting = False
        # The clock served *is* the reference: no root delay, and nothing disperses but the reading of it.
        self.identity = Identity(stratum, precision, 0, short_up(math.ceil(2.0**precision * 1e9)), HOST_CLOCK)
        note_asked_address(bound)
        try:
            bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError as error:  # T2 is then later than the receipt, which widens a bound but never breaks it
            say(f"ntp_server: no kernel receive stamps, reason={cause(error)}", sys.stderr)

    def serve_forever(self) -> None:
        """Answer until told to end."""
        while not self.ending:
            self.serve_one()

    def end(self) -> None:
        """End, from a signal handler: at once while waiting, else after the answer under way is sent and counted."""
        self.ending = True
        if self.waiting:
            raise SystemExit(0)

    def serve_one(self) -> None:
        """Wait for one datagram and answer it, or count why not."""
        self.waiting = True
        datagram, ancillary, _, client = self.socket.recvmsg(LARGEST_DATAGRAM, ANCILLARY_BYTES)
        self.waiting = False
        received_ns = kernel_stamp(ancillary)
        if received_ns is None:
            received_ns = time.time_ns()
            self.counts.user_stamps += 1
        try:
            request = read_request(datagram)
        except PacketError:
            self.counts.ignored += 1
            return
        self._answer(request, received_ns, client, from_asked_address(ancillary))

    def _answer(self, request: Any, received_ns: int, client: Any, way_back: Any) -> None:
        error_ns = self.lie.now_ns() if self.lie else 0
        try:
            answer = write_answer(request, self.identity, received_ns + error_ns, time.time_ns() + error_ns)
            self.socket.sendmsg([answer], way_back, 0, client)
        except OSError:  # e.g. a forged source address; it must not end the service of the others
            self.counts.send_errors += 1
        else:
            self.counts.answered += 1


LARGEST_ERROR_MS = 1e12  # 31 years, as in a cluster file


def _error_ms(text: str) -> float:
    return _number(text, -LARGEST_ERROR_MS, LARGEST_ERROR_MS)


def _after_s(text: str) -> float:
    return _number(text, 0.0, LARGEST_ERROR_MS)


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}, got {text!r}")
    return number


def stratum(text: str) -> int:
    """Read a stratum of 1 to 15. Raises argparse.ArgumentTypeError."""
    if not text.isdigit() or not 1 <= int(text) <= 15:
        raise argparse.ArgumentTypeError(f"expected 1 to 15, got {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then print the counts on standard error."""
    open_streams()
    parser = OneLineParser(prog="ntp_server", description="Serve this host's clock by NTP.")
    add_arguments(parser)
    parser.add_argument("--stratum", type=stratum, default=1, help="the stratum to claim, 1 to 15 (default: 1)")
    parser.add_argument(
        "--error-ms", type=_error_ms, default=0.0, help="be wrong by so much on purpose, to test a judge"
    )
    parser.add_argument("--error-after", type=_after_s, default=None, metavar="S", help="only from so many seconds on")
    options = parser.parse_args(argv)
    if options.error_after is not None and not options.error_ms:
        parser.error("--error-after: expected --error-ms beside it, got none")
    if options.die_with_parent:
        die_with_parent()
    host, port = options.listen
    try:
        bound = bound_socket(host, port, socket.SOCK_DGRAM)
    except OSError as error:
        give_up("ntp_server", f"cannot listen on udp {format_address(host, port)}: {error.strerror}")
    with bound:
        lie = (
            Lie(round(options.error_ms * 1e6), options.error_after or 0.0, time.monotonic())
            if options.error_ms
            else None
        )
        server = NtpServer(bound, options.stratum, lie)
        gc.freeze()  # nothing below makes reference cycles, and a collection in the wrong moment is jitter
        gc.disable()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _signal, _frame: server.end())
        announce("udp", bound)
        try:
            server.serve_forever()
        finally:
            counts = " ".join(f"{name}={count}" for name, count in vars(server.counts).items())
            say(f"ntp_server: ended {counts}", sys.stderr)


if __name__ == "__main__":
    main()
