"""A reply is believed only if it answers our request and a synchronised server sent it; its stamps round outward."""

from __future__ import annotations

from fractions import Fraction

import ntplib
import pytest
from exchanges import EPOCH_NS, NTP_UNIX_S, TRANSMIT, Exchange, Oscillator, S, ntp_stamp, reply_bytes
from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks import ntp_packet
from node_agent.clocks.base import Refused
from node_agent.clocks.ntp_packet import Reply

T2, T3 = EPOCH_NS + 5_000, EPOCH_NS + 9_000


def parsed(**spoilt):
    return ntp_packet.parse(reply_bytes(T2, T3, **spoilt), TRANSMIT, EPOCH_NS)


def test_a_good_reply_is_read():
    reply = parsed(stratum=3, precision=-20, root_delay=1 << 16, root_dispersion=1 << 15)
    assert reply.stratum == 3
    assert 0 <= reply.t2_ns - T2 <= 1
    assert 0 <= T3 - reply.t3_ns <= 1
    assert reply.precision_ns == 954  # 2^-20 s = 953.67 ns, rounded up
    assert (reply.root_delay_ns, reply.root_dispersion_ns) == (S, S // 2)


@pytest.mark.parametrize(
    ("spoilt", "outcome"),
    [
        ({"transmit": b"\0" * 8}, "wrong_origin"),
        ({"transmit": TRANSMIT[:-1] + b"\x89"}, "wrong_origin"),
        ({"mode": 3}, "wrong_mode"),
        ({"mode": 5}, "wrong_mode"),
        ({"leap": 3}, "unsynchronised"),
        ({"stratum": 0, "reference_id": b"RATE"}, "kiss_rate"),
        ({"stratum": 0, "reference_id": b"DENY"}, "kiss_deny"),
        ({"stratum": 0, "reference_id": b"\0" * 4}, "stratum_0"),
        ({"stratum": 0, "reference_id": b"\xff,\n\0"}, "stratum_0"),
        ({"stratum": 16}, "stratum_16"),
        ({"stratum": 255}, "stratum_16"),
        ({"precision": 1}, "bad_precision"),
        ({"t2": b"\0" * 8}, "zero_stamp"),
        ({"t3": b"\0" * 8}, "zero_stamp"),
        ({"t3": ntp_stamp(T2 - 1_000)}, "t3_before_t2"),
    ],
)
def test_every_reason_to_reject_a_reply_has_a_name(spoilt, outcome):
    assert parsed(**spoilt) == Refused(outcome)


@pytest.mark.parametrize("size", [0, 1, 47])
def test_a_short_reply_is_rejected(size):
    assert ntp_packet.parse(reply_bytes(T2, T3)[:size], TRANSMIT, EPOCH_NS) == Refused("short")


def test_what_follows_the_header_comes_in_words():
    good = reply_bytes(T2, T3)
    assert ntp_packet.parse(good + bytes(3), TRANSMIT, EPOCH_NS) == Refused("oversized")
    assert isinstance(ntp_packet.parse(good + bytes(20), TRANSMIT, EPOCH_NS), Reply)


@given(st.binary(max_size=120))
def test_no_datagram_raises(data):
    ntp_packet.parse(data, TRANSMIT, EPOCH_NS)
    ntp_packet.parse(data[:24] + TRANSMIT + data[32:], TRANSMIT, EPOCH_NS)


def test_our_request_is_one_a_server_understands():
    sent = ntplib.NTPPacket()
    sent.from_data(ntp_packet.request(TRANSMIT))
    assert (sent.mode, sent.version, sent.leap) == (3, 4, 0)
    assert ntp_packet.request(TRANSMIT)[40:] == TRANSMIT


@given(st.integers(min_value=-(1 << 60), max_value=1 << 62), st.integers(min_value=0, max_value=(1 << 32) - 1))
def test_a_stamp_is_rounded_outward_by_less_than_a_nanosecond_in_its_era(near_ns, fraction):
    seconds = (near_ns // S + NTP_UNIX_S) % (1 << 32)
    stamp = seconds.to_bytes(4, "big") + fraction.to_bytes(4, "big")
    down = ntp_packet.to_unix_ns(stamp, near_ns, up=False)
    up = ntp_packet.to_unix_ns(stamp, near_ns, up=True)
    exact = near_ns // S * S + Fraction(fraction * S, 1 << 32)
    assert down <= exact <= up
    assert up - down <= 1


def test_the_era_that_begins_in_2036_is_taken_for_what_it_is():
    rollover = ((1 << 32) - NTP_UNIX_S) * S
    for true_ns in (rollover - S, rollover, rollover + 12_345 * S):
        for near_ns in (true_ns - 40 * 365 * 86_400 * S, true_ns, true_ns + 40 * 365 * 86_400 * S):
            assert ntp_packet.to_unix_ns(ntp_stamp(true_ns), near_ns, up=False) == true_ns


def test_t3_and_t2_may_lie_on_both_sides_of_an_era():
    rollover = ((1 << 32) - NTP_UNIX_S) * S
    reply = ntp_packet.parse(reply_bytes(rollover - 1_000, rollover + 1_000), TRANSMIT, rollover)
    assert isinstance(reply, Reply)
    assert 1_998 <= reply.t3_ns - reply.t2_ns <= 2_000


def reply_of(t2_ns, t3_ns, precision_ns=1):
    return Reply(t2_ns, t3_ns, 1, precision_ns, 0, 0)


def test_the_bound_is_the_sum_of_its_named_components():
    bound = ntp_packet.bound(0, 10_001, reply_of(100, 2_100, precision_ns=7), 40, 100)
    assert (bound.delay_ns, bound.half_delay_ns, bound.precision_ns, bound.stamp_ns) == (8_001, 4_001, 8, 40)
    assert bound.drift_ns == 2  # 100 ppm of 10 us, rounded up
    assert bound.total_ns == 4_001 + 8 + 40 + 2 + 1


def test_a_server_that_worked_longer_than_we_waited_is_rejected():
    assert ntp_packet.bound(0, 1_000, reply_of(0, 1_000_000), 0, 100) == Refused("negative_delay")


def test_a_delay_below_zero_by_no_more_than_the_clocks_precision_counts_as_none():
    bound = ntp_packet.bound(0, 1_000, reply_of(0, 1_005, precision_ns=10), 0, 100)
    assert (bound.delay_ns, bound.half_delay_ns) == (-5, 0)


@given(
    st.integers(min_value=0, max_value=50_000_000),
    st.integers(min_value=0, max_value=1_000_000),
    st.integers(min_value=0, max_value=50_000_000),
    st.integers(min_value=-(10**10), max_value=10**10),
)
def test_on_a_sane_reply_ntplib_says_the_same_within_its_float_step(forward_ns, serving_ns, back_ns, ahead_ns):
    """Offset and delay agree within 1 us plus the step of a float that holds seconds since 1900 (0.48 us)."""
    exchange = Exchange(EPOCH_NS, forward_ns, serving_ns, back_ns)
    sample = exchange.sample(Oscillator(0), 100)
    t1, t4 = EPOCH_NS + ahead_ns, exchange.arrived_ns + ahead_ns
    oracle = ntplib.NTPStats()
    data = bytearray(exchange.reply())
    data[24:32] = ntp_stamp(t1)
    oracle.from_data(bytes(data))
    oracle.dest_timestamp = t4 / 1e9 + NTP_UNIX_S
    ours_ns = sample.reference_at_ns - (t1 + t4) // 2
    assert oracle.offset * 1e9 == pytest.approx(ours_ns, abs=1_500)
    assert oracle.delay * 1e9 == pytest.approx(sample.delay_ns, abs=1_500)
