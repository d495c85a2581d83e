"""One rule for an experiment's name, whoever makes it or looks for it."""

from __future__ import annotations

import pytest

from analysis.errors import AnalysisError
from analysis.imported import older_format
from analysis.run import load
from analysis.simulation.simulate import simulate
from harness import results as runs
from harness.errors import ConfigError
from node_agent.contract.records import NAME_FORM

WAYS = {
    "deploy": lambda name, _results: runs.valid_name(name),
    "simulate": lambda name, results: simulate("honest", 2, 10, experiment=name, results=results),
    "import": lambda name, results: older_format.import_published(results / "none", name, results),
    "analyze": load.resolve,
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("name", ["a" * 65, ".a", "-a", "a b", "ä", "a:b"])
def test_a_name_that_is_none_is_refused_alike(tmp_path, way, name):
    with pytest.raises((AnalysisError, ConfigError)) as refused:
        WAYS[way](name, tmp_path)
    assert f"experiment name: expected {NAME_FORM}, got {name!r}" in str(refused.value)
    assert refused.value.exit_code == 2


def test_the_longest_name_is_taken_by_all(tmp_path):
    name = "a" * 64
    assert runs.valid_name(name) == name
    folder = simulate("honest", 2, 10, experiment=name, results=tmp_path)
    assert load.resolve(name, tmp_path) == folder
