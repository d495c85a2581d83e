"""The injected truth: the vectorised map is the agent's own, and a stamp that means two instants has none."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folder import MS, START_NS, US, Clock, Folder, write

from analysis.by_event import readings
from analysis.run import load, truth
from node_agent.clocks import virtual
from node_agent.contract.plan import Freeze, Step, VirtualClock

DAY_NS = 86_400_000_000_000


@settings(max_examples=60, deadline=None)
@given(
    error_ms=st.floats(-1000, 1000),
    drift_ppm=st.floats(-500, 500),
    elapsed=st.lists(st.integers(-DAY_NS, 30 * DAY_NS), min_size=1, max_size=20),
)
def test_the_vectorised_map_and_its_inverse_equal_the_scalar_ones(error_ms, drift_ppm, elapsed):
    clock = VirtualClock(epoch_ns=START_NS, error_ms=error_ms, drift_ppm=drift_ppm)
    instants = np.array(elapsed, dtype=np.int64) + START_NS
    assert truth.wall_from_true(clock, instants).tolist() == [
        virtual.wall_from_true(clock, t) for t in instants.tolist()
    ]
    assert truth.true_from_wall(clock, instants).tolist() == [
        virtual.true_from_wall(clock, t) for t in instants.tolist()
    ]


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.lists(st.integers(-2_000_000_000, 4_000_000_000), min_size=1, max_size=10))
def test_a_clock_that_steps_is_inverted_as_the_scalar_map_does(by_ms, elapsed):
    clock = VirtualClock(epoch_ns=START_NS, drift_ppm=12.5, steps=(Step(at_s=1.0, by_ms=by_ms),))
    walls = np.array(elapsed, dtype=np.int64) + START_NS
    assert truth.true_from_wall(clock, walls).tolist() == [virtual.true_from_wall(clock, t) for t in walls.tolist()]


def test_a_stamp_that_a_clock_shows_twice_has_no_truth_to_be_judged_by(tmp_path):
    """Set back by 50 ms at 0.1 s, the clock shows the 50 ms before that twice; true is then either, so neither."""
    path = write(Folder({"w": Clock(ntp_half_ns=50 * US)}), tmp_path / "r")
    run = load.load(path)
    clock = VirtualClock(epoch_ns=START_NS, steps=(Step(at_s=0.1, by_ms=-50.0),))
    run.manifest.nodes["w"].virtual_clock = json.loads(json.dumps(asdict(clock)))
    table = readings.table(run)
    shown = table.stamps["w"].ns - START_NS
    twice = (shown >= 50 * MS) & (shown < 100 * MS)
    assert twice.sum() > 0
    true = table.truth("w")
    assert true is not None
    assert true.known.tolist() == (~twice).tolist()


def test_the_time_at_which_a_clock_stood_still_is_not_one_instant():
    clock = VirtualClock(epoch_ns=START_NS, freezes=(Freeze(at_s=1.0, for_s=0.5),))
    walls = np.array([START_NS, START_NS + 1_000_000_000, START_NS + 1_000_000_001], dtype=np.int64)
    assert truth.told_apart(clock, walls).tolist() == [True, False, True]
