"""A virtual clock is known to the nanosecond: the way back names every true instant its wall clock can have meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.virtual import true_from_wall, true_interval, wall_from_true
from node_agent.contract.plan import Freeze, RandomWalk, Sine, Slew, Step, VirtualClock
from node_agent.local import instants
from node_agent.local.instants import LocalClock

S = 1_000_000_000
EPOCH = 1_800_000_000 * S
ELAPSED = st.integers(min_value=0, max_value=7 * 86_400 * S) | st.integers(min_value=0, max_value=50_000)
ERRORS_MS = st.integers(min_value=-500_000, max_value=500_000).map(lambda us: us / 1_000)
DRIFTS_PPM = st.integers(min_value=-500_000, max_value=500_000).map(lambda ppb: ppb / 1_000)
AT_S = st.integers(min_value=0, max_value=100).map(float)
steady = st.builds(VirtualClock, st.just(EPOCH), ERRORS_MS, DRIFTS_PPM)
restless = st.builds(
    VirtualClock,
    st.just(EPOCH),
    ERRORS_MS,
    DRIFTS_PPM,
    sine=st.none() | st.builds(Sine, st.sampled_from([5.0, 200.0]), st.sampled_from([7.0, 60.0])),
    random_walk=st.none() | st.builds(RandomWalk, st.integers(min_value=0, max_value=9), st.just(0.1)),
    steps=st.lists(st.builds(Step, AT_S, ERRORS_MS), max_size=3).map(tuple),
    slews=st.lists(st.builds(Slew, AT_S, st.sampled_from([10.0, 1_000.0]), st.just(4.0)), max_size=2).map(tuple),
    freezes=st.lists(st.builds(Freeze, AT_S, st.just(0.5)), max_size=1).map(tuple),
    horizon_s=st.just(120.0),
)


@given(steady, ELAPSED)
def test_the_way_back_from_a_steady_clock_is_exact(clock, elapsed_ns):
    """All true instants that show a time, and no other, are in its interval: one, or two where the clock is slow."""
    true_ns = EPOCH + elapsed_ns
    wall_ns = wall_from_true(clock, true_ns)
    first, last = true_interval(clock, wall_ns)
    assert [t for t in range(true_ns - 4, true_ns + 5) if wall_from_true(clock, t) == wall_ns] == list(
        range(first, last + 1)
    )
    assert last - first <= (1 if clock.drift_ppm < 0 else 0)
    assert true_from_wall(clock, wall_ns) == first


@given(steady, ELAPSED)
def test_a_time_that_a_fast_clock_skips_lies_between_its_neighbours(clock, elapsed_ns):
    wall_ns = EPOCH + elapsed_ns
    first, last = true_interval(clock, wall_ns)
    if wall_from_true(clock, first) != wall_ns:
        assert last - first == 1
        assert wall_from_true(clock, first) < wall_ns < wall_from_true(clock, last)


@given(restless, st.integers(min_value=0, max_value=130 * S))
def test_whatever_bends_the_clock_its_interval_holds_the_truth(clock, elapsed_ns):
    true_ns = EPOCH + elapsed_ns
    first, last = true_interval(clock, wall_from_true(clock, true_ns))
    assert first <= true_ns <= last


@given(steady, ELAPSED, ELAPSED)
def test_a_steady_clock_never_runs_backwards(clock, one_ns, other_ns):
    early, late = sorted((EPOCH + one_ns, EPOCH + other_ns))
    assert wall_from_true(clock, early) <= wall_from_true(clock, late)


def test_the_error_is_local_minus_true():
    clock = VirtualClock(EPOCH, error_ms=12.5, drift_ppm=18.0)
    assert wall_from_true(clock, EPOCH) == EPOCH + 12_500_000
    assert wall_from_true(clock, EPOCH + 1_000 * S) == EPOCH + 1_000 * S + 12_500_000 + 18_000_000


class Host:
    """A host whose clocks stand until told: what ``instants`` sees of the module ``time``."""

    CLOCK_MONOTONIC_RAW = 4

    def __init__(self):
        self.true_ns = EPOCH
        self.boot_ns = EPOCH - 5_000 * S

    def time_ns(self):
        return self.true_ns

    def clock_gettime_ns(self, clock_id):
        assert clock_id == self.CLOCK_MONOTONIC_RAW
        return self.true_ns - self.boot_ns


@pytest.fixture
def host(monkeypatch):
    found = Host()
    monkeypatch.setattr(instants, "time", found)
    return found


@given(clock=steady, elapsed_ns=ELAPSED)
def test_drift_bends_both_domains_and_the_error_only_the_wall_clock(clock, elapsed_ns):
    with pytest.MonkeyPatch.context() as patch:
        host = Host()
        patch.setattr(instants, "time", host)
        local = LocalClock(clock)
        wall, raw = local.wall_ns(), local.raw_ns()
        host.true_ns += elapsed_ns
        run_away = wall_from_true(VirtualClock(EPOCH, 0.0, clock.drift_ppm), host.true_ns) - host.true_ns
        assert wall == EPOCH + round(clock.error_ms * 1e6)
        assert local.wall_ns() - wall == elapsed_ns + run_away
        assert local.raw_ns() - raw == elapsed_ns + run_away


def test_a_pair_a_reading_and_a_kernel_stamp_are_bent_alike(host):
    local = LocalClock(VirtualClock(EPOCH - 3_600 * S, 12.5, 18.0))
    pair = local.pair()
    assert (pair.wall_ns, pair.raw_ns) == (local.wall_ns(), local.raw_ns())
    assert local.wall_of_kernel(host.true_ns) == pair.wall_ns


def test_without_a_virtual_clock_the_host_is_read_as_it_is(host):
    local = LocalClock()
    assert (local.wall_ns(), local.raw_ns()) == (EPOCH, 5_000 * S)
    assert local.wall_of_kernel(77) == 77
