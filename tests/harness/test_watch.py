"""``fab watch``: from the command line to verified readings, and what becomes of a watch that is cut short."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis.checks.replay import replay
from harness.check.ways import Ways, try_ways
from harness.configuration.experiment import load_cluster, load_coordinator, load_worker
from harness.errors import ConfigError
from harness.planning import RunSpec, node_plans, watch_plan
from harness.run import monitor, outcome
from node_agent.contract import records
from node_agent.contract.plan import WatchPlan, from_json, to_json
from tests.harness.test_ending import Watched, view
from tests.harness.test_outcome import status
from tests.harness.test_results import manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project

CONFIGS = Path(__file__).parents[2] / "configs"
NODES = ("comp18", "comp11", "comp12")
SPEC = RunSpec(
    "x",
    "0" * 32,
    load_cluster(CONFIGS / "clusters/ares.yaml"),
    load_coordinator(CONFIGS / "coordinator_config.yaml"),
    load_worker(CONFIGS / "worker_config.yaml"),
    WatchPlan(28_800.0),
)


def manifest_of(project: Project, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((project.path / "results" / name / "manifest.json").read_text())
    return read


def readings(project: Project, name: str, node_id: str) -> list[dict[str, str]]:
    with (project.path / "results" / name / "raw" / node_id / records.READINGS_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def await_agents(agents_of: Callable[[], list[str]], count: int) -> None:
    """Wait until so many agents run: one that was killed is gone a moment later."""
    deadline = time.monotonic() + 250
    while len(left := agents_of()) != count:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def await_readings(project: Project, process: Any, local: Any, name: str, at_least: int) -> None:
    """Wait until so many readings are journaled on every node; ``fab`` must still run."""
    files = [
        local.homes[node_id] / f"chronotick-harness/runs/{name}/{node_id}/{records.READINGS_FILE}" for node_id in NODES
    ]
    deadline = time.monotonic() + 250
    while not all(file.is_file() and file.read_bytes().count(b"\n") > at_least for file in files):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"waited in vain for {at_least} readings on each node"
        time.sleep(0.05)


# --- on hosts


def test_a_watch_brings_home_verified_readings_that_can_be_recomputed(
    project: Project, hosts: ClusterConfig, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    chain = ["watch", "--hours", "0.001", "--every", "0.3", "--experiment", "mine", "status", "collect"]
    code, printed = project.fab("lab", *chain)
    assert code == 0, printed
    folder = project.path / "results/mine"
    told = manifest_of(project, "mine")
    assert (told["kind"], told["phase"], told["outcome"], told["problems"]) == ("watch", "collected", "ok", [])
    assert told["config"]["watch"] == {"duration_s": pytest.approx(3.6), "every_s": 0.3}
    assert not list(folder.glob("*.csv"))
    for node_id, node in told["nodes"].items():
        counts = node["status"]["counts"]
        assert node["checksums_verified"]
        assert counts["planned"] == counts["readings"] + counts["missed"] == 13
        assert len(readings(project, "mine", node_id)) == counts["readings"]
        assert counts["probe_received"] > 0
        assert records.READINGS_FILE in (folder / "raw" / node_id / records.CHECKSUMS_FILE).read_text()
    recomputed = replay(folder)
    assert recomputed.differences == ()
    assert recomputed.readings == 2 * sum(len(readings(project, "mine", node_id)) for node_id in NODES)
    assert "6 ways between the nodes tried: datagrams arrived on each" in printed
    assert agents_of() == []
    file = folder / f"raw/comp11/{records.READINGS_FILE}"
    row = readings(project, "mine", "comp11")[1]
    wrong = str(int(row["ntp_upper_bound_ns"]) - 1)
    file.write_text(file.read_text().replace(row["ntp_upper_bound_ns"], wrong))
    assert {(d.node_id, d.what, d.event_id, d.column) for d in replay(folder).differences} == {
        ("comp11", "reading", row["reading_id"], "ntp_upper_bound_ns"),
        ("comp11", "file", records.READINGS_FILE, "sha256"),
    }


def test_an_interrupted_watch_is_stopped_and_collected(
    project: Project, hosts: ClusterConfig, local: Any, agents_of: Callable[[], list[str]]
) -> None:
    project.add_cluster("lab", hosts)
    process = project.start("lab", "watch", "--hours", "8", "--every", "0.1", "--experiment", "cut")
    await_readings(project, process, local, "cut", 5)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=250)
    assert process.returncode == 130, printed
    assert "run experiment=cut outcome=failed (interrupted)" in printed
    assert agents_of() == []
    told = manifest_of(project, "cut")
    assert (told["phase"], told["outcome"], told["problems"][0]) == ("collected", "failed", "interrupted")
    assert all(node["checksums_verified"] for node in told["nodes"].values())
    assert all(len(readings(project, "cut", node_id)) >= 5 for node_id in NODES)


def test_a_watch_goes_on_without_its_controller_and_with_one_node_less(
    project: Project, hosts: ClusterConfig, local: Any, agents_of: Callable[[], list[str]]
) -> None:
    """Both are killed; ``collect`` waits for the end of the others and keeps what the dead one had read."""
    project.add_cluster("lab", hosts)
    process = project.start("lab", "watch", "--hours", "0.004", "--every", "0.1", "--experiment", "lost")
    await_readings(project, process, local, "lost", 5)
    process.kill()
    process.communicate()
    said = (local.homes["comp12"] / "chronotick-harness/runs/lost/comp12/agent.pid").read_text()
    os.kill(json.loads(said)["pid"], signal.SIGKILL)
    await_agents(agents_of, 2)
    code, printed = project.fab("collect")
    assert code == 5, printed
    assert "still running nodes=comp18,comp11; waiting for their end" in printed
    told = manifest_of(project, "lost")
    assert (told["phase"], told["outcome"]) == ("collected", "degraded")
    assert told["problems"] == ["comp12: died in phase running"]
    for node_id in ("comp18", "comp11"):
        counts = told["nodes"][node_id]["status"]["counts"]
        assert counts["readings"] + counts["missed"] == counts["planned"] == 145
    assert 5 <= len(readings(project, "lost", "comp12")) < 145
    assert agents_of() == []


# --- what is planned, awaited and judged


@pytest.mark.parametrize(
    ("hours", "every", "said"),
    [
        ("", "10", "--hours: expected a number above 0 and at most 744, got ''"),
        ("0", "10", "--hours: expected a number above 0 and at most 744, got '0'"),
        ("-8", "10", "--hours: expected a number above 0 and at most 744, got '-8'"),
        ("nan", "10", "--hours: expected a number above 0 and at most 744, got 'nan'"),
        ("745", "10", "--hours: expected a number above 0 and at most 744, got '745'"),
        ("1", "-1", "--every: expected a number above 0, got '-1'"),
        ("1", "inf", "--every: expected a number above 0, got 'inf'"),
        ("1", "0.01", "--every: expected from 0.1 s to the length of the watch, 3600 s, got 0.01 s"),
        ("0.001", "10", "--every: expected from 0.1 s to the length of the watch, 3.6 s, got 10 s"),
    ],
)
def test_a_watch_that_cannot_be_is_refused_by_the_name_of_its_option(hours: str, every: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        watch_plan(hours, every)
    assert str(refused.value) == said


def test_a_watch_is_as_long_and_as_dense_as_its_options_say() -> None:
    assert watch_plan("0.5", "2.5") == WatchPlan(1800.0, 2.5)


def test_every_node_is_told_to_watch_and_none_to_broadcast() -> None:
    plans = node_plans(SPEC, {})
    assert {plan.watch for plan in plans.values()} == {SPEC.watch}
    assert [plan.broadcast for plan in plans.values()] == [None] * len(plans)
    assert all(from_json(to_json(plan)) == plan for plan in plans.values())
    assert SPEC.planned_s == 28_800 + SPEC.coordinator.probes.trail_s
    assert SPEC.lease_s > SPEC.least_s + 2 * SPEC.ready_timeout_s + SPEC.worker.agent.lease_margin_s


def given_up(spec: RunSpec, **views: Any) -> dict[str, str]:
    return monitor.await_end(Watched(**views), "c", spec, lambda: None)  # type: ignore[arg-type]


def test_a_watch_ends_with_its_last_node_whoever_died() -> None:
    ended = view("finished", "ok", readings=9)
    assert given_up(SPEC, c=view("running", dead=True, readings=1), w=ended, v=ended) == {}


def test_a_node_out_of_reach_is_waited_for_until_the_watch_should_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight hours are long: who does not answer for half a minute may answer again."""
    looks = []

    def until(_what: str, missing: Callable[[], str | None], _timeout_s: float, poll_s: float) -> None:
        looks.append(missing())

    monkeypatch.setattr(monitor.interrupts, "until", until)
    gone = view("running")
    gone.silent_s, gone.problem = time.monotonic() - monitor.GONE_AFTER_S - 1, "no answer in time"
    ended = view("finished", "ok", readings=9)
    told = {"w": "not over when the run was, but no answer in time"}
    assert given_up(SPEC, c=ended, w=gone) == told
    over = replace(SPEC, watch=WatchPlan(0.1, 0.1), coordinator=SPEC.coordinator.model_copy(update={"probes": None}))
    monkeypatch.setattr(RunSpec, "least_s", -1.0)
    assert given_up(over, c=ended, w=gone) == told
    assert looks == ["w (no answer in time)", None]


