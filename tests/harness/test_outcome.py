"""How a run ended is computed from what the agents said, and nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from harness.configuration.experiment import load_coordinator, load_worker
from harness.run import outcome
from node_agent.contract.records import Manifest, NodeStatus
from tests.harness.test_results import manifest

CONFIGS = Path(__file__).parents[2] / "configs"
COORDINATOR = load_coordinator(CONFIGS / "coordinator_config.yaml")
WORKER = load_worker(CONFIGS / "worker_config.yaml")


def status(node_id: str, ended: str | None = "ok", **counts: int) -> dict[str, object]:
    machine = dict.fromkeys(("boot_id", "hostname", "kernel", "python", "clock_source", "agent_sha256", "listen"), "")
    return asdict(
        NodeStatus(
            "0", node_id, "worker", 1, 1, phase="tail", outcome=ended, updated_wall_ns=1, counts=counts, **machine
        )
    )


def finished(received: int = 100, **counts: int) -> Manifest:
    told = manifest("x")
    told.nodes["a"].status = status("a", sent=100)
    told.nodes["b"].status = status("b", received=received, **counts)
    for node in told.nodes.values():
        node.checksums_verified = True
    return told


@pytest.mark.parametrize("received", [100, 98])
def test_a_complete_run_is_ok(received: int) -> None:
    told = finished(received)
    assert outcome.judge(told, COORDINATOR, WORKER, None) == ("ok", [])


def test_too_few_events_degrade_a_run() -> None:
    told = finished(97)
    assert outcome.judge(told, COORDINATOR, WORKER, None) == (
        "degraded",
        ["b: received 97 of 100 events, less than 98%"],
    )


@pytest.mark.parametrize(("node_id", "counted"), [("a", "sent"), ("b", "received")])
def test_too_many_unavailable_readings_of_a_required_source_degrade_a_run(node_id: str, counted: str) -> None:
    told = finished()
    told.nodes[node_id].status = status(node_id, **{counted: 100}, ct_unavailable=3)
    assert outcome.judge(told, COORDINATOR, WORKER, None) == (
        "degraded",
        [f"{node_id}: chronotick: 3 of 100 readings unavailable, less than 98% available"],
    )


def test_a_few_unavailable_readings_or_those_of_a_source_nobody_required_do_not() -> None:
    assert outcome.judge(finished(ct_unavailable=2), COORDINATOR, WORKER, None) == ("ok", [])
    assert outcome.judge(finished(chrony_unavailable=100), COORDINATOR, WORKER, None) == ("ok", [])


def test_a_node_that_received_no_probe_degrades_a_run() -> None:
    told = finished(probe_received=0)
    told.nodes["b"].plan = {"probes": {"port": 9001}}
    assert outcome.judge(told, COORDINATOR, WORKER, None) == (
        "degraded",
        ["b: received no probe; is UDP port 9001 open between the nodes?"],
    )
    told.nodes["b"].plan = {"probes": None}
    assert outcome.judge(told, COORDINATOR, WORKER, None) == ("ok", [])


def test_a_worker_that_died_or_said_nothing_degrades_a_run() -> None:
    told = finished()
    told.nodes["b"].status = status("b", None, received=100)
    assert outcome.judge(told, COORDINATOR, WORKER, None) == ("degraded", ["b: died in phase tail"])
    told.nodes["b"].status = None
    assert outcome.judge(told, COORDINATOR, WORKER, None) == ("degraded", ["b: no status was ever written"])


def test_a_run_without_a_sent_event_failed() -> None:
    told = finished()
    told.nodes["a"].status = status("a", sent=0)
    assert outcome.judge(told, COORDINATOR, WORKER, None)[0] == "failed"


@pytest.mark.parametrize(("ended", "verified", "code"), [("ok", True, 0), ("degraded", True, 5), ("failed", True, 4),
                                                         ("ok", False, 6), ("failed", False, 6)])  # fmt: skip
def test_the_exit_code_is_the_worst_that_happened(ended: str, verified: bool, code: int) -> None:
    told = finished()
    told.outcome = ended
    told.nodes["b"].checksums_verified = verified
    assert outcome.exit_code(told) == code


def test_that_agents_were_stopped_after_a_failure_is_no_problem_of_its_own() -> None:
    told = finished()
    for node_id in ("a", "b"):
        told.nodes[node_id].status = status(node_id, "stopped", sent=40, received=40)
    assert outcome.judge(told, COORDINATOR, WORKER, "interrupted") == ("failed", ["interrupted"])
    ended = ["a: ended as stopped: ", "b: ended as stopped: "]
    assert outcome.judge(told, COORDINATOR, WORKER, None) == ("degraded", ended)
