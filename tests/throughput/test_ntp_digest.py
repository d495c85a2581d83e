"""What an NTP reading leaves out for speed never changes it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.clocks.holdover import aged_bound_ns
from node_agent.clocks.ntp import WINDOW, NtpSource
from node_agent.contract.records import INCONSISTENT, NTP, OK, STALE, Available, Sample, Stamp, Unavailable

SERVER = "127.0.80.1:123"


def sample(number, raw_at, offset, bound):
    return Sample(
        f"ntp{number}", NTP, SERVER, SERVER, OK, raw_at, raw_at, raw_at, published_raw_ns=raw_at,
        raw_at_ns=raw_at, reference_at_ns=10**6 + raw_at + offset, bound_ns=bound,
    )  # fmt: skip


def plain_intersection(samples, raw_ns, max_drift_ppm, valid_for_ns):
    """Intersect the newest fresh samples one by one; return (low, high) and the id of the narrowest, or why not."""
    fresh = [s for s in samples if raw_ns - s.raw_at_ns <= valid_for_ns][-WINDOW:]
    if not fresh:
        return STALE
    aged = [(aged_bound_ns(s.bound_ns, raw_ns - s.raw_at_ns, max_drift_ppm), s) for s in fresh]
    centers = [s.reference_at_ns + raw_ns - s.raw_at_ns for s in fresh]
    low = max(center - bound for center, (bound, _) in zip(centers, aged, strict=True))
    high = min(center + bound for center, (bound, _) in zip(centers, aged, strict=True))
    if low > high:
        return INCONSISTENT
    narrowest = min(bound for bound, _ in aged)
    return low, high, [s.sample_id for bound, s in aged if bound == narrowest][-1]


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 10**9), st.integers(-40, 40), st.integers(0, 60)), min_size=1, max_size=12),
    waits=st.lists(st.integers(0, 5 * 10**9), min_size=1, max_size=8),
    max_drift_ppm=st.sampled_from([0.0, 0.3, 100.0, 5_000.0]),
    valid_for_ns=st.sampled_from([10**3, 10**9, 4 * 10**9]),
)
def test_a_reading_is_the_intersection_of_all_that_is_fresh(steps, waits, max_drift_ppm, valid_for_ns):
    raw_at, samples = 0, []
    for number, (step, offset, bound) in enumerate(steps):
        raw_at += step
        samples.append(sample(number, raw_at, offset, bound))
    source = NtpSource((SERVER,), max_drift_ppm, valid_for_ns)
    for wait in waits:  # in any order: what was worked out for one stamp must not leak into another's
        raw_ns = raw_at + wait
        expected = plain_intersection(samples, raw_ns, max_drift_ppm, valid_for_ns)
        reading = source.read(samples, Stamp(raw_ns, raw_ns, 0, "user"), raw_ns)
        if isinstance(expected, str):
            assert reading == Unavailable(expected)
        else:
            assert isinstance(reading, Available)
            assert (reading.earliest_ns, reading.latest_ns, reading.sample_id) == expected
