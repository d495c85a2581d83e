"""NTP on the wire (RFC 5905): the request, every reason to reject a reply, and the bound of a good one."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import ntplib

from node_agent.clocks.base import Refused
from node_agent.clocks.holdover import drift_bound_ns
from node_agent.clocks.self_report import HOST_CLOCK, SelfReport

_HEADER = struct.Struct("!BBBbII4s8s8s8s8s")
PACKET_SIZE = _HEADER.size  # 48
_ERA_NS = (1 << 32) * 1_000_000_000
_UNIX_FROM_NTP_S: int = ntplib.NTP.NTP_DELTA  # seconds from 1900 to 1970
_CLIENT_V4 = (4 << 3) | 3
_SERVER_MODE = 4
_UNSYNCHRONISED = 3
_MAX_STRATUM = 15


@dataclass(frozen=True)
class Reply:
    """The fields of a good reply: T2 rounded up and T3 rounded down to ns, so that the interval only widens.

    ``reference_ns`` is when the server's clock was last set, None where it says never.
    """

    t2_ns: int
    t3_ns: int
    stratum: int
    precision_ns: int
    root_delay_ns: int
    root_dispersion_ns: int
    reference_id: bytes = bytes(4)
    reference_ns: int | None = None

    @property
    def report(self) -> SelfReport:
        """Return what the server says of its own state, at T3."""
        roots = (self.root_delay_ns, self.root_dispersion_ns)
        return SelfReport(self.stratum, self.reference_id, self.reference_ns, self.t3_ns, *roots)


@dataclass(frozen=True)
class Bound:
    """The half-width of an exchange against its server, by component, in ns."""

    delay_ns: int
    half_delay_ns: int
    precision_ns: int
    drift_ns: int
    stamp_ns: int

    @property
    def total_ns(self) -> int:
        """Return the sum of the components; 1 ns covers the integer midpoints."""
        return self.half_delay_ns + self.precision_ns + self.drift_ns + self.stamp_ns + 1


def request(transmit: bytes) -> bytes:
    """Return a version 4 client request; ``transmit`` is 8 random bytes that a true answer must echo."""
    return _HEADER.pack(_CLIENT_V4, 0, 0, 0, 0, 0, b"\0" * 4, b"\0" * 8, b"\0" * 8, b"\0" * 8, transmit)


def parse(data: bytes, transmit: bytes, near_ns: int) -> Reply | Refused:
    """Return the reply to the request that carried ``transmit``, or the reason to reject it.

    ``near_ns`` is the local time (unix ns); it settles only which 136-year NTP era the stamps are of.
    """
    if len(data) < PACKET_SIZE:
        return Refused("short")
    if len(data) > PACKET_SIZE and (len(data) - PACKET_SIZE) % 4:
        return Refused("oversized")  # extension fields and MACs come in words of four bytes
    first, stratum, _poll, precision, root_delay, root_dispersion, reference_id, set_at, origin, receive, sent = (
        _HEADER.unpack_from(data)
    )
    if origin != transmit:
        return Refused("wrong_origin")
    if first & 7 != _SERVER_MODE:
        return Refused("wrong_mode")
    if stratum == 0:
        code = reference_id.rstrip(b"\0")
        if code.isalpha():
            return Refused(f"kiss_{code.decode('ascii').lower()}")
        return Refused("unsynchronised" if first >> 6 == _UNSYNCHRONISED else "stratum_0")  # chronyd says both at once
    if stratum > _MAX_STRATUM:
        return Refused("stratum_16")
    if first >> 6 == _UNSYNCHRONISED:
        return Refused("unsynchronised")
    if precision > 0:
        return Refused("bad_precision")
    if receive == b"\0" * 8 or sent == b"\0" * 8:
        return Refused("zero_stamp")
    if sent < receive and int.from_bytes(receive, "big") - int.from_bytes(sent, "big") < 1 << 63:
        return Refused("t3_before_t2")
    return Reply(
        t2_ns=to_unix_ns(receive, near_ns, up=True),
        t3_ns=to_unix_ns(sent, near_ns, up=False),
        stratum=stratum,
        precision_ns=-(-1_000_000_000 // (1 << -precision)),
        root_delay_ns=_short_ns(root_delay),
        root_dispersion_ns=_short_ns(root_dispersion),
        reference_id=reference_id,
        reference_ns=None if set_at == b"\0" * 8 else to_unix_ns(set_at, near_ns, up=False),
    )


def payload(data: bytes) -> str:
    """Return an answer's header as samples.csv keeps it: hexadecimal, so that what it said can be judged again."""
    return data[:PACKET_SIZE].hex()


def parse_payload(text: str, near_ns: int) -> Reply | Refused:
    """Return what ``parse`` made of an answer that samples.csv kept. Raises ValueError for anything but hexadecimal."""
    data = bytes.fromhex(text)
    return parse(data, data[24:32], near_ns)


def serves_host_clock(text: str) -> bool:
    """Tell whether an answer that samples.csv kept says that the server's own clock is the reference."""
    return text[24:32] == HOST_CLOCK.hex()


def bound(raw1_ns: int, raw4_ns: int, reply: Reply, stamp_error_ns: int, max_drift_ppm: float) -> Bound | Refused:
    """Return the exchange's bound: delta / 2 + precisions + drift over the exchange + stamp error, each rounded up.

    The truth lies in [T3 - T4, T2 - T1] whatever the asymmetry (RFC 5905 section 8 with non-negative path delays), T1
    and T4 on the raw oscillator, so that no wall-clock step or slew can enter.
    """
    delay = (raw4_ns - raw1_ns) - (reply.t3_ns - reply.t2_ns)
    precision = reply.precision_ns + 1  # the server's, and ours: 1 ns
    drift = drift_bound_ns(raw4_ns - raw1_ns, max_drift_ppm)
    if delay < -(precision + drift + stamp_error_ns):
        return Refused("negative_delay")
    return Bound(delay, -(-max(delay, 0) // 2), precision, drift, stamp_error_ns)


def to_unix_ns(stamp: bytes, near_ns: int, *, up: bool) -> int:
    """Return a 32.32 NTP timestamp as unix ns, rounded up or down, in the era that is nearest to ``near_ns``."""
    seconds, fraction = struct.unpack("!II", stamp)
    scaled = fraction * 1_000_000_000
    ns: int = (seconds - _UNIX_FROM_NTP_S) * 1_000_000_000 + ((-(-scaled >> 32)) if up else scaled >> 32)
    return ns + (near_ns - ns + _ERA_NS // 2) // _ERA_NS * _ERA_NS


def _short_ns(value: int) -> int:
    """Return an unsigned 16.16 NTP short in ns, rounded up."""
    return -(-value * 1_000_000_000 >> 16)