def watched(**counts: int) -> records.Manifest:
    told = manifest("x")
    told.kind = records.WATCH
    told.nodes["a"].status = status("a", readings=100, missed=0)
    told.nodes["b"].status = status("b", **counts)
    return told


@pytest.mark.parametrize(
    ("counts", "problems"),
    [
        ({"readings": 100, "missed": 0}, []),
        ({"readings": 98, "missed": 2}, []),
        ({"readings": 97, "missed": 3}, ["b: took 97 of 100 readings that were due, less than 98%"]),
        (
            {"readings": 100, "missed": 0, "ct_unavailable": 3},
            ["b: chronotick: 3 of 100 readings unavailable, less than 98% available"],
        ),
    ],
)
def test_a_watch_is_judged_by_its_readings(counts: dict[str, int], problems: list[str]) -> None:
    judged = outcome.judge(watched(**counts), SPEC.coordinator, SPEC.worker, None)
    assert judged == ("degraded" if problems else "ok", problems)


def test_a_watch_in_which_nothing_was_read_failed() -> None:
    told = watched(readings=0)
    told.nodes["a"].status = None
    told.outcome, told.problems = outcome.judge(told, SPEC.coordinator, SPEC.worker, None)
    assert (told.outcome, told.problems[0]) == ("failed", outcome.NOTHING_READ)
    assert outcome.kept_failure(told) is None


def test_without_probes_a_watch_has_no_ways_to_try() -> None:
    """So none is: neither nodes nor agent are asked for anything."""
    bare = replace(SPEC, coordinator=SPEC.coordinator.model_copy(update={"probes": None}))
    assert try_ways(None, None, node_plans(bare, {})) == Ways()  # type: ignore[arg-type]
