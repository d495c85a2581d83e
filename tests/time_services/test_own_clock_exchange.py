"""What the ChronoTick server believes of an NTP answer to its own question, and what it does not."""

from __future__ import annotations

import pytest

from time_services.ntp_packet import Identity, PacketError, Request, read_exchange, write_answer, write_question

NOW_NS = 1_790_000_000_000_000_000
MS = 1_000_000
TOKEN = b"12345678"


def answered(t2=NOW_NS + 6 * MS, t3=NOW_NS + 7 * MS, stratum=1, token=TOKEN):
    return write_answer(Request(4, 0, token), Identity(stratum, -20, 0, 0, b"XHST"), t2, t3)


def test_four_timestamps_give_offset_delay_and_bound():
    """T1 = 0, T2 = 6, T3 = 7, T4 = 3 ms: the server is 5 ms ahead over a path of 2 ms; the bound exceeds 1 ms."""
    told = read_exchange(answered(), TOKEN, NOW_NS, NOW_NS + 3 * MS, 1000)
    assert told.offset_ns == pytest.approx(5 * MS, abs=2)
    assert told.delay_ns == pytest.approx(2 * MS, abs=3)
    assert MS < told.bound_ns < MS + 5_000
    assert write_question(TOKEN)[40:] == TOKEN


@pytest.mark.parametrize(
    ("datagram", "what"),
    [
        (answered(token=b"87654321"), "origin"),
        (answered(stratum=0), "server"),
        (answered(stratum=16), "server"),
        (answered(stratum=10), "server"),  # what a clock calls itself that nobody sets
        (bytes([answered()[0] | 0xC0]) + answered()[1:], "server"),
        (bytes([0x23]) + answered()[1:], "mode"),
        (answered(t2=NOW_NS + 7 * MS, t3=NOW_NS + 6 * MS), "timestamps"),
        (answered(t3=NOW_NS + 60 * MS), "timestamps"),
        (answered()[:40], "length"),
    ],
)
def test_an_answer_that_cannot_be_is_no_sample(datagram, what):
    with pytest.raises(PacketError, match=f"^{what}: expected"):
        read_exchange(datagram, TOKEN, NOW_NS, NOW_NS + 3 * MS, 1000)


def test_a_high_stratum_is_believed_where_one_says_so():
    told = read_exchange(answered(stratum=10), TOKEN, NOW_NS, NOW_NS + 3 * MS, 1000, max_stratum=10)
    assert told.offset_ns == pytest.approx(5 * MS, abs=2)
