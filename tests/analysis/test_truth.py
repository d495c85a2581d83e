"""The injected truth: the vectorised map is the agent's own, and containment finds what is inside and what is not."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folder import MS, START_NS, US, Clock, Folder, write

from analysis import load, readings, truth
from node_agent.clocks import virtual
from node_agent.plan import Freeze, Step, VirtualClock

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


def judged(folder, path):
    table = readings.table(load.load(write(folder, path)))
    return table, {(one.source, one.node_id): one for one in truth.judge(table)}


def test_readings_that_contain_the_truth_are_counted_with_their_width_and_error(tmp_path):
    clock = Clock(wall_error_ns=7 * MS, ntp_error_ns=-20 * US, ntp_half_ns=50 * US)
    _, found = judged(Folder({"w": clock}), tmp_path / "r")
    ntp = found["ntp", "w"]
    assert (ntp.contained.numerator, ntp.contained.denominator) == (10, 10)
    assert (ntp.half_width_us.median, ntp.abs_error_us.median, ntp.abs_error_us.maximum) == (50.0, 20.0, 20.0)
    assert found["system", "w"].abs_error_us.median == 7000.0
    assert found["system", "w"].contained.denominator == 0


def test_bounds_shrunk_a_hundredfold_miss_the_truth(tmp_path):
    """The negative control: the same function, given the same readings 100 times narrower, reports the misses."""
    table, found = judged(Folder({"w": Clock(ntp_error_ns=20 * US, ntp_half_ns=50 * US)}), tmp_path / "r")
    assert found["ntp", "w"].contained.value == 1.0
    honest = table.readings("w", "ntp")
    half = (honest.latest - honest.earliest) // 200
    shrunk = replace(honest, earliest=honest.est - half, latest=honest.est + half)
    missed = truth.containment(shrunk, table.truth("w"))
    assert (missed.contained.numerator, missed.contained.denominator) == (0, 10)
    assert missed.half_width_us.median == 0.5


def test_a_touching_bound_contains_the_truth_and_one_ns_less_does_not(tmp_path):
    edge = Clock(ntp_error_ns=50 * US, ntp_half_ns=50 * US)
    _, found = judged(Folder({"w": edge, "v": replace(edge, ntp_half_ns=50 * US - 1)}), tmp_path / "r")
    assert found["ntp", "w"].contained.value == 1.0
    assert found["ntp", "v"].contained.value == 0.0


def test_where_no_truth_was_injected_only_availability_and_width_remain(tmp_path):
    _, found = judged(Folder({"w": Clock(ct_gone="stale")}, truth=False), tmp_path / "r")
    assert found["ntp", "w"].contained.value is None
    assert found["ntp", "w"].half_width_us.median == 50.0
    assert found["ntp", "w"].abs_error_us.count == 0
    assert found["chronotick", "w"].unavailable == 10
    assert truth.as_statistics(list(found.values()))["reference"].startswith("none")


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
