"""Oscillators beyond max_drift_ppm are found by the probes, and by one NTP server, without any injected truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import reference
from analysis.checks.clocks import drift
from analysis.run import load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate


def blind(folder):
    """Return a run without its injected truth, and its reference."""
    run = load.load(folder)
    nodes = {name: replace(node, virtual_clock=None) for name, node in run.manifest.nodes.items()}
    run = replace(run, manifest=replace(run.manifest, nodes=nodes))
    return run, reference.build(run)


def found(folder):
    return list(drift.find(*blind(folder)))


def with_clock(name="honest", **changes):
    plain = scenario.read(name)
    timing = scenario.Timing(
        ntp_query_interval=2.0, chronotick_query_interval=1.0, commit_wait_delays=(1.0,), commit_wait_share=0.0
    )
    return plain.model_copy(update={"timing": timing, "clock": scenario.Clock(**changes)})


@pytest.mark.parametrize("seed", range(300, 306))
def test_oscillators_of_150_ppm_are_found_where_100_are_allowed(tmp_path, seed):
    """Each node draws +150 or -150 ppm: two that differ are apart by 300, and all are by 150 from the NTP server."""
    told = with_clock(drift_ppm=150.0, least_drift_ppm=150.0)
    findings = found(simulate(told, 3, 1200, rate_hz=20.0, seed=seed, results=tmp_path))
    assert all((finding.code, finding.severity) == (drift.CODE, "error") for finding in findings)
    assert {finding.node for finding in findings if finding.source == "ntp"} == {"comp18", "comp11", "comp12"}
    for finding in findings:
        least = finding.numbers["at_least_ppm"]
        assert (100 < least < 155) if finding.numbers["by"] == "ntp" else (200 < least < 305)


def test_two_that_run_apart_are_found_by_the_probes_alone(tmp_path):
    told = with_clock(drift_ppm=150.0, least_drift_ppm=150.0)
    for seed in range(310, 316):
        run, built = blind(simulate(told, 3, 600, rate_hz=20.0, seed=seed, results=tmp_path))
        by_probes = [one for one in drift.find(run, built) if one.numbers["by"] == "probes"]
        drifts = {name: node.virtual_clock["drift_ppm"] for name, node in load.load(run.path).manifest.nodes.items()}
        apart = {pair for pair in built.joined if np.sign(drifts[pair[0]]) != np.sign(drifts[pair[1]])}
        assert {tuple(one.numbers["nodes"]) for one in by_probes} == apart


@pytest.mark.parametrize("name", scenario.names())
@pytest.mark.parametrize("seed", [321, 322])
def test_no_scenario_within_its_limit_is_accused(tmp_path, name, seed):
    """Steps of clocks and oscillators, lying servers, loss and switching paths are no drift."""
    assert found(simulate(name, 3, 600, rate_hz=20.0, seed=seed, results=tmp_path)) == []


@pytest.mark.parametrize("seed", [331, 332, 333])
def test_oscillators_at_the_limit_that_wander_are_not_accused(tmp_path, seed):
    told = with_clock(drift_ppm=99.0, least_drift_ppm=99.0, wander_ppm=0.2)
    assert found(simulate(told, 3, 1200, rate_hz=20.0, seed=seed, results=tmp_path)) == []


def limits(theta_ns, half_ns):
    at = np.arange(len(theta_ns)) * 100_000_000
    theta = np.asarray(theta_ns, dtype=np.int64)
    return drift.Limits(at, theta + half_ns, at, theta - half_ns)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_rate_that_is_told_is_a_lower_limit_of_the_true_one(sign):
    at_s = np.arange(600) * 0.1
    rate = drift.least_rate(limits(sign * at_s * 250e3, 40_000), 200_000)
    assert 200 < rate <= 250


@pytest.mark.parametrize("places", [[300], [100, 500], [10], [590], [299, 301]])
def test_steps_are_no_drift_however_large(places):
    theta = np.zeros(600)
    for place in places:
        theta[place:] += 5e6
    assert drift.least_rate(limits(theta, 40_000), 200_000) is None


def test_an_instance_of_too_few_bounds_tells_nothing():
    nothing = np.zeros(0, dtype=np.int64)
    assert drift.least_rate(drift.Limits(nothing, nothing, nothing, nothing), 1) is None
    assert drift.least_rate(limits([0, 10**9], 1), 1) is None
