"""NTP exchanges with a known truth: any delays, any drift, a server whose clock *is* the truth; through real bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from node_agent.clocks import ntp_packet, ntp_sample
from node_agent.contract.records import KERNEL_RX, KERNEL_TX, Stamp

NTP_UNIX_S = 2_208_988_800
S = 1_000_000_000
EPOCH_NS = 1_800_000_000 * S  # some true time in 2027
WALL_AHEAD_NS = 123_456_789  # the wall clock plays no part in any bound, so it may be wrong
PRECISION_LOG2 = -23
TRANSMIT = b"\x11\x22\x33\x44\x55\x66\x77\x88"


def ntp_stamp(unix_ns: int) -> bytes:
    """Return unix ns as a 32.32 NTP timestamp, cut off as a server's clock reading is."""
    seconds, ns = divmod(unix_ns, S)
    return struct.pack("!II", (seconds + NTP_UNIX_S) % (1 << 32), (ns << 32) // S)


def reply_bytes(
    t2_ns: int, t3_ns: int, *, transmit=TRANSMIT, leap=0, version=4, mode=4, stratum=1, precision=PRECISION_LOG2,
    root_delay=0, root_dispersion=0, reference_id=b"GPS\0", set_at=None, t2=None, t3=None,
) -> bytes:  # fmt: skip
    """Return a server's reply; every field can be spoilt. Its clock was set a second before T2."""
    set_at = ntp_stamp(t2_ns - S) if set_at is None else set_at
    return struct.pack(
        "!BBbbII4s8s8s8s8s", leap << 6 | version << 3 | mode, stratum, 6, precision, root_delay, root_dispersion,
        reference_id, set_at, transmit, t2 or ntp_stamp(t2_ns), t3 or ntp_stamp(t3_ns),
    )  # fmt: skip


@dataclass(frozen=True)
class Oscillator:
    """A node's raw oscillator, off by a constant rate: raw ns as a function of true ns."""

    drift_ppb: int

    def raw(self, true_ns: int) -> int:
        elapsed = true_ns - EPOCH_NS
        return 7 * S + elapsed + elapsed * self.drift_ppb // S


@dataclass(frozen=True)
class Exchange:
    """One query: true instant of sending, the two delays, the server's own time, and how wrong the raw stamps are."""

    sent_ns: int
    forward_ns: int
    serving_ns: int
    back_ns: int
    stamp_error_ns: int = 0
    departed_off_ns: int = 0
    arrived_off_ns: int = 0

    @property
    def arrived_ns(self) -> int:
        return self.sent_ns + self.forward_ns + self.serving_ns + self.back_ns

    def reply(self) -> bytes:
        t2 = self.sent_ns + self.forward_ns
        return reply_bytes(t2, t2 + self.serving_ns)

    def sample(self, oscillator, max_drift_ppm, server="s:1", sample_id="ntp1", lie_ns=0):
        """Return the sample the agent makes of it, published the moment the answer is in; a liar is off by lie_ns."""
        t2 = self.sent_ns + self.forward_ns + lie_ns
        reply = ntp_packet.parse(reply_bytes(t2, t2 + self.serving_ns), TRANSMIT, EPOCH_NS)
        assert isinstance(reply, ntp_packet.Reply)
        raw1, raw4 = oscillator.raw(self.sent_ns), oscillator.raw(self.arrived_ns)
        departed = Stamp(raw1 + WALL_AHEAD_NS, raw1 + self.departed_off_ns, self.stamp_error_ns, KERNEL_TX)
        arrived = Stamp(raw4 + WALL_AHEAD_NS, raw4 + self.arrived_off_ns, self.stamp_error_ns, KERNEL_RX)
        made = ntp_sample.sample_of(server, server, departed, arrived, reply, max_drift_ppm, sample_id)
        return replace(made, published_raw_ns=raw4)


@st.composite
def exchanges(draw, within_s=3_600):
    """Draw an exchange with arbitrary, arbitrarily asymmetric, non-negative delays."""
    delay = st.integers(min_value=0, max_value=200_000_000) | st.integers(min_value=0, max_value=2_000)
    error = draw(st.sampled_from([0, 0, 300, 20_000]))
    off = st.integers(min_value=-error, max_value=error)
    return Exchange(
        sent_ns=EPOCH_NS + draw(st.integers(min_value=0, max_value=within_s * S)),
        forward_ns=draw(delay),
        serving_ns=draw(st.integers(min_value=0, max_value=5_000_000)),
        back_ns=draw(delay),
        stamp_error_ns=error,
        departed_off_ns=draw(off),
        arrived_off_ns=draw(off),
    )


def drifts(max_drift_ppm: int):
    """Draw an oscillator that is off by at most ``max_drift_ppm``, often by exactly that."""
    limit = max_drift_ppm * 1_000
    return st.builds(Oscillator, st.sampled_from([-limit, 0, limit]) | st.integers(min_value=-limit, max_value=limit))
