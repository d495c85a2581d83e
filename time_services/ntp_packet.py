"""NTP packets and timestamps (RFC 5905, sections 6 and 7.3), in exact integer arithmetic.

The server side of one exchange: read a client's request, write the answer; and what a proxy in between may touch. No
sockets, no clocks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

NTP_EPOCH_OFFSET_S = 2_208_988_800  # 1900-01-01 to 1970-01-01 (RFC 5905, section 6, figure 4)
NS_PER_S = 1_000_000_000
HEADER_BYTES = 48
MODE_CLIENT = 3
MODE_SERVER = 4
VERSIONS = range(1, 5)
LEAP_UNSYNCHRONISED = 3
BELIEVED_STRATUM = 9  # of a server that is asked; beyond it are clocks that nobody sets (10 is their custom)
MAX_DRIFT_PPM = 100  # the largest drift the harness assumes

# leap+version+mode, stratum, poll, precision, root delay, root dispersion, reference id; then the four timestamps:
# reference, origin, receive, transmit
HEADER = struct.Struct("!BBbbII4sQ8sQQ")


class PacketError(ValueError):
    """A datagram that deserves no answer: why."""


@dataclass(frozen=True)
class Request:
    """What a server needs of a client's packet. ``transmit`` is echoed byte for byte and never interpreted."""

    version: int
    poll: int
    transmit: bytes


@dataclass(frozen=True)
class Exchange:
    """What one exchange of four timestamps says: offset (server - own clock), delay and the offset's bound, in ns."""

    offset_ns: int
    delay_ns: int
    bound_ns: int


@dataclass(frozen=True)
class Identity:
    """What a server says about itself: ``precision`` in log2 s, root delay and dispersion in units of 2^-16 s."""

    stratum: int
    precision: int
    root_delay: int
    root_dispersion: int
    reference_id: bytes


def timestamp_down(unix_ns: int) -> int:
    """Return the last 32.32 NTP timestamp not after ``unix_ns`` (ns since 1970), modulo the era of 2^32 s."""
    return (unix_ns + NTP_EPOCH_OFFSET_S * NS_PER_S) * 2**32 // NS_PER_S % 2**64


