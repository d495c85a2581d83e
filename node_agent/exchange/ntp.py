"""One NTP exchange, on sockets of its own, with kernel stamps for T1 and T4, and what is kept of it for the next."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from node_agent.clocks import ntp_packet, ntp_sample, self_report
from node_agent.clocks.base import Refused
from node_agent.contract.records import CLOCK_STEP, KERNEL_RX, KERNEL_TX, NTP, OK, Sample, Stamp
from node_agent.contract.servers import join_address, split_address
from node_agent.datagrams import kernel_stamps, mmsg
from node_agent.exchange.asking import Asker, Pace, Setting
from node_agent.local.instants import ClockPair, LocalClock, kernel_stamp, stepped, user_stamp
from node_agent.local.resolver import UNRESOLVED, Address, LookUpError, udp_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from node_agent.contract.plan import NtpPlan

TIMEOUT = "timeout"
SEND_FAILED = "send_failed"
WRONG_ADDRESS = "wrong_address"
MAX_ADDRESSES: Final = 4  # asked in one exchange; a name with more has the others asked by the next ones
_MAX_SLOWER: Final = 1 << 17  # RFC 5905 section 7.2, MAXPOLL: in seconds, more than any run
_LOCAL_FAULTS: Final = frozenset({CLOCK_STEP})


def askers(plan: NtpPlan, setting: Setting) -> list[Asker]:
    """Return one asker per server."""
    limits = self_report.limits_of(setting.clocks, own_clock=plan.own_clock)
    places = [
        NtpServer(server, setting.clock, setting.clocks.max_drift_ppm, plan.timeout_s, limits)
        for server in plan.servers
    ]
    return [
        # A busy node is woken too late for some of its own stamps; and who predicts from samples needs some.
        Asker(server, partial(place.ask, setting.new_id), place, tries=12, enough=4)
        for server, place in zip(plan.servers, places)
    ]


@dataclass(frozen=True)
class _Answer:
    """The reply that was believed, or why none was, and the local stamps around the exchange."""

    outcome: str
    departed: Stamp
    arrived: Stamp
    reply: ntp_packet.Reply | None = None
    payload: str = ""


class NtpServer(Pace):
    """One server, asked again and again at the addresses that its name has.

    The address that answered is asked first. One that refused to be asked (kiss codes DENY, RSTR) never is again, and
    one that asks to be asked less often (RATE) is: ``slower`` doubles (RFC 5905 section 7.4).
    """

    def __init__(
        self,
        server: str,
        clock: LocalClock,
        max_drift_ppm: float,
        timeout_s: float,
        limits: self_report.Limits | None = self_report.USUAL,
    ) -> None:
        self._server = server
        self._place = split_address(server)
        self._clock = clock
        self._max_drift_ppm = max_drift_ppm
        self._timeout_s = timeout_s
        self._limits = limits
        self._known: tuple[Address, ...] = ()
        self._answers: Address | None = None
        self._refused: set[Address] = set()
        self._turn = 0

    def ask(self, new_id: Callable[[], str]) -> list[Sample]:
        """Ask once; return a sample per address that was asked, the one that counts last; none where all refused.

        Never raises for what a network does, and takes no longer than the timeout, look-up included.
        """
        begun = self._clock.pair()
        deadline_s = time.monotonic() + self._timeout_s
        try:
            targets = self._targets()
        except LookUpError as error:
            return [_failed(self._server, "", error.outcome, begun, self._clock.pair(), new_id())]
        samples = []
        with contextlib.ExitStack() as sockets:
            for attempt, answer in _exchange(targets, self._clock, deadline_s, sockets):
                samples.append(self._sample(attempt, answer, new_id()))
                if self._is_over(attempt.target, samples[-1]):
                    break
        if targets and not samples:  # the look-up took all the time
            samples.append(_failed(self._server, "", UNRESOLVED, begun, self._clock.pair(), new_id()))
        self.ended = bool(self._refused) and self._refused.issuperset(self._known)
        return samples

    def _targets(self) -> list[Address]:
        """Return the addresses to ask, in turn. Raises LookUpError."""
        wait_s = self._timeout_s / 2 if self._answers else self._timeout_s
        try:
            self._known = udp_addresses(*self._place, wait_s)
        except LookUpError:
            if self._answers is None:  # one that answered is still there when the name service is not
                raise
        usable = [target for target in self._known if target not in self._refused]
        if self._answers in usable:
            usable.remove(self._answers)
            others = self._next(usable, MAX_ADDRESSES - 1)
            return [self._answers, *others]
        return self._next(usable, MAX_ADDRESSES)

    def _next(self, usable: list[Address], count: int) -> list[Address]:
        if len(usable) <= count:
            return usable
        start = self._turn % len(usable)
        self._turn += count
        return (usable + usable)[start : start + count]

    def _sample(self, attempt: _Attempt, answer: _Answer, sample_id: str) -> Sample:
        named = join_address(*attempt.target)
        if answer.reply is None:
            now = self._clock.pair()
            return _failed(self._server, named, answer.outcome, attempt.begun, now, sample_id, answer.payload)
        ends, limit_ppm = (answer.departed, answer.arrived), self._max_drift_ppm
        sample = ntp_sample.sample_of(self._server, named, *ends, answer.reply, limit_ppm, sample_id, answer.payload)
        if sample.outcome != OK:
            return sample
        reason = self_report.unfit(answer.reply.report, self._limits, sample.bound_ns or 0)
        return self_report.without_numbers(sample, reason) if reason else sample

    def _is_over(self, target: Address, sample: Sample) -> bool:
        """Remember what an address did; tell whether the others need not, or must not, be asked in its place."""
        if sample.outcome == OK:
            self._answers = target
        elif sample.outcome == self_report.KISS_RATE:
            self.slower = min(2 * self.slower, _MAX_SLOWER)
        elif sample.outcome in self_report.KISS_ENDS:
            self._refused.add(target)
        else:
            return sample.outcome in _LOCAL_FAULTS
        return True


class _Attempt:
    """One question to one address, on a socket of its own, so that its first departure is the question's."""

    def __init__(self, sock: socket.socket, target: Address, clock: LocalClock) -> None:
        self.sock = sock
        self.target = target
        self._clock = clock
        self._transmit = os.urandom(8)
        self._outcome = TIMEOUT
        sock.setblocking(False)
        kernel_stamps.stamp_departures(sock)
        kernel_stamps.stamp_arrivals(sock)
        self._departures = kernel_stamps.DepartureStamps(sock)
        self.begun = clock.pair()
        self._left = user_stamp(self.begun)

    def send(self) -> _Answer | None:
        """Send the question; return the answer that there can be none where it cannot be sent."""
        try:
            self.sock.sendto(ntp_packet.request(self._transmit), self.target)
        except OSError:
            return _Answer(SEND_FAILED, self._left, self._left)
        return None

    def hear(self) -> _Answer | None:
        """Take what has come; return None where the answer may still come."""
        departed = self._departures.take()
        datagram = kernel_stamps.receive(self.sock, 1024)
        now = self._clock.pair()
        if departed:
            left = kernel_stamp(self._clock.wall_of_kernel(departed[0][1]), KERNEL_TX, now, self.begun)
            self._left = left if left.raw_ns is not None else self._left
        if datagram is None:
            return None
        arrived = user_stamp(now)
        if datagram.kernel_ns is not None:
            arrived = kernel_stamp(self._clock.wall_of_kernel(datagram.kernel_ns), KERNEL_RX, now, self.begun)
        if datagram.sender != self.target:
            self._outcome = WRONG_ADDRESS
            return None
        reply = ntp_packet.parse(datagram.data, self._transmit, now.wall_ns)
        if datagram.truncated:
            reply = Refused("oversized")
        if isinstance(reply, Refused):
            self._outcome = reply.outcome
            if reply.outcome == "wrong_origin":
                return None  # another exchange's answer, late or forged; ours may still come
            return _Answer(reply.outcome, self._left, arrived, payload=ntp_packet.payload(datagram.data))
        if stepped(self.begun, now) or arrived.raw_ns is None:
            return _Answer(CLOCK_STEP, self._left, arrived, payload=ntp_packet.payload(datagram.data))
        return _Answer(OK, self._left, arrived, reply, ntp_packet.payload(datagram.data))

    def over(self) -> _Answer:
        """Return why there is no answer, now that its time is over."""
        return _Answer(self._outcome, self._left, self._left)


