"""A wall clock that is slewed is said to be slewed, at what rate and how far; one that is stepped, to be stepped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.checks.clocks import wall_clocks


def pairs(offset_of, *, seconds=20.0, every_s=0.1, bracket_ns=400, seed=1):
    """Return clock pairs of a wall clock that is off its oscillator by ``offset_of(s)`` ns."""
    rng = np.random.default_rng(seed)
    at_s = np.arange(0, seconds, every_s) + rng.uniform(0, 0.01, round(seconds / every_s))
    raw = (at_s * 1e9).astype(np.int64)
    after = raw + rng.integers(bracket_ns // 2, bracket_ns * 2, len(raw))
    inside = raw + ((after - raw) * rng.random(len(raw))).astype(np.int64)
    offset = np.array([offset_of(at) for at in inside / 1e9])
    wall = 1_700_000_000_000_000_000 + inside + offset.astype(np.int64)
    return pd.DataFrame({"raw_before_ns": raw, "wall_ns": wall, "raw_after_ns": after}).astype("Int64")


def slewing(ppm, begin_s, end_s):
    return lambda at_s: 1e3 * ppm * (min(max(at_s, begin_s), end_s) - begin_s)


@pytest.mark.parametrize("ppm", [2_000, 10_000, -10_000, 83_333, 100_000, -100_000])
@pytest.mark.parametrize(("begin_s", "end_s"), [(5.0, 10.0), (0.0, 20.0), (7.03, 7.61)])
def test_a_smooth_slew_is_one_slew_and_no_step(ppm, begin_s, end_s):
    steps, slews = wall_clocks.moves(pairs(slewing(ppm, begin_s, end_s)))
    assert steps == []
    (slew,) = slews
    assert slew.by_ns == pytest.approx(1e3 * ppm * (min(end_s, 19.9) - begin_s), rel=0.05)
    assert np.sign(slew.ppm) == np.sign(ppm)
    if end_s - begin_s > 1:
        assert slew.ppm == pytest.approx(ppm, rel=0.06)


@pytest.mark.parametrize("by_ms", [0.5, -0.5, 5.0, -80.0, 1e9])
def test_a_step_is_one_step_and_no_slew(by_ms):
    steps, slews = wall_clocks.moves(pairs(lambda at_s: by_ms * 1e6 * (at_s > 7.3)))
    assert slews == []
    (step,) = steps
    assert step.by_ns == pytest.approx(by_ms * 1e6, rel=0.01)


@pytest.mark.parametrize("at_s", [4.95, 7.33, 9.97, 15.0])
def test_a_step_during_a_slew_and_beside_it_is_a_step_besides(at_s):
    slew = slewing(10_000, 5.0, 10.0)
    steps, slews = wall_clocks.moves(pairs(lambda now_s: slew(now_s) + 20e6 * (now_s > at_s)))
    assert len(slews) == 1
    assert len(steps) == 1
    assert steps[0].by_ns == pytest.approx(20e6, rel=0.1)


def test_a_slew_to_and_fro_is_two_slews():
    there, back = slewing(5_000, 2.0, 6.0), slewing(-5_000, 6.0, 10.0)
    steps, slews = wall_clocks.moves(pairs(lambda at_s: there(at_s) + back(at_s)))
    assert steps == []
    assert [np.sign(slew.by_ns) for slew in slews] == [1, -1]


@pytest.mark.parametrize("ppm", [0, 50, 500])
def test_everyday_discipline_is_nothing(ppm):
    assert wall_clocks.moves(pairs(slewing(ppm, 3.0, 17.0), bracket_ns=20_000)) == ([], [])


@pytest.mark.parametrize("seed", range(5))
def test_wide_brackets_make_neither(seed):
    steps, slews = wall_clocks.moves(pairs(lambda _: 0.0, bracket_ns=2_000_000, seed=seed))
    assert (steps, slews) == ([], [])


def test_many_steps_are_many_steps():
    steps, slews = wall_clocks.moves(pairs(lambda at_s: 3e6 * np.floor(at_s / 2.0)))
    assert slews == []
    assert len(steps) == 9
