"""From configuration to plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import planning
from harness.configuration.clocks import config_of
from harness.configuration.experiment import load_cluster, load_coordinator, load_worker
from harness.errors import ConfigError
from harness.planning import RunSpec
from node_agent.clocks import chrony
from node_agent.contract.plan import from_json, to_json

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


def with_probes(spec: RunSpec, workers: int, **changes: object) -> RunSpec:
    """Return the experiment with so many workers and other probes."""
    first = spec.cluster.workers[0]
    more = [first.model_copy(update={"id": f"w{n}", "host": f"w{n}"}) for n in range(workers)]
    cluster = spec.cluster.model_copy(update={"nodes": [*more[:2], spec.cluster.coordinator, *more[2:]]})
    probes = spec.coordinator.probes.model_copy(update=changes)
    return replace(spec, cluster=cluster, coordinator=spec.coordinator.model_copy(update={"probes": probes}))


@pytest.mark.parametrize(
    ("workers", "mesh", "full"),
    [
        (2, "full", True),
        (2, "star", False),
        (7, "auto", True),
        (8, "auto", False),
        (63, "auto", False),
        (9, "full", True),
    ],
)
def test_every_pair_of_the_mesh_knows_each_other_by_the_same_number(
    spec: RunSpec, workers: int, mesh: str, full: bool
) -> None:
    plans = planning.node_plans(with_probes(spec, workers, mesh=mesh), {})
    pairs = {(node_id, peer.node_id) for node_id, plan in plans.items() for peer in plan.probes.peers}
    everyone = {(here, there) for here in plans for there in plans if here != there}
    assert pairs == (everyone if full else {pair for pair in everyone if "comp18" in pair})
    for plan in plans.values():
        assert from_json(to_json(plan)) == plan
        for peer in plan.probes.peers:
            other = plans[peer.node_id]
            assert (peer.host, peer.port, peer.index) == (other.listen_host, other.probes.port, other.probes.index)


def test_probes_are_as_configured_and_none_where_turned_off(spec: RunSpec) -> None:
    plan = planning.node_plans(spec, ADDRESSES)["comp11"].probes
    assert (plan.port, plan.rate_hz, plan.lead_s, plan.trail_s, plan.stamps) == (9001, 50.0, 5.0, 5.0, "kernel")
    assert {(peer.node_id, peer.host) for peer in plan.peers} == {("comp18", "10.0.0.18"), ("comp12", "10.0.0.12")}
    without = replace(spec, coordinator=spec.coordinator.model_copy(update={"probes": None}))
    assert all(plan.probes is None for plan in planning.node_plans(without, ADDRESSES).values())


def test_a_run_has_time_for_its_probes(spec: RunSpec) -> None:
    longer = with_probes(spec, 2, lead_s=50.0, trail_s=100.0)
    assert longer.planned_s == pytest.approx(spec.planned_s + 40)  # the tail of 60 s goes on meanwhile
    assert longer.run_timeout_s == pytest.approx(spec.run_timeout_s + 40 + 45)


def test_probes_and_events_do_not_meet_on_one_port(spec: RunSpec) -> None:
    with pytest.raises(ConfigError, match=r"probes\.port: expected another than network\.listen_port, got 9000"):
        planning.node_plans(with_probes(spec, 2, port=9000), {})


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


@pytest.mark.parametrize(
    ("configured", "asked"),
    [(None, set()), ("auto", {"comp12"}), (config_of(chrony.KIND)(query_interval_s=2), {"comp11", "comp12", "comp18"})],
)
def test_a_chronyd_is_asked_where_it_was_found_or_everywhere_as_configured(
    spec: RunSpec, configured: object, asked: set[str]
) -> None:
    clocks = spec.worker.clocks.model_copy(update={"chrony": configured})
    spec = replace(spec, worker=spec.worker.model_copy(update={"clocks": clocks}))
    plans = planning.node_plans(spec, ADDRESSES, {"chrony": {"comp12"}})
    assert {node_id for node_id, plan in plans.items() if plan.clocks.chrony is not None} == asked


def test_the_limits_of_what_a_source_says_of_itself_are_the_configurations(spec: RunSpec) -> None:
    clocks = spec.worker.clocks.model_copy(update={"max_root_distance_ms": 250.0, "max_stratum": 5})
    other = replace(spec, worker=spec.worker.model_copy(update={"clocks": clocks}))
    plan = planning.node_plans(other, ADDRESSES)["comp11"].clocks
    assert (plan.max_root_distance_ms, plan.max_stratum) == (250.0, 5)
    usual = planning.node_plans(spec, ADDRESSES)["comp11"].clocks
    assert (usual.max_root_distance_ms, usual.max_stratum, usual.ntp.own_clock) == (1000.0, 9, False)


def test_a_servers_own_clock_is_the_truth_only_where_the_cluster_file_says_so(spec: RunSpec) -> None:
    own = replace(spec, cluster=spec.cluster.model_copy(update={"ntp_own_clock": True}))
    assert planning.node_plans(own, ADDRESSES)["comp11"].clocks.ntp.own_clock


def test_a_required_source_that_nothing_plans_is_one_line(spec: RunSpec) -> None:
    """The configuration's models may know one that planning does not."""
    clocks = spec.worker.clocks.model_copy(update={"required": ["gnss"]})
    worker = spec.worker.model_copy(update={"clocks": clocks})
    with pytest.raises(ConfigError, match=r"clocks.required: expected of ntp, chronotick, chrony, .*, got gnss"):
        planning.require_services(spec.cluster, worker)
