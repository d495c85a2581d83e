"""Sweeps: cells, their order, what is done, and what is refused before anything starts."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness import results
from harness.configuration.sweep import SweepConfig, cells, files_of, load_sweep, order
from harness.errors import ConfigError
from harness.sweep import state
from node_agent.contract.records import COLLECTED, DEPLOYED, RUN_DEGRADED, RUN_FAILED, RUN_OK, RUN_RUNNING, Manifest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.harness.conftest import Project

FAST = "coordinator.broadcast_pattern.fast_stream"
NTP = "worker.timing.ntp_query_interval"
NIGHT: dict[str, Any] = {"base": "configs", "vary": {FAST: [0.01, 0.002], NTP: [2, 10]}, "repeats": 2, "seed": 7}


def sweep_of(**changes: Any) -> SweepConfig:
    return SweepConfig.model_validate(NIGHT | changes)


def write(root: Path, **changes: Any) -> None:
    (root / "configs/sweeps").mkdir(parents=True, exist_ok=True)
    (root / "configs/sweeps/night.yaml").write_text(yaml.safe_dump(NIGHT | changes, sort_keys=False))


def test_cells_count_the_last_path_fastest_and_an_excluded_one_keeps_its_number() -> None:
    made = cells(sweep_of(exclude=[{NTP: 10, FAST: 0.01}]))
    assert [(cell.name, tuple(cell.values.values())) for cell in made] == [
        ("c001", (0.01, 2)),
        ("c003", (0.002, 2)),
        ("c004", (0.002, 10)),
    ]


def test_a_partial_exclusion_leaves_out_every_cell_with_that_value() -> None:
    assert [cell.name for cell in cells(sweep_of(exclude=[{NTP: 10}]))] == ["c001", "c003"]


def test_every_block_has_all_cells_once_and_more_repeats_leave_the_earlier_order() -> None:
    runs = order(sweep_of(repeats=6))
    blocks = [[cell.name for cell, repeat in runs if repeat == block] for block in range(1, 7)]
    assert all(sorted(block) == ["c001", "c002", "c003", "c004"] for block in blocks)
    assert len({tuple(block) for block in blocks}) > 1
    assert runs[:8] == order(sweep_of(repeats=2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"vary": {"worker.timing.ntp_interval": [1]}},
            (
                "vary.worker.timing.ntp_interval: expected a key of worker_config.yaml (it has no timing.ntp_interval; "
                "did you mean ntp_query_interval?), got 'worker.timing.ntp_interval'"
            ),
        ),
        ({"vary": {"gps.x": [1]}}, "vary.gps.x: expected a path that begins with coordinator. or worker., got 'gps.x'"),
        ({"vary": {NTP: [2, 2.0]}}, f"vary.{NTP}: expected values that differ, got [2, 2.0]"),
        ({"vary": {NTP: []}}, f"vary.{NTP}: expected at least 1 item(s), got []"),
        ({"exclude": [{NTP: 3}]}, f"exclude.0.{NTP}: expected one of its values [2, 10], got 3"),
        ({"exclude": [{"worker.x": 3}]}, "exclude.0: expected paths of vary, got 'worker.x'"),
        ({"exclude": [{NTP: 2}, {NTP: 10}]}, "vary: expected 1 to 999 cells that are not excluded, got 0"),
        ({"repeats": 0}, "repeats: expected a number >= 1, got 0"),
        ({"repeat": 3}, "repeat: expected no such key, got 3; did you mean repeats?"),
        (
            {"vary": {"worker.timing": [{}], NTP: [2]}},
            f"vary.{NTP}: expected no path below another, worker.timing, got '{NTP}'",
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_sweep(tmp_path, "night")
    assert str(caught.value) == f"{tmp_path}/configs/sweeps/night.yaml: {said}"


def test_a_cells_files_have_its_values_and_the_bases_otherwise(tmp_path: Path) -> None:
    (tmp_path / "coordinator_config.yaml").write_text("broadcast_pattern: {fast_stream: 1, slow_stream: 3}")
    (tmp_path / "worker_config.yaml").write_text("{network: {listen_port: 9}}")
    assert files_of(tmp_path, cells(sweep_of())[3]) == {
        "coordinator_config.yaml": {"broadcast_pattern": {"fast_stream": 0.002, "slow_stream": 3}},
        "worker_config.yaml": {"network": {"listen_port": 9}, "timing": {"ntp_query_interval": 10}},
    }


def test_a_key_below_what_the_base_sets_to_null_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coordinator_config.yaml").write_text("{probes: null}")
    (tmp_path / "worker_config.yaml").write_text("{}")
    with pytest.raises(ConfigError, match=r"probes: expected a mapping, since a sweep varies a key in it, got None"):
        files_of(tmp_path, cells(sweep_of(vary={"coordinator.probes.rate_hz": [25]}))[0])


def keep(place: Path, name: str, phase: str, outcome: str | None) -> None:
    manifest = Manifest(
        run_id="0" * 32,
        experiment=name,
        cluster="local",
        phase=phase,
        outcome=outcome,
        created_utc="2026-01-01T00:00:00Z",
        code_version={},
        argv=[],
        config={},
        nodes={},
    )
    results.create(place, manifest, [])


def test_what_is_done_is_read_from_the_manifests(tmp_path: Path) -> None:
    keep(tmp_path, "night.c001.r01", COLLECTED, RUN_OK)
    keep(tmp_path, "night.c002.r01", COLLECTED, RUN_FAILED)
    keep(tmp_path, "night.c002.r01.a2", COLLECTED, RUN_DEGRADED)
    keep(tmp_path, "night.c003.r01", DEPLOYED, None)
    keep(tmp_path, "night.c004.r01", RUN_RUNNING, None)
    keep(tmp_path, "night.c004.r01.a10", RUN_RUNNING, None)
    keep(tmp_path, "night.c001.r010", COLLECTED, RUN_OK)  # another sweep's, whatever it is
    one_block = [(cell, 1) for cell in cells(sweep_of())]
    slots = state.slots(tmp_path, "night", one_block)
    assert [slot.done(accept_degraded=False) for slot in slots] == [True, False, False, False]
    assert [slot.done(accept_degraded=True) for slot in slots] == [True, True, False, False]
    assert [slot.next_name for slot in slots] == [
        "night.c001.r01.a2",
        "night.c002.r01.a3",
        "night.c003.r01.a2",
        "night.c004.r01.a11",
    ]
    uncollected = [slot.uncollected for slot in slots]
    assert [begun.name if begun else None for begun in uncollected] == [None, None, None, "night.c004.r01.a10"]


def test_every_refused_configuration_is_named_before_anything_starts(project: Project) -> None:
    write(project.path, vary={FAST: [0.01, -1], NTP: [2, 0]})
    for arguments in (["--plan"], []):
        code, printed = project.fab("local", "sweep", "night", *arguments)
        assert code == 2
        assert [line for line in printed.splitlines() if "config.yaml: " in line] == [
            "c002/worker_config.yaml: timing.ntp_query_interval: expected a number > 0, got 0",
            "c003/coordinator_config.yaml: broadcast_pattern.fast_stream: expected a number >= 0, got -1",
            "c004/coordinator_config.yaml: broadcast_pattern.fast_stream: expected a number >= 0, got -1",
        ]
        assert "embedded cluster started" not in printed
    assert not (project.path / "results").exists()


def test_a_base_that_is_no_folder_is_named_with_the_sweep_s_file(project: Project) -> None:
    write(project.path, base="nosuch")
    code, printed = project.fab("local", "sweep", "night", "--plan")
    assert code == 2
    assert "configs/sweeps/night.yaml: base: expected a configuration folder, got nosuch, which is none" in printed


def outcomes(project: Project) -> dict[str, str | None]:
    found = sorted(project.path.glob("results/night.*/manifest.json"))
    return {path.parent.name: json.loads(path.read_text())["outcome"] for path in found}


def two_runs(project: Project) -> list[str]:
    told = {"vary": {FAST: [0.01, 0.002]}, "repeats": 1}
    write(project.path, **told)
    return [f"night.{cell.name}.r{repeat:02d}" for cell, repeat in order(sweep_of(**told))]


def amid_the_second(project: Project, first: list[str]) -> subprocess.Popen[str]:
    """Start a sweep of two runs and return when the second has begun."""
    process = project.start("local", "sweep", "night")
    deadline = time.monotonic() + 250
    printed = ""
    while f"deployed experiment={first[1]}" not in printed or "phase=" not in printed.partition(first[1])[2]:
        assert time.monotonic() < deadline, printed
        line = process.stdout.readline()  # type: ignore[union-attr]
        assert line, printed
        printed += line
    return process


def test_a_run_that_went_with_its_killed_embedded_cluster_is_named_and_made_again(project: Project) -> None:
    """The hosts die with ``fab``, and what was not collected with them; the next call says so and goes on."""
    first = two_runs(project)
    process = amid_the_second(project, first)
    process.kill()
    process.communicate(timeout=250)
    before = json.loads((project.path / "results" / first[1] / "manifest.json").read_text())
    assert before["phase"] == RUN_RUNNING
    code, printed = project.fab("local", "sweep", "night")
    assert f"sweep night: collecting {first[1]}, which an earlier call began" in printed
    assert "its embedded cluster has ended; verified at home: 0 of 3 nodes" in printed
    assert printed.count("deployed experiment=") == 1
    assert "sweep night: 2 of 2 runs done" in printed
    assert outcomes(project) == {first[0]: "ok", first[1]: None, f"{first[1]}.a2": "ok"}
    assert code == 0, printed


def test_a_sweep_that_was_interrupted_goes_on_and_makes_every_run_once(project: Project) -> None:
    first = two_runs(project)
    process = amid_the_second(project, first)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=250)
    assert process.returncode == 130
    assert outcomes(project) == {first[0]: "ok", first[1]: "failed"}
    code, printed = project.fab("local", "sweep", "night")
    assert code == 0, printed
    assert printed.count("embedded cluster started") == 1
    assert "sweep night: 2 of 2 runs done" in printed
    good = {first[0], f"{first[1]}.a2"}
    assert outcomes(project) == {first[1]: "failed"} | dict.fromkeys(sorted(good), "ok")
    code, printed = project.fab("local", "sweep", "night")
    assert (code, "deployed" in printed) == (0, False)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 21})
    code, printed = project.fab("local", "sweep", "night")
    assert code == 2
    assert "expected the configuration of cell" in printed
