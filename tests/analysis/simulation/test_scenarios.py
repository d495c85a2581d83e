"""Every scenario's run is judged as its file says, keeps the house's rules, and replays without a difference."""

from __future__ import annotations

import pytest

from analysis import command, registry
from analysis.checks import replay, validate
from analysis.simulation import expectation, scenario
from analysis.simulation.simulate import simulate

EVENTS, RATE_HZ = 1200, 20.0


@pytest.mark.parametrize("seed", [1, 11, 12])
@pytest.mark.parametrize("name", scenario.names())
def test_a_scenario_is_judged_as_its_file_says(tmp_path, name, seed):
    told = scenario.read(name)
    folder = simulate(told, 3, EVENTS, rate_hz=RATE_HZ, seed=seed, results=tmp_path)
    judged = registry.compute(command.table_of(folder))
    assert told.expected, "a scenario without verdicts tests nothing"
    assert expectation.unmet(told.expected, judged.as_statistics(), judged.findings) == []


@pytest.mark.parametrize("seed", [3, 4])
def test_frozen_answers_miss_the_truth_whatever_the_seed(tmp_path, seed):
    """Every node drifts by 30 ppm or more, so that a repeated offset cannot stay right by luck."""
    told = scenario.read("frozen")
    folder = simulate(told, 3, EVENTS, rate_hz=RATE_HZ, seed=seed, results=tmp_path)
    judged = registry.compute(command.table_of(folder))
    assert expectation.unmet(told.expected, judged.as_statistics(), judged.findings) == []
    for node in judged.table.run.manifest.nodes.values():
        assert 30 <= abs(node.virtual_clock["drift_ppm"]) <= 50


@pytest.mark.parametrize("name", scenario.names())
def test_a_simulated_folder_is_valid_and_replays(tmp_path, name):
    folder = simulate(name, 3, 300, rate_hz=10.0, seed=7, results=tmp_path)
    assert [one.line for one in validate.validate(folder) if one.breaks_contract] == []
    again = replay.replay(folder)
    assert again.readings > 300 * 3 * 2
    assert [str(one) for one in again.differences] == []
