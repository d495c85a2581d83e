"""One NTP exchange on a socket of its own, with kernel stamps for T1 and T4."""

from __future__ import annotations

import os
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node_agent import kernel_stamps
from node_agent.clocks import ntp_packet
from node_agent.instants import ClockPair, LocalClock, kernel_stamp, stepped, user_stamp
from node_agent.plan import NTP_PORT
from node_agent.records import CLOCK_STEP, KERNEL_RX, KERNEL_TX, NTP, OK, Sample, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = "timeout"
UNRESOLVED = "unresolved"
SEND_FAILED = "send_failed"
WRONG_ADDRESS = "wrong_address"


@dataclass(frozen=True)
class _Answer:
    """The reply that was believed, or why none was, and the local stamps around the exchange."""

    outcome: str
    departed: Stamp
    arrived: Stamp
    reply: ntp_packet.Reply | None = None


def split_address(server: str) -> tuple[str, int]:
    """Return host and port of "host:port" (the port may be left out: 123). Raises ValueError."""
    host, separator, port = server.rpartition(":")
    if not separator:
        return server, NTP_PORT
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"server: expected host:port, got {server!r}")
    return host, int(port)


def sample(server: str, clock: LocalClock, max_drift_ppm: float, timeout_s: float, new_id: Callable[[], str]) -> Sample:
    """Ask ``server`` ("host:port") once and return the sample, good or failed; never raises for what a network does."""
    begun = clock.pair()
    host, port = split_address(server)
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    except (OSError, UnicodeError):  # the latter: a label that no DNS name can have
        return _failed(server, "", UNRESOLVED, begun, clock.pair(), new_id())
    target = (str(address[0]), int(address[1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        kernel_stamps.stamp_departures(sock)
        kernel_stamps.stamp_arrivals(sock)
        answer = _exchange(sock, target, clock, timeout_s)
    named = f"{target[0]}:{target[1]}"
    if answer.reply is None:
        return _failed(server, named, answer.outcome, begun, clock.pair(), new_id())
    return _judge(server, named, answer, answer.reply, max_drift_ppm, new_id())


def _exchange(sock: socket.socket, target: tuple[str, int], clock: LocalClock, timeout_s: float) -> _Answer:
    transmit = os.urandom(8)
    deadline = time.monotonic() + timeout_s
    begun = clock.pair()
    left = user_stamp(begun)
    try:
        sock.sendto(ntp_packet.request(transmit), target)
    except OSError:
        return _Answer(SEND_FAILED, left, left)
    outcome = TIMEOUT
    departures = kernel_stamps.DepartureStamps(sock)
    while (wait_s := deadline - time.monotonic()) > 0:
        select.select([sock], [], [], wait_s)
        departed = departures.take()
        got = kernel_stamps.receive(sock, 1024)
        now = clock.pair()
        if departed:
            kernel_left = kernel_stamp(clock.wall_of_kernel(departed[0][1]), KERNEL_TX, now, begun)
            left = kernel_left if kernel_left.raw_ns is not None else left
        if got is None:
            continue
        arrived = user_stamp(now)
        if got.kernel_ns is not None:
            arrived = kernel_stamp(clock.wall_of_kernel(got.kernel_ns), KERNEL_RX, now, begun)
        if got.sender != target:
            outcome = WRONG_ADDRESS
            continue
        reply = ntp_packet.Rejected("oversized") if got.truncated else ntp_packet.parse(got.data, transmit, now.wall_ns)
        if isinstance(reply, ntp_packet.Rejected):
            outcome = reply.outcome
            if outcome == "wrong_origin":
                continue  # another exchange's answer, late or forged; ours may still come
            return _Answer(outcome, left, arrived)
        if stepped(begun, now) or arrived.raw_ns is None:
            return _Answer(CLOCK_STEP, left, arrived)
        return _Answer(OK, left, arrived, reply)
    return _Answer(outcome, left, left)


def _judge(
    server: str, address: str, answer: _Answer, reply: ntp_packet.Reply, max_drift_ppm: float, sample_id: str
) -> Sample:
    raw1, raw4 = answer.departed.raw_ns, answer.arrived.raw_ns
    if raw1 is None or raw4 is None:
        raise ValueError("an exchange that was believed has raw instants at both ends")
    error_ns = answer.departed.raw_error_ns + answer.arrived.raw_error_ns
    bound = ntp_packet.bound(raw1, raw4, reply, error_ns, max_drift_ppm)
    reference_at = (reply.t2_ns + reply.t3_ns) // 2
    common = {
        "sample_id": sample_id, "source": NTP, "server": server, "address": address,
        "raw_before_ns": raw1, "raw_after_ns": raw4, "wall_ns": answer.arrived.wall_ns,
        "t1_ns": answer.departed.wall_ns, "t2_ns": reply.t2_ns, "t3_ns": reply.t3_ns, "t4_ns": answer.arrived.wall_ns,
        "stratum": reply.stratum, "root_delay_ns": reply.root_delay_ns, "root_dispersion_ns": reply.root_dispersion_ns,
    }  # fmt: skip
    if isinstance(bound, ntp_packet.Rejected):
        return Sample(outcome=bound.outcome, **common)  # type: ignore[arg-type]  # one dict serves both constructions
    return Sample(
        outcome=OK,
        raw_at_ns=(raw1 + raw4) // 2,
        reference_at_ns=reference_at,
        offset_ns=reference_at - (answer.departed.wall_ns + answer.arrived.wall_ns) // 2,
        delay_ns=bound.delay_ns,
        bound_ns=bound.total_ns,
        bound_delay_ns=bound.half_delay_ns,
        bound_precision_ns=bound.precision_ns,
        bound_drift_ns=bound.drift_ns,
        bound_stamp_ns=bound.stamp_ns,
        **common,  # type: ignore[arg-type]  # as above
    )


def _failed(server: str, address: str, outcome: str, before: ClockPair, after: ClockPair, sample_id: str) -> Sample:
    return Sample(
        sample_id=sample_id,
        source=NTP,
        server=server,
        address=address,
        outcome=outcome,
        raw_before_ns=before.raw_ns,
        raw_after_ns=after.raw_ns,
        wall_ns=after.wall_ns,
    )
