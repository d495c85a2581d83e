"""A bound grows with age, outward, and no sample serves a stamp from before it was published."""

from __future__ import annotations

from fractions import Fraction

from exchanges import EPOCH_NS, WALL_AHEAD_NS, Exchange, Oscillator, S
from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.base import evaluate
from node_agent.clocks.holdover import aged_bound_ns, drift_bound_ns
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.records import CLOCK_STEP, NEVER_SAMPLED, USER, Available, Stamp, Unavailable

AGES = st.integers(min_value=-(10**15), max_value=10**15)
BOUNDS = st.integers(min_value=0, max_value=10**9)
MILLIPPM = st.integers(min_value=0, max_value=500_000)
SOURCE = NtpSource(("s:1",), 100, 1 << 62)
STILL = Oscillator(0)


@given(AGES, MILLIPPM)
def test_the_drift_bound_is_rounded_outward_by_a_nanosecond_at_most(age_ns, millippm):
    rate = Fraction(millippm, 10**9)
    exact = abs(age_ns) * rate / (1 - rate)
    assert exact <= drift_bound_ns(age_ns, millippm / 1_000) < exact + 1


def test_a_drift_finer_than_the_grain_is_rounded_outward_too():
    assert drift_bound_ns(10**13, 5e-7) >= 5
    assert drift_bound_ns(10**13, 100.000_000_9) >= Fraction(1000000009, 10**13) * 10**13


@given(AGES, MILLIPPM)
def test_it_covers_what_true_time_may_have_passed(elapsed_ns, millippm):
    """Local = (1 + d) true with |d| <= p: the true time that passed is within the bound of the local one."""
    rate = Fraction(millippm, 10**9)
    bound = drift_bound_ns(elapsed_ns, millippm / 1_000)
    for drift in (-rate, rate):
        assert abs(Fraction(elapsed_ns) / (1 + drift) - elapsed_ns) <= bound


@given(BOUNDS, AGES, AGES, MILLIPPM)
def test_ageing_is_monotone_and_the_same_in_both_directions(bound_ns, one_ns, other_ns, millippm):
    near, far = sorted((abs(one_ns), abs(other_ns)))
    ppm = millippm / 1_000
    assert bound_ns <= aged_bound_ns(bound_ns, near, ppm) <= aged_bound_ns(bound_ns, far, ppm)
    assert aged_bound_ns(bound_ns, -near, ppm) == aged_bound_ns(bound_ns, near, ppm)


@given(st.lists(st.integers(min_value=0, max_value=10**10), min_size=2, max_size=2).map(sorted))
def test_a_later_reading_of_one_sample_is_never_narrower(ages):
    sample = Exchange(EPOCH_NS, 1_000, 0, 1_000).sample(STILL, 100)
    widths = []
    for age in ages:
        raw = sample.published_raw_ns + age
        reading = evaluate(SOURCE, [sample], Stamp(raw + WALL_AHEAD_NS, raw, 0, USER))
        widths.append(reading.latest_ns - reading.earliest_ns)
    assert widths == sorted(widths)


SAMPLES = [
    Exchange(EPOCH_NS + i * S, 1_000 + 50 * i, 0, 1_000 - 50 * i).sample(STILL, 100, sample_id=f"ntp{i}")
    for i in range(6)
]
RAWS = [sample.published_raw_ns for sample in SAMPLES]


@given(
    st.sampled_from(RAWS).flatmap(lambda raw: st.integers(min_value=raw - 2, max_value=raw + 2))
    | st.integers(min_value=RAWS[0] - S, max_value=RAWS[-1] + S)
)
def test_a_sample_published_after_the_stamp_never_serves_it(raw_ns):
    stamp = Stamp(raw_ns + WALL_AHEAD_NS, raw_ns, 0, USER)
    known = [sample for sample in SAMPLES if sample.published_raw_ns <= raw_ns]
    assert evaluate(SOURCE, SAMPLES, stamp) == evaluate(SOURCE, known, stamp)
    if not known:
        assert evaluate(SOURCE, SAMPLES, stamp) == Unavailable(NEVER_SAMPLED)


def test_a_sample_serves_from_the_very_instant_it_is_published():
    raw = RAWS[0]
    assert isinstance(evaluate(SOURCE, SAMPLES, Stamp(raw, raw, 0, USER)), Available)
    assert evaluate(SOURCE, SAMPLES, Stamp(raw, raw - 1, 0, USER)) == Unavailable(NEVER_SAMPLED)


def test_a_stamp_without_a_raw_instant_has_no_reading_but_its_own_reason():
    assert evaluate(SOURCE, SAMPLES, Stamp(RAWS[-1], None, 0, USER, CLOCK_STEP)) == Unavailable(CLOCK_STEP)
