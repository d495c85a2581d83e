"""What the wall clock does between a sample and a stamp moves no reading; between packet and pair, it takes it away."""

from __future__ import annotations

import time

from exchanges import EPOCH_NS, Exchange, Oscillator, S
from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.base import evaluate
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.records import CLOCK_STEP, KERNEL_RX, STAMP_GAP, USER, Available, Stamp, Unavailable
from node_agent.local.instants import MAX_GAP_NS, ClockPair, LocalClock, kernel_stamp, late_pair, stepped, user_stamp

MS = 1_000_000
SOURCE = NtpSource(("s:1",), 100, 1 << 62)
NODE = Oscillator(37_000)
SAMPLE = Exchange(EPOCH_NS, 150_000, 1_000, 90_000).sample(NODE, 100)
STEPS = st.integers(min_value=MS, max_value=S // 2).flatmap(lambda size: st.sampled_from([-size, size]))
GAPS = st.integers(min_value=0, max_value=MAX_GAP_NS - MS)
BRACKETS = st.integers(min_value=0, max_value=3_000)


class Wall:
    """A wall clock beside the raw oscillator: an offset, and a slew rate against it in ppb."""

    def __init__(self, offset_ns, slew_ppb=0, slew_from_raw_ns=0):
        self.offset_ns = offset_ns
        self.slew_ppb = slew_ppb
        self.slew_from_raw_ns = slew_from_raw_ns

    def at(self, raw_ns):
        return raw_ns + self.offset_ns + (raw_ns - self.slew_from_raw_ns) * self.slew_ppb // S

    def pair(self, raw_ns, bracket_ns=0):
        return ClockPair(raw_ns - bracket_ns // 2, self.at(raw_ns), raw_ns + -(-bracket_ns // 2))


def expected(true_ns):
    return evaluate(SOURCE, [SAMPLE], Stamp(0, NODE.raw(true_ns), 0, USER))


@given(STEPS, st.integers(min_value=0, max_value=600 * S), GAPS)
def test_a_step_between_sample_and_stamp_does_not_move_the_reading(step_ns, later_ns, gap_ns):
    true_ns = SAMPLE.reference_at_ns + S + later_ns
    raw = NODE.raw(true_ns)
    after = Wall(123 * S + step_ns)
    stamp = kernel_stamp(after.at(raw), KERNEL_RX, after.pair(raw + gap_ns), after.pair(raw - 10 * MS))
    reading = evaluate(SOURCE, [SAMPLE], stamp)
    plain = expected(true_ns)
    assert reading.est_ns == plain.est_ns
    assert reading.earliest_ns <= plain.earliest_ns <= true_ns <= plain.latest_ns <= reading.latest_ns


@given(
    st.integers(min_value=-500_000, max_value=500_000), st.integers(min_value=0, max_value=1_000 * S), GAPS, BRACKETS
)
def test_a_slew_moves_the_reading_no_further_than_its_stamp_error_says(slew_ppb, later_ns, gap_ns, bracket_ns):
    true_ns = SAMPLE.reference_at_ns + S + later_ns
    raw = NODE.raw(true_ns)
    wall = Wall(123 * S, slew_ppb, SAMPLE.raw_at_ns)
    stamp = kernel_stamp(wall.at(raw), KERNEL_RX, wall.pair(raw + gap_ns, bracket_ns), wall.pair(raw - 10 * MS))
    assert abs(stamp.raw_ns - raw) <= stamp.raw_error_ns + 1
    reading = evaluate(SOURCE, [SAMPLE], stamp)
    assert reading.earliest_ns <= true_ns <= reading.latest_ns


@given(STEPS, GAPS, st.integers(min_value=0, max_value=50 * MS), BRACKETS)
def test_a_step_between_packet_and_pair_makes_the_reading_unavailable(step_ns, gap_ns, since_ns, bracket_ns):
    true_ns = SAMPLE.reference_at_ns + S
    raw = NODE.raw(true_ns)
    before, after = Wall(123 * S), Wall(123 * S + step_ns)
    stamp = kernel_stamp(
        before.at(raw), KERNEL_RX, after.pair(raw + gap_ns, bracket_ns), before.pair(raw - since_ns, bracket_ns)
    )
    assert evaluate(SOURCE, [SAMPLE], stamp) in {Unavailable(CLOCK_STEP), Unavailable(STAMP_GAP)}
    assert stamp.wall_ns == before.at(raw)


def test_a_stamp_too_far_from_its_pair_has_no_raw_instant():
    wall = Wall(S)
    raw = 50 * S
    near = kernel_stamp(wall.at(raw), KERNEL_RX, wall.pair(raw + MAX_GAP_NS), wall.pair(raw - S))
    far = kernel_stamp(wall.at(raw), KERNEL_RX, wall.pair(raw + MAX_GAP_NS + 1), wall.pair(raw - S))
    assert near.raw_ns == raw
    assert (far.raw_ns, far.problem) == (None, STAMP_GAP)


def test_a_packet_that_arrived_after_the_pair_read_after_it_proves_a_step():
    """Stepped ahead and back between two looks: they agree, and only the packet's own stamp tells."""
    wall, ahead = Wall(S), Wall(S + 10 * MS)
    stamp = kernel_stamp(ahead.at(50 * S), KERNEL_RX, wall.pair(50 * S + MS), wall.pair(50 * S - MS))
    assert (stamp.raw_ns, stamp.problem) == (None, CLOCK_STEP)


def test_the_error_of_a_carried_stamp_is_half_the_bracket_and_500_ppm_of_the_gap():
    wall = Wall(S)
    stamp = kernel_stamp(wall.at(50 * S), KERNEL_RX, wall.pair(50 * S + 2 * MS, 3_001), wall.pair(50 * S - MS))
    assert stamp.raw_error_ns == 1_501 + 1_000
    assert isinstance(evaluate(SOURCE, [SAMPLE], stamp), (Available, Unavailable))


def test_a_user_stamp_is_wrong_by_half_its_bracket_at_most():
    assert user_stamp(ClockPair(100, 5_000, 107)) == Stamp(5_000, 103, 4, USER)


@given(st.integers(min_value=-499_000, max_value=499_000), st.integers(min_value=0, max_value=10 * S), BRACKETS)
def test_the_fastest_slew_the_kernel_allows_is_no_step(slew_ppb, elapsed_ns, bracket_ns):
    wall = Wall(S, slew_ppb, 0)
    assert not stepped(wall.pair(20 * S, bracket_ns), wall.pair(20 * S + elapsed_ns, bracket_ns))


def test_what_came_between_two_clocks_does_not_move_what_was_due():
    """The first readings are interrupted before or after; the pair and the lateness are then of another reading."""
    clock, naps = LocalClock(), [(0.0, 0.02), (0.02, 0.0), (0.0, 0.02)]

    def interrupted():
        before_s, after_s = naps.pop() if naps else (0.0, 0.0)
        time.sleep(before_s)
        pair = clock.pair()
        time.sleep(after_s)
        return pair

    earliest_ns = time.time_ns()
    due_ns = time.monotonic_ns()
    latest_ns = time.time_ns()
    pair, late_ns = late_pair(interrupted, due_ns)
    assert not naps
    assert late_ns >= 60_000_000
    assert earliest_ns - 15_000_000 < pair.wall_ns - late_ns < latest_ns + 15_000_000
