"""The injected truth of a million stamps is asked for at once, and is the agent's own arithmetic stamp by stamp."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.run import truth
from node_agent.clocks import virtual
from node_agent.contract.plan import Freeze, RandomWalk, Slew, Step, VirtualClock

EPOCH_NS = 1_795_465_420_000_000_000

at_s = st.floats(1, 50)
by_ms = st.one_of(st.floats(-1000, 1000), st.floats(-0.0001, 0.0001))
clocks = st.builds(
    VirtualClock,
    epoch_ns=st.just(EPOCH_NS),
    error_ms=st.floats(-20, 20),
    drift_ppm=st.floats(-100, 100),
    horizon_s=st.just(60.0),
    steps=st.lists(st.builds(Step, at_s, by_ms), max_size=4).map(tuple),
    raw_steps=st.lists(st.builds(Step, at_s, by_ms), max_size=1).map(tuple),
    freezes=st.lists(st.builds(Freeze, at_s, st.floats(0.001, 2)), max_size=2).map(tuple),
    slews=st.lists(st.builds(Slew, at_s, st.just(5.0), st.floats(-2, 2)), max_size=1).map(tuple),
    random_walk=st.none() | st.builds(RandomWalk, seed=st.integers(0, 99), step_ppm=st.just(2.0)),
)


@settings(max_examples=60, deadline=None)
@given(clocks, st.lists(st.integers(-(10**9), 60 * 10**9), max_size=40))
def test_truth_of_arrays_is_the_truth_of_each_stamp_also_around_set_backs_and_freezes(clock, elapsed):
    edges = [segment.start_ns + near for segment in virtual.wall_segments(clock)[:12] for near in range(-10, 11, 2)]
    shown = truth.wall_from_true(clock, EPOCH_NS + np.array([*elapsed, *edges], dtype=np.int64))
    walls = np.concatenate([shown, shown + 1, shown - 2])
    ends = [virtual.true_interval(clock, wall) for wall in walls.tolist()]
    assert truth.true_from_wall(clock, walls).tolist() == [first for first, _ in ends]
    assert truth.told_apart(clock, walls).tolist() == [last - first <= truth.ROUNDING_NS for first, last in ends]