def timestamp_up(unix_ns: int) -> int:
    """Return the first 32.32 NTP timestamp not before ``unix_ns`` (ns since 1970), modulo the era of 2^32 s."""
    return -(-(unix_ns + NTP_EPOCH_OFFSET_S * NS_PER_S) * 2**32 // NS_PER_S) % 2**64


def short_up(duration_ns: int) -> int:
    """Return a duration in NTP short format (16.16), rounded up, so that a dispersion is never understated."""
    return min(-(-duration_ns * 2**16 // NS_PER_S), 2**32 - 1)


def read_request(datagram: bytes) -> Request:
    """Read a client's packet; extension fields and MACs are allowed and ignored. Raises PacketError."""
    if len(datagram) < HEADER_BYTES or len(datagram) % 4:
        raise PacketError(f"length: expected at least {HEADER_BYTES} bytes in whole words, got {len(datagram)}")
    version, mode = datagram[0] >> 3 & 7, datagram[0] & 7
    if mode != MODE_CLIENT:
        raise PacketError(f"mode: expected {MODE_CLIENT} (client), got {mode}")
    if version not in VERSIONS:
        raise PacketError(f"version: expected 1 to 4, got {version}")
    return Request(version, struct.unpack_from("!b", datagram, 2)[0], bytes(datagram[40:48]))


def write_answer(request: Request, identity: Identity, received_ns: int, transmitted_ns: int) -> bytes:
    """Write a server's answer; instants in ns since 1970.

    The client concludes that the truth lies in [T3 - T4, T2 - T1]. T2 is rounded up and T3 down to the grid of 2^-32 s:
    both ends move outward and the conclusion stays true. The reference is the server's own clock, read at T2.
    """
    return HEADER.pack(
        request.version << 3 | MODE_SERVER,
        identity.stratum,
        request.poll,
        identity.precision,
        identity.root_delay,
        identity.root_dispersion,
        identity.reference_id,
        timestamp_down(received_ns),
        request.transmit,
        timestamp_up(received_ns),
        timestamp_down(transmitted_ns),
    )


def write_question(transmit: bytes) -> bytes:
    """Write a client's packet of version 4 whose transmit timestamp is ``transmit``: random, so that it is a token."""
    return bytes([4 << 3 | MODE_CLIENT]) + bytes(39) + transmit


def read_exchange(
    datagram: bytes,
    transmit: bytes,
    sent_ns: int,
    received_ns: int,
    precision_ns: int,
    max_stratum: int = BELIEVED_STRATUM,
) -> Exchange:
    """Read a server's answer to the question with ``transmit``; instants of the own clock in ns. Raises PacketError.

    offset = ((T2 - T1) + (T3 - T4)) / 2, delay = (T4 - T1) - (T3 - T2) (RFC 5905, section 8). The bound is half the
    delay, both clocks' precisions and ``MAX_DRIFT`` of the time the exchange took.
    """
    if len(datagram) < HEADER_BYTES:
        raise PacketError(f"length: expected at least {HEADER_BYTES} bytes, got {len(datagram)}")
    first, stratum, _, precision, _, _, _, _, origin, t2, t3 = HEADER.unpack_from(datagram)
    if first & 7 != MODE_SERVER:
        raise PacketError(f"mode: expected {MODE_SERVER} (server), got {first & 7}")
    if origin != transmit:
        raise PacketError("origin: expected the question's transmit timestamp, got another")
    if first >> 6 == LEAP_UNSYNCHRONISED or not 1 <= stratum <= max_stratum:
        wanted = f"expected a synchronised one of stratum 1 to {max_stratum}"
        raise PacketError(f"server: {wanted}, got leap {first >> 6}, stratum {stratum}")
    received_there_ns, sent_there_ns = unix_near(t2, sent_ns), unix_near(t3, sent_ns)
    delay_ns = (received_ns - sent_ns) - (sent_there_ns - received_there_ns)
    precisions_ns = precision_ns + (NS_PER_S >> min(-precision, 30) if precision < 0 else NS_PER_S << min(precision, 8))
    if sent_there_ns < received_there_ns or delay_ns < -precisions_ns:
        raise PacketError(f"timestamps: expected T2 <= T3 and a delay of at least 0, got a delay of {delay_ns} ns")
    delay_ns = max(delay_ns, 0)
    twice_ns = (received_there_ns - sent_ns) + (sent_there_ns - received_ns)
    drift_ns = (received_ns - sent_ns) * MAX_DRIFT_PPM // 1_000_000 + 1
    return Exchange(twice_ns // 2, delay_ns, delay_ns // 2 + 1 + precisions_ns + drift_ns)


def unix_near(timestamp: int, near_ns: int) -> int:
    """Return a 32.32 NTP timestamp in ns since 1970, in the era in which it is nearest to ``near_ns``."""
    era_ns = 2**32 * NS_PER_S
    unix_ns = timestamp * NS_PER_S // 2**32 - NTP_EPOCH_OFFSET_S * NS_PER_S
    return unix_ns + (near_ns - unix_ns + era_ns // 2) // era_ns * era_ns


def read_server_origin(datagram: bytes) -> bytes:
    """Return the origin timestamp of a server's answer to a plain request, all 64 bits of it. Raises PacketError."""
    if len(datagram) != HEADER_BYTES:
        raise PacketError(f"length: expected {HEADER_BYTES} bytes, got {len(datagram)}")
    mode = datagram[0] & 7
    if mode != MODE_SERVER:
        raise PacketError(f"mode: expected {MODE_SERVER} (server), got {mode}")
    return datagram[24:32]


def with_origin(answer: bytes, origin: bytes) -> bytes:
    """Return the answer with another origin timestamp, everything else byte for byte."""
    return answer[:24] + origin + answer[32:]
