"""No slew of the wall clock, however fast, makes a stamp's error too small: it is within it, or has no raw instant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_agent.contract.records import KERNEL_RX
from node_agent.local.instants import ClockPair, kernel_stamp

S = 1_000_000_000
MS = 1_000_000
BRACKET = st.integers(0, 3_000)


class Wall:
    """A wall clock that is slewed one way at a rate from some raw instant on, and pairs read anywhere in a bracket."""

    def __init__(self, ppm, begin):
        self.ppm, self.begin = ppm, begin

    def at(self, raw):
        return 7 * S + raw + max(raw - self.begin, 0) * self.ppm // 1_000_000

    def pair(self, raw, before, after):
        return ClockPair(raw - before, self.at(raw), raw + after)


@given(
    st.sampled_from([500, 1_000, 10_000, 83_333, 100_000, -10_000, -83_333]),
    st.integers(0, 20 * MS),
    st.integers(0, 2 * MS),
    st.integers(-20 * MS, 2 * MS),
    st.tuples(BRACKET, BRACKET, BRACKET, BRACKET),
)
def test_a_stamp_during_a_slew_is_within_its_error_or_has_no_raw_instant(ppm, since, gap, begin, brackets):
    raw = 50 * S
    wall = Wall(ppm, raw + begin)
    before, after = wall.pair(raw - since, *brackets[:2]), wall.pair(raw + gap, *brackets[2:])
    stamp = kernel_stamp(wall.at(raw), KERNEL_RX, after, before)
    assert stamp.raw_ns is None or abs(stamp.raw_ns - raw) <= stamp.raw_error_ns + 2


def test_a_wide_look_before_the_packet_hides_no_part_of_a_slew():
    """Read at its bracket's edge, the earlier pair hides 1,000 ns of a slew of 10,000 ppm that goes on for 100 us."""
    raw = 50 * S
    wall = Wall(10_000, raw - S)
    stamp = kernel_stamp(wall.at(raw), KERNEL_RX, wall.pair(raw + 100_000, 0, 0), wall.pair(raw - 1, 2_000, 0))
    assert stamp.raw_ns is not None
    assert 900 < abs(stamp.raw_ns - raw) <= stamp.raw_error_ns
