"""From configuration to plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import planning
from harness.config import load_cluster, load_coordinator, load_worker
from harness.errors import ConfigError
from harness.planning import RunSpec
from node_agent.plan import from_json, to_json

CONFIGS = Path(__file__).parents[2] / "configs"
ADDRESSES = {"comp18": "10.0.0.18", "comp11": "10.0.0.11", "comp12": "10.0.0.12"}


@pytest.fixture
def spec() -> RunSpec:
    """Return the project's own experiment on ARES."""
    return RunSpec(
        "x",
        planning.new_run_id(),
        load_cluster(CONFIGS / "clusters/ares.yaml"),
        load_coordinator(CONFIGS / "coordinator_config.yaml"),
        load_worker(CONFIGS / "worker_config.yaml"),
    )


def test_every_node_gets_a_plan_that_survives_json(spec: RunSpec) -> None:
    plans = planning.node_plans(spec, ADDRESSES)
    assert {node_id: plan.role for node_id, plan in plans.items()} == {
        "comp18": "coordinator", "comp11": "worker", "comp12": "worker",
    }  # fmt: skip
    assert all(from_json(to_json(plan)) == plan for plan in plans.values())


def test_workers_bind_the_address_the_coordinator_sends_to(spec: RunSpec) -> None:
    plans = planning.node_plans(spec, ADDRESSES)
    targets = {worker.node_id: (worker.host, worker.port) for worker in plans["comp18"].broadcast.workers}
    assert targets == {name: (plans[name].listen_host, plans[name].listen_port) for name in ("comp11", "comp12")}
    assert targets["comp11"] == ("10.0.0.11", 9000)


def test_the_schedule_is_the_configured_one(spec: RunSpec) -> None:
    broadcast = planning.node_plans(spec, ADDRESSES)["comp18"].broadcast
    assert (broadcast.num_events, broadcast.duration_s, broadcast.bursts) == (100, 600.0, 10)
    assert broadcast.delays_ms == (100.0, 10.0, 10.0, 10.0, 10.0, 50.0, 10.0, 10.0, 10.0, 10.0)


def test_the_lease_outlives_the_planned_end_by_the_margin(spec: RunSpec) -> None:
    longest_delay_s = max(spec.worker.timing.commit_wait_delays)
    assert spec.planned_s == pytest.approx(540.23 + 1 + longest_delay_s)
    assert spec.lease_s > spec.planned_s + 2 * spec.ready_timeout_s + spec.worker.agent.lease_margin_s


def test_a_required_source_without_a_server_is_a_configuration_error(spec: RunSpec) -> None:
    bare = spec.cluster.model_copy(update={"chronotick_server": None})
    with pytest.raises(ConfigError, match="chronotick_server: expected one, since clocks"):
        planning.require_services(bare, spec.worker)


def test_no_two_runs_share_an_id_or_a_key() -> None:
    assert planning.new_run_id() != planning.new_run_id()
    assert len(bytes.fromhex(planning.new_run_id())) == 16
    assert len(bytes.fromhex(planning.new_run_key())) == 32


def test_remote_folders_start_at_home_or_at_the_root(spec: RunSpec) -> None:
    assert planning.run_dir(spec.cluster, "x", "comp11") == "~/chronotick-harness/runs/x/comp11"
    there = spec.cluster.model_copy(update={"remote_base": "scratch/me"})
    assert planning.run_dir(there, "x", "comp11") == "~/scratch/me/runs/x/comp11"
