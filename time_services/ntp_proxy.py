"""An NTP proxy for clients that cannot reach the server: ``python -m time_services.ntp_proxy --map LISTEN=UPSTREAM``.

It answers nothing of its own: what a client gets is what the upstream said to that very request. On the way up a
request carries a random token in place of its transmit timestamp, which a server echoes as origin (RFC 5905, section
7.3). Only an answer from the upstream's own address that echoes the token of a waiting request goes down, with the
client's own timestamp put back: a late, repeated, foreign or guessed answer finds nobody to reach. The time a packet
spends here is path delay: it widens a client's bound and never breaks it.

Requests go up as plain 48-byte packets: a MAC or extension field would be one of the client's, which the token breaks.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import secrets
import selectors
import signal
import socket
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from time_services import proxy_maps
from time_services.listening import (
    ANCILLARY_BYTES,
    OneLineParser,
    announce,
    bound_socket,
    die_with_parent,
    format_address,
    from_asked_address,
    give_up,
    note_asked_address,
    open_streams,
    say,
)
from time_services.ntp_packet import PacketError, read_request, read_server_origin, with_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LARGEST_DATAGRAM = 2048
DEADLINE_S = 2.0
CAPACITY = 1024
PER_CLIENT = 64
SILENT = 2  # requests in a row without an answer: then the upstream's next address is asked
AT_ONCE = 64  # packets of one socket before the others have their turn


@dataclass
class Counts:
    """What happened so far, in packets."""

    forwarded: int = 0
    answered: int = 0
    expired: int = 0  # requests whose answer did not come in time
    not_a_request: int = 0
    not_an_answer: int = 0
    unmatched: int = 0  # answers that nobody waits for: late, repeated or made up
    too_many: int = 0  # requests beyond what is kept in mind, of one client or of all
    upstream_refused: int = 0
    send_errors: int = 0


@dataclass(frozen=True)
class Waiting:
    """One request under way: who asked, at which address, the timestamp to echo, until when (``time.monotonic_ns``)."""

    client: Any
    way_back: Any
    transmit: bytes
    deadline_ns: int


class NtpProxy:
    """Passes requests that arrive at ``front`` to the server that ``back`` is connected to, and its answers back.

    Where the server's name has several addresses there is a ``back`` for each. One that refuses, or does not answer
    ``SILENT`` requests in a row, hands over to the next.
    """

    def __init__(
        self,
        front: socket.socket,
        back: socket.socket | Sequence[socket.socket],
        *,
        deadline_s: float = DEADLINE_S,
        capacity: int = CAPACITY,
        per_client: int = PER_CLIENT,
    ) -> None:
        self.counts = Counts()
        self._front = front
        self._backs = [back] if isinstance(back, socket.socket) else list(back)
        self._asked = 0  # which of them is asked
        self._unanswered = 0
        self._deadline_ns = int(deadline_s * 1e9)
        self._capacity, self._per_client = capacity, per_client
        self._waiting: OrderedDict[bytes, Waiting] = OrderedDict()  # oldest first: all wait equally long
        self._asked_by: dict[str, int] = {}
        note_asked_address(front)
        for bound in (front, *self._backs):
            bound.setblocking(False)

    def __len__(self) -> int:
        return len(self._waiting)

    def register(self, selector: selectors.BaseSelector) -> None:
        """Let ``selector`` call this proxy; the key's data is the function to call."""
        selector.register(self._front, selectors.EVENT_READ, self._ask)
        for back in self._backs:
            selector.register(back, selectors.EVENT_READ, functools.partial(self._answer, back))

    def next_deadline_ns(self) -> int | None:
        """Return when the oldest request is given up, or None if nobody waits."""
        return next(iter(self._waiting.values())).deadline_ns if self._waiting else None

    def expire(self) -> None:
        """Forget the requests whose time is over."""
        now = time.monotonic_ns()
        while self._waiting and next(iter(self._waiting.values())).deadline_ns <= now:
            token, _ = next(iter(self._waiting.items()))
            self._take(token)
            self.counts.expired += 1
            self._unanswered += 1
            if self._unanswered >= SILENT:
                self._ask_the_next()

    def _ask_the_next(self) -> None:
        self._asked = (self._asked + 1) % len(self._backs)
        self._unanswered = 0

    def _ask(self) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram, ancillary, _, client = self._front.recvmsg(LARGEST_DATAGRAM, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error that an earlier answer caused
                self.counts.send_errors += 1
                continue
            self._forward(datagram, client, from_asked_address(ancillary))

    def _forward(self, datagram: bytes, client: Any, way_back: Any) -> None:
        try:
            request = read_request(datagram)
        except PacketError:
            self.counts.not_a_request += 1
            return
        self.expire()
        host = client[0]
        if len(self._waiting) >= self._capacity or self._asked_by.get(host, 0) >= self._per_client:
            self.counts.too_many += 1
            return
        token = secrets.token_bytes(8)
        while token in self._waiting:
            token = secrets.token_bytes(8)
        if not self._ask_upstream(datagram[:24] + bytes(16) + token):
            self.counts.send_errors += 1
            return
        self._waiting[token] = Waiting(client, way_back, request.transmit, time.monotonic_ns() + self._deadline_ns)
        self._asked_by[host] = self._asked_by.get(host, 0) + 1
        self.counts.forwarded += 1

    def _ask_upstream(self, request: bytes) -> bool:
        for _ in range(1 + len(self._backs)):
            try:
                self._backs[self._asked].send(request)
            except ConnectionRefusedError:  # noqa: PERF203 - the upstream's word on an earlier request; ask again
                self.counts.upstream_refused += 1
                self._ask_the_next()
            except OSError:
                if len(self._backs) == 1:
                    return False
                self._ask_the_next()
            else:
                return True
        return False

    def _answer(self, back: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram = back.recv(LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                self.counts.upstream_refused += 1
                if back is self._backs[self._asked]:
                    self._ask_the_next()
                continue
            except OSError:
                self.counts.send_errors += 1
                continue
            self._return(datagram)

    def _return(self, datagram: bytes) -> None:
        try:
            token = read_server_origin(datagram)
        except PacketError:
            self.counts.not_an_answer += 1
            return
        self.expire()
        asked = self._take(token)
        if asked is None:
            self.counts.unmatched += 1
            return
        self._unanswered = 0
        try:
            self._front.sendmsg([with_origin(datagram, asked.transmit)], asked.way_back, 0, asked.client)
        except OSError:  # e.g. a forged source address; it must not end the service of the others
            self.counts.send_errors += 1
        else:
            self.counts.answered += 1

    def _take(self, token: bytes) -> Waiting | None:
        asked = self._waiting.pop(token, None)
        if asked is not None:
            host = asked.client[0]
            self._asked_by[host] -= 1
            if not self._asked_by[host]:
                del self._asked_by[host]
        return asked


@contextlib.contextmanager
def signals_as_input(selector: selectors.BaseSelector, heard: dict[int, Callable[[], None]]) -> Iterator[None]:
    """Let ``selector`` call ``heard[number]`` for a signal, between packets: a handler would cut into what runs."""
    wake, waker = socket.socketpair()
    came: set[int] = set()

    def call() -> None:
        wake.recv(4096)
        for number in sorted(came):
            came.discard(number)
            heard[number]()

    with wake, waker:
        waker.setblocking(False)
        selector.register(wake, selectors.EVENT_READ, call)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)  # a full one wakes all the same
        for number in heard:
            signal.signal(number, lambda number, _frame: came.add(number))
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)


def serve(proxies: Sequence[NtpProxy], selector: selectors.BaseSelector) -> NoReturn:
    """Serve all proxies until something that ``selector`` calls raises SystemExit."""
    for proxy in proxies:
        proxy.register(selector)
    while True:
        deadlines = [at for proxy in proxies if (at := proxy.next_deadline_ns()) is not None]
        wait_s = max(0.0, (min(deadlines) - time.monotonic_ns()) / 1e9) if deadlines else None
        for key, _ in selector.select(wait_s):
            call: Callable[[], None] = key.data
            call()
        for proxy in proxies:
            proxy.expire()


def connected_socket(host: str, port: int) -> socket.socket:
    """Return a UDP socket that hears nobody but ``host:port``: the kernel drops what others send. Raises OSError."""
    sockets = connected_sockets(host, port)
    for other in sockets[1:]:
        other.close()
    return sockets[0]


def connected_sockets(host: str, port: int) -> list[socket.socket]:
    """Return such a socket for every address of ``host`` that there is a way to, at least one. Raises OSError."""
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    for family, _, protocol, _, address in found:
        connected = socket.socket(family, socket.SOCK_DGRAM, protocol)
        try:
            connected.connect(address)
        except OSError as error:
            connected.close()
            problem = problem or error
        else:
            sockets.append(connected)
    if not sockets:
        raise problem or OSError(f"{host} has no address")
    return sockets


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and at most 3600, got {text!r}")
    return value


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then print the counts of every map on standard error; SIGUSR1 prints them too."""
    open_streams()
    parser = OneLineParser(prog="ntp_proxy", description="Pass NTP requests on to a server and answers back.")
    map_help = "where to listen and whom to ask, each HOST:PORT, or a YAML file of LISTEN: UPSTREAM; may be repeated"
    parser.add_argument(
        "--map",
        dest="maps",
        type=proxy_maps.read,
        action="extend",
        required=True,
        metavar="LISTEN=UPSTREAM|FILE",
        help=map_help,
    )
    parser.add_argument(
        "--deadline-s",
        type=_positive,
        default=DEADLINE_S,
        metavar="S",
        help=f"how long an answer is waited for (default: {DEADLINE_S:g})",
    )
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent ends, even if it is killed")
    options = parser.parse_args(argv)
    if conflict := proxy_maps.conflict(options.maps):
        parser.error(f"--map: {conflict}")
    if options.die_with_parent:
        die_with_parent()
    with contextlib.ExitStack() as sockets:
        proxies: dict[str, NtpProxy] = {}
        fronts = []
        for listen, upstream in options.maps:
            what = f"listen on udp {format_address(*listen)}"
            try:
                front = sockets.enter_context(bound_socket(listen[0], listen[1], socket.SOCK_DGRAM))
                what = f"ask udp {format_address(*upstream)}"
                backs = [sockets.enter_context(back) for back in connected_sockets(*upstream)]
            except OSError as error:
                give_up("ntp_proxy", f"cannot {what}: {error.strerror}")
            name = f"{format_address(*front.getsockname()[:2])}={format_address(*upstream)}"
            proxies[name] = NtpProxy(front, backs, deadline_s=options.deadline_s)
            fronts.append(front)

        def tell() -> None:
            for name, proxy in proxies.items():
                counts = " ".join(f"{key}={count}" for key, count in vars(proxy.counts).items())
                say(f"ntp_proxy: {name} {counts} waiting={len(proxy)}", sys.stderr)

        def end() -> NoReturn:
            raise SystemExit(0)

        selector = sockets.enter_context(selectors.DefaultSelector())
        sockets.enter_context(
            signals_as_input(selector, {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGUSR1: tell})
        )
        for front in fronts:
            announce("udp", front)
        try:
            serve(list(proxies.values()), selector)
        finally:
            tell()


if __name__ == "__main__":
    main()
