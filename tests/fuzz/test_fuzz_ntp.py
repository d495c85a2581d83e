"""No NTP reply raises, and one that is believed is a synchronised server's answer to our request, within its era."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import spoilt

from node_agent.clocks import ntp_packet
from node_agent.clocks.base import Refused
from node_agent.clocks.ntp_packet import Bound, Reply

FUZZ = settings.get_profile("fuzz")
TRANSMIT = b"\x11\x22\x33\x44\x55\x66\x77\x88"
NEAR_NS = 1_790_000_000_000_000_000
NTP_S = 2_208_988_800 + NEAR_NS // 1_000_000_000
HALF_ERA_NS = (1 << 31) * 1_000_000_000


def reply(
    first: int = 0x24, stratum: int = 1, precision: int = -23, kiss: bytes = b"LOCL", origin: bytes = TRANSMIT
) -> bytes:
    stamps = struct.pack("!II", NTP_S, 5), origin, struct.pack("!II", NTP_S, 7), struct.pack("!II", NTP_S, 900)
    return struct.pack("!BBbbII4s8s8s8s8s", first, stratum, 6, precision, 10, 20, kiss, *stamps)


GOOD = [reply(), reply(stratum=3, precision=-6), reply() + bytes(20)]
BAD = [reply(0x23), reply(0xE4), reply(stratum=0, kiss=b"RATE"), reply(stratum=16), reply(origin=bytes(8))]
WORDS = st.sampled_from([0, 1, NTP_S - 1, NTP_S, NTP_S + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]) | st.integers(
    0, (1 << 32) - 1
)
FIELDS = st.builds(
    lambda first, stratum, precision, words: struct.pack("!BBbbII4s8s8sIIII", first, stratum, 6, precision, words[0],
                                                         words[1], b"LOCL", bytes(8), TRANSMIT, *words[2:]),
    st.sampled_from([0x24, 0x1C, 0x64, 0xE4, 0x23]) | st.integers(0, 255), st.integers(0, 255),
    st.integers(-128, 127), st.lists(WORDS, min_size=6, max_size=6),
)  # fmt: skip


@FUZZ
@given(
    data=st.one_of(spoilt(*GOOD, *BAD, longest=120), FIELDS),
    departed_ns=st.integers(0, 1 << 62),
    took_ns=st.integers(0, 1 << 40),
    error_ns=st.integers(0, 1 << 30),
)
def test_a_reply_is_sane_or_has_a_reason(count, data: bytes, departed_ns: int, took_ns: int, error_ns: int) -> None:
    said = ntp_packet.parse(data, TRANSMIT, NEAR_NS)
    if isinstance(said, Refused):
        assert said.outcome.replace("_", "").isalnum()
        assert said.outcome != "ok"
        count(said.outcome.split("_")[0] if said.outcome.startswith("kiss") else said.outcome)
        return
    assert isinstance(said, Reply)
    assert data[24:32] == TRANSMIT
    assert (data[0] & 7, data[0] >> 6 != 3) == (4, True)
    assert 1 <= said.stratum <= 15
    assert abs(said.t2_ns - NEAR_NS) <= HALF_ERA_NS
    assert abs(said.t3_ns - NEAR_NS) <= HALF_ERA_NS
    assert min(said.root_delay_ns, said.root_dispersion_ns) >= 0
    bound = ntp_packet.bound(departed_ns, departed_ns + took_ns, said, error_ns, 100)
    if isinstance(bound, Refused):
        count(bound.outcome)
        return
    assert isinstance(bound, Bound)
    assert bound.total_ns >= error_ns + 2
    assert 2 * bound.total_ns >= bound.delay_ns
    count("believed")