def _exchange(
    targets: Sequence[Address], clock: LocalClock, deadline_s: float, sockets: contextlib.ExitStack
) -> Iterator[tuple[_Attempt, _Answer]]:
    """Ask the targets in turn until the caller has enough; yield each question with what came of it.

    The next one is asked when the one before failed, or has had its share of the time; its answer may still come then.
    Who stops listening to this generator has the answer, so questions still open then are told first, as timeouts.
    """
    waiting: list[_Attempt] = []
    left = list(targets)
    next_s = time.monotonic()
    while left or waiting:
        now_s = time.monotonic()
        if now_s >= deadline_s:
            break
        if left and (now_s >= next_s or not waiting):
            next_s = now_s + (deadline_s - now_s) / len(left)
            sock = sockets.enter_context(_socket_for(target := left.pop(0)))
            attempt = _Attempt(sock, target, clock)
            failed = attempt.send()
            if failed is None:
                waiting.append(attempt)
            else:
                yield attempt, failed
            continue
        until_s = min(deadline_s, next_s) if left else deadline_s
        readable, _, _ = select.select([attempt.sock for attempt in waiting], [], [], max(until_s - now_s, 0.0))
        for attempt in [attempt for attempt in waiting if attempt.sock in readable]:
            answer = attempt.hear()
            if answer is None:
                continue
            waiting.remove(attempt)
            if answer.outcome in {OK, *self_report.KISS_ENDS, self_report.KISS_RATE}:
                yield from ((other, other.over()) for other in waiting)
                waiting = []
            yield attempt, answer
            next_s = time.monotonic()  # nothing to wait for any more: the next one's turn
            break
    yield from ((attempt, attempt.over()) for attempt in waiting)


def _socket_for(target: Address) -> socket.socket:
    """Return a socket of a target's family; on a machine without IPv6 one that cannot send there, and will say so."""
    try:
        return socket.socket(mmsg.family_of(target[0]), socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _failed(
    server: str, address: str, outcome: str, before: ClockPair, after: ClockPair, sample_id: str, payload: str = ""
) -> Sample:
    return Sample(
        sample_id=sample_id,
        source=NTP,
        server=server,
        address=address,
        outcome=outcome,
        raw_before_ns=before.raw_ns,
        raw_after_ns=after.raw_ns,
        wall_ns=after.wall_ns,
        payload=payload,
    )
