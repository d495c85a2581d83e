"""Clocks are said to have held only by a judge, and in a run, that would have shown claims too narrow by half."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from analysis import reference
from analysis.by_event import readings
from analysis.clocks import calibration, quality, standards
from analysis.clocks.clock import in_one_piece
from analysis.questions import judges
from analysis.run import load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate


def errors(error_ns, half_ns, *, level, independent_ns=None, blur_ns=0, standard=standards.INJECTED):
    every = np.ones(len(error_ns), dtype=np.bool_)
    error, arm = error_ns.astype(np.int64), np.full(len(error_ns), int(half_ns))
    independent = np.full(len(error_ns), float(half_ns if independent_ns is None else independent_ns))
    high = error if not blur_ns else error + blur_ns
    low = error if not blur_ns else error - blur_ns
    return standards.Errors(standard, level, every, every, low, high, arm, arm, independent)


def verdict(one):
    return calibration.kappa(in_one_piece(one, np.arange(len(one.low))))


@pytest.mark.parametrize("level", [0.6827, 0.9545, 0.9973])
@pytest.mark.parametrize("too_small", [1.35, 1.5, 2.0])
@pytest.mark.parametrize("samples", [10, 40, 200, 2000])
def test_a_sigma_that_is_too_small_is_seldom_said_to_have_held(level, too_small, samples):
    """1.35 is below what "held" promises, so it may pass where chance has it: but then it is said what would show."""
    said = []
    for seed in range(60):
        error = np.random.default_rng(seed).normal(scale=1e6 * too_small, size=samples)
        said.append(verdict(errors(error, 1e6 * float(ndtri(0.5 + level / 2)), level=level)))
    held = [one for one in said if one.claims == calibration.HELD]
    assert all(one.could_see is not None and one.could_see <= calibration.HELD_AT for one in held)
    if too_small >= calibration.HELD_AT:
        assert len(held) <= 3


def test_the_difference_of_two_readings_hides_what_one_would_show():
    """Two half-widths of 3 sigma add up to 6, where the difference has a sigma of 1.41: 4.2 sigma of room."""
    error = np.random.default_rng(1).normal(scale=np.sqrt(2) * 1e6, size=5000)
    one = verdict(errors(error, 6e6, level=2 * 0.9973 - 1, independent_ns=3e6 * np.sqrt(2), standard=standards.PROBES))
    assert one.claims == calibration.NOT_CONTRADICTED
    assert one.could_see > 1.5
    alone = verdict(errors(error / np.sqrt(2), 3e6, level=0.9973))
    assert alone.could_see < 1.5


def test_power_is_what_it_says():
    """Claims too narrow by just what could be seen pass in about one run of twenty."""
    rng = np.random.default_rng(2)
    half = 1e6 * float(ndtri(0.5 + 0.9973 / 2))
    clock = in_one_piece(errors(rng.normal(scale=1e6, size=400), half, level=0.9973), np.arange(400))
    smallest = calibration.could_see(clock, 400.0)
    passed = 0
    for seed in range(400):
        error = np.random.default_rng([3, seed]).normal(scale=1e6 * smallest, size=400)
        passed += verdict(errors(error, half, level=0.9973)).value <= 1.0
    assert 0.005 < passed / 400 < 0.1


def by_the_reference(folder):
    """Return the quality of every clock as the probes alone can judge it."""
    run = load.load(folder)
    nodes = {name: replace(node, virtual_clock=None) for name, node in run.manifest.nodes.items()}
    table = readings.table(replace(run, manifest=replace(run.manifest, nodes=nodes)))
    probed = judges.Probed(table, reference.build(table.run))
    return quality.compute(table, None if probed.reason else lambda _part: probed.flights).clocks


@pytest.mark.parametrize("seed", [201, 202, 203])
@pytest.mark.parametrize("drift_ppm", [150.0])
def test_oscillators_beyond_their_limit_are_not_said_to_have_held(tmp_path, seed, drift_ppm):
    plain = scenario.read("honest")
    clock = scenario.Clock(drift_ppm=drift_ppm, least_drift_ppm=drift_ppm)
    told = plain.model_copy(update={"clock": clock})
    for one in by_the_reference(simulate(told, 3, 600, rate_hz=20.0, seed=seed, results=tmp_path)):
        if one.kappa is not None:
            assert one.kappa.claims != calibration.HELD


def test_workers_whose_oscillators_step_together_are_not_said_to_have_held(tmp_path):
    plain = scenario.read("honest")
    steps = tuple(scenario.Jump(node=node, at=0.5, by_ms=0.2) for node in (1, 2))
    told = plain.model_copy(update={"raw_steps": steps})
    for one in by_the_reference(simulate(told, 3, 600, rate_hz=20.0, seed=5, results=tmp_path)):
        if one.kappa is not None:
            assert one.kappa.claims != calibration.HELD
