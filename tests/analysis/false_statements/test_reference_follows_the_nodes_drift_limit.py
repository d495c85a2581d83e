"""The reference assumes of two oscillators what the nodes' own drift limits leave possible, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from analysis import reference
from analysis.by_event import readings
from analysis.clocks import calibration, quality
from analysis.errors import AnalysisError
from analysis.questions import judges
from analysis.reference import drift
from analysis.run import drift_limits, load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate
from node_agent.contract import records


def of_limit(ppm, **clock):
    plain = scenario.read("honest")
    probes = scenario.Probes(rate_hz=2.0)
    return plain.model_copy(update={"max_drift_ppm": ppm, "clock": scenario.Clock(**clock), "probes": probes})


@pytest.mark.parametrize("seed", range(400, 412))
def test_with_a_limit_of_125_ppm_kept_by_all_the_reference_holds_the_truth(tmp_path, seed):
    told = of_limit(125.0, drift_ppm=124.0, least_drift_ppm=120.0)
    folder = simulate(told, 3, 600, rate_hz=20.0, seed=seed, results=tmp_path)
    built = reference.build(load.load(folder))
    assert built.evaluable
    assert built.rho_ppm == pytest.approx(250 * (1 + 125e-6), rel=1e-5)
    truth = next(check for check in built.checks if check.name == "injected_truth_inside")
    assert truth.checked > 1000
    assert truth.held == truth.checked


@pytest.mark.parametrize("seed", [412, 413, 414])
def test_honest_clocks_of_such_nodes_are_not_called_too_narrow(tmp_path, seed):
    told = of_limit(125.0, drift_ppm=124.0, least_drift_ppm=120.0)
    run = load.load(simulate(told, 3, 600, rate_hz=20.0, seed=seed, results=tmp_path))
    nodes = {name: replace(node, virtual_clock=None) for name, node in run.manifest.nodes.items()}
    table = readings.table(replace(run, manifest=replace(run.manifest, nodes=nodes)))
    probed = judges.Probed(table, reference.build(table.run))
    for one in quality.compute(table, lambda _part: probed.flights).clocks:
        assert one.kappa is None or one.kappa.claims != calibration.TOO_NARROW


@pytest.mark.parametrize(("first", "second"), [(100_000, 100_000), (0, 0), (0, 125_000), (7, 13), (10_000_000, 1)])
def test_the_limit_of_a_pair_is_that_of_two_rates_exactly_and_rounds_outward(first, second):
    found = drift.relative(first, second)
    rates = [Fraction(sign * ppb, 10**9) for sign in (1, -1) for ppb in (first,)]
    others = [Fraction(sign * ppb, 10**9) for sign in (1, -1) for ppb in (second,)]
    worst = max(max(abs(two - one) / (1 + one), abs(one - two) / (1 + two)) for one in rates for two in others)
    assert worst * 10**9 <= found < worst * 10**9 + 1


def changed(folder, change):
    file = folder / records.MANIFEST_FILE
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return folder


@pytest.fixture
def folder(tmp_path):
    return simulate("honest", 3, 100, rate_hz=20.0, seed=1, results=tmp_path)


def test_each_pair_has_its_nodes_own(folder):
    def change(data):
        data["nodes"]["comp11"]["plan"]["clocks"]["max_drift_ppm"] = 20.0
        data["nodes"]["comp12"]["plan"]["clocks"]["max_drift_ppm"] = 50.0

    built = reference.build(load.load(changed(folder, change)))
    own = {(pair.first, pair.second): pair.rho_ppm for pair in built.pairs}
    assert own[("comp18", "comp11")] == pytest.approx(120, rel=2e-4)
    assert own[("comp18", "comp12")] == pytest.approx(150, rel=2e-4)
    assert own[("comp11", "comp12")] == pytest.approx(70, rel=2e-4)
    assert built.rho_ppm == max(own.values())
    assert built.as_statistics()["rho_from"] == "the nodes' max_drift_ppm"


def test_a_run_that_states_no_limit_has_the_default_and_says_so(folder):
    def change(data):
        for node in data["nodes"].values():
            node["plan"] = None
        del data["config"]["worker"]["clocks"]["max_drift_ppm"]

    built = reference.build(load.load(changed(folder, change)))
    assert built.rho_ppm == reference.DEFAULT_RHO_PPM
    assert "default" in built.as_statistics()["rho_from"]


@pytest.mark.parametrize("wrong", [-1, 200_000, "100", True, 1e308])
def test_a_limit_that_is_none_is_one_line(folder, wrong):
    def change(data):
        data["nodes"]["comp11"]["plan"]["clocks"]["max_drift_ppm"] = wrong

    run = load.load(changed(folder, change))
    with pytest.raises(AnalysisError, match="expected a number of ppm from 0 to below"):
        drift_limits.of_node(run, "comp11")
    with pytest.raises(AnalysisError):
        reference.build(run)


def test_what_was_asked_for_is_used(folder):
    built = reference.build(load.load(folder), rho_ppm=300.0)
    assert built.rho_ppm == 300.0
    assert np.all([pair.rho_ppm == 300.0 for pair in built.pairs])
