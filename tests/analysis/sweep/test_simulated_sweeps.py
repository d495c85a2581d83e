"""A sweep of simulated runs: the matrix, names, resume and order of any sweep, and a seed of its own for each run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from analysis.simulation.simulate import OfSweep
from analysis.simulation.swept import Simulator
from analysis.sweep import report
from harness.configuration.sweep import cells, order, run_seed, sweep_path
from harness.console import Console
from harness.errors import ConfigError
from harness.sweep import simulated

if TYPE_CHECKING:
    from pathlib import Path

    from harness.sweep.simulated import SimulatedSweep

NTP = "scenario.timing.ntp_query_interval"
DRIFTS: dict[str, Any] = {
    "base": {"scenario": "honest", "nodes": 2, "events": 30, "rate_hz": 20.0},
    "vary": {NTP: [1, 10], "scenario.events": [30, 40]},
    "repeats": 2,
    "seed": 7,
}


def read(root: Path, **changes: Any) -> SimulatedSweep:
    file = sweep_path(root, "drifts")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(DRIFTS | changes, sort_keys=False))
    results = root / "results"
    return simulated.read(root, results, "drifts", Simulator(OfSweep("drifts", file), results))


def manifests(root: Path) -> dict[str, dict[str, Any]]:
    found = sorted((root / "results").glob("drifts.*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return {path.parent.name: json.loads(path.read_text()) for path in found}


def test_every_run_is_made_once_in_the_drawn_order_with_its_cells_values(tmp_path: Path) -> None:
    sweep = read(tmp_path)
    assert simulated.carry_out(sweep, Console()) == []
    made = manifests(tmp_path)
    assert list(made) == [f"drifts.{cell.name}.r{repeat:02d}" for cell, repeat in order(sweep.config)]
    c004 = made["drifts.c004.r02"]["config"]
    assert (c004["worker"]["timing"]["ntp_query_interval"], c004["coordinator"]["experiment"]["num_events"]) == (10, 40)
    assert (tmp_path / "results/drifts.c004.r02/configs/sweep.yaml").read_text() == sweep_path(
        tmp_path, "drifts"
    ).read_text()
    seeds = {name: manifest["config"]["scenario"]["seed"] for name, manifest in made.items()}
    assert len(set(seeds.values())) == len(made)
    assert seeds == {name: run_seed(sweep.config, name) for name in made}


def test_the_same_call_makes_what_is_missing_as_it_was_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = read(tmp_path)
    simulated.carry_out(sweep, Console())
    gone = tmp_path / "results/drifts.c002.r01"
    before = (gone / "worker_comp11.csv").read_bytes()
    kept = {name: (tmp_path / "results" / name).stat().st_ino for name in manifests(tmp_path) if name != gone.name}
    gone.rename(tmp_path / "gone")
    simulated.plan(sweep, Console())
    assert "runs=8 done=7 left=1" in capsys.readouterr().out
    assert not gone.exists()
    simulated.carry_out(sweep, Console())
    assert (gone / "worker_comp11.csv").read_bytes() == before
    assert {name: (tmp_path / "results" / name).stat().st_ino for name in kept} == kept
    with pytest.raises(ConfigError, match=r"expected the configuration of cell c00. .*: name a new sweep"):
        read(tmp_path, base=DRIFTS["base"] | {"nodes": 3}).slots()


def test_seeds_differ_between_runs_and_sweeps_seeds(tmp_path: Path) -> None:
    sweep = read(tmp_path, vary={"scenario.clock.drift_ppm": list(range(999))}, repeats=99)
    names = [f"drifts.{cell.name}.r{repeat:02d}" for cell, repeat in order(sweep.config)]
    seeds = {run_seed(sweep.config, name) for name in names}
    assert len(seeds) == len(names) == 98_901
    other = sweep.config.model_copy(update={"seed": 8})
    assert not seeds & {run_seed(other, name) for name in names}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"vary": {"scenario.timing.ntp_interval": [1]}},
            (
                "vary.scenario.timing.ntp_interval: expected a key of a scenario (it has no timing.ntp_interval; "
                "did you mean ntp_query_interval?), got 'scenario.timing.ntp_interval'"
            ),
        ),
        ({"vary": {"worker.x": [1]}}, "vary.worker.x: expected a path that begins with scenario., as base is one"),
        ({"vary": {"scenario.seed": [1]}}, "vary.scenario.seed: expected no such path: each run's seed is made of"),
        ({"base": "configs"}, "vary.scenario.timing.ntp_query_interval: expected a path that begins with coordinator."),
        (
            {"base": "configs", "vary": {"worker.timing.ntp_query_interval": [2]}},
            "base: expected a scenario, as {scenario: honest}, got the configuration folder configs; carry it out with",
        ),
        ({"base": {"scenario": "honest", "event": 3}}, "base.event: expected no such key, got 3; did you mean events?"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **changes)
    assert str(caught.value).startswith(f"{sweep_path(tmp_path, 'drifts')}: {said}")
    assert "\n" not in str(caught.value)


def test_every_cell_that_cannot_be_is_a_line_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, vary={"scenario.network.loss": [0.1, 2], "scenario.nodes": [2, 1]})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["c002", "c003", "c004"]
    assert "c002: nodes: expected 2 to 254" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_sweep_may_vary_which_scenario_is_played(tmp_path: Path) -> None:
    sweep = read(tmp_path, vary={"scenario.name": ["honest", "biased"]})
    assert [cell.in_words for cell in cells(sweep.config)] == ["name=honest", "name=biased"]
    assert sweep.contents["c002"]["chronotick"] == {"misbehave": "biased", "amount": 0.5}


def test_a_degraded_run_is_repeated_once_and_then_named(tmp_path: Path) -> None:
    base = {"scenario": "lossy", "nodes": 2, "events": 30}
    sweep = read(tmp_path, base=base, vary={"scenario.network.loss": [0.5]}, repeats=1)
    assert simulated.carry_out(sweep, Console()) == ["drifts.c001.r01"]
    assert list(manifests(tmp_path)) == ["drifts.c001.r01", "drifts.c001.r01.a2"]
    accepted = read(tmp_path, base=base, vary={"scenario.network.loss": [0.5]}, repeats=1, accept_degraded=True)
    assert simulated.carry_out(accepted, Console()) == []


def test_analysis_reads_it_as_any_sweep(tmp_path: Path) -> None:
    simulated.carry_out(read(tmp_path, vary={"scenario.events": [30]}), Console())
    text = report.write(tmp_path / "results", "drifts").read_text(encoding="utf-8")
    assert "2 runs of 1 cells" in text
    assert "| cell | scenario.events |" in text
