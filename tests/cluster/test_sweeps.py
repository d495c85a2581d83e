"""A sweep whose controller is killed amid a run: the agents go on, and the next call collects and counts that run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import yaml

from harness.configuration.sweep import SweepConfig, order
from node_agent.contract.records import COLLECTED, RUN_OK, RUN_RUNNING

if TYPE_CHECKING:
    from subprocess import Popen

    from tests.cluster.conftest import Project

START_WITHIN_S = 60.0
NIGHT: dict[str, Any] = {
    "base": "configs",
    "vary": {"worker.timing.ntp_query_interval": [0.2, 0.3]},
    "repeats": 1,
    "seed": 7,
}


def manifest_of(project: Project, run: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((project.path / "results" / run / "manifest.json").read_text())
    return manifest


def read_until(process: Popen[str], wanted: str) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    printed = ""
    while wanted not in printed:
        assert time.monotonic() < deadline, printed
        line = process.stdout.readline()  # type: ignore[union-attr]
        assert line, printed
        printed += line


def test_a_run_whose_controller_was_killed_is_collected_and_counted_by_the_next_call(project: Project) -> None:
    (project.path / "configs/sweeps/night.yaml").write_text(yaml.safe_dump(NIGHT, sort_keys=False))
    project.edit("configs/coordinator_config.yaml", broadcast_pattern={"pattern": ["fast"], "fast_stream": 0.05})
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 200})
    first, second = (f"night.{cell.name}.r{repeat:02d}" for cell, repeat in order(SweepConfig.model_validate(NIGHT)))
    process = project.start("ares", "sweep", "night")
    read_until(process, "comp18 phase=broadcasting")
    process.kill()
    process.communicate(timeout=250)
    assert manifest_of(project, first)["phase"] == RUN_RUNNING
    code, printed = project.fab("ares", "sweep", "night")
    assert code == 0, printed
    assert f"sweep night: collecting {first}, which an earlier call began" in printed
    assert "still running nodes=" in printed
    assert printed.count("deployed experiment=") == 1
    assert "sweep night: 2 of 2 runs done" in printed
    for run in (first, second):
        manifest = manifest_of(project, run)
        assert (manifest["phase"], manifest["outcome"]) == (COLLECTED, RUN_OK)
        assert {node["status"]["counts"].get("received", 200) for node in manifest["nodes"].values()} == {200}
    assert not list(project.path.glob("results/night.*.a2"))
