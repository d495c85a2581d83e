"""From configuration to one plan per node: schedules, deadlines and the lease. Nothing here touches a host."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from harness.configuration.clocks import asked
from harness.configuration.experiment import MOST_DAYS
from harness.errors import ConfigError, PreflightError
from harness.invocation.command_line import positive_number
from node_agent.clocks.sources import BY_NAME, clocks_plan
from node_agent.contract.json_objects import build
from node_agent.contract.plan import (
    COORDINATOR,
    LEAST_EVERY_S,
    BroadcastPlan,
    NodePlan,
    ProbePeer,
    ProbesPlan,
    WatchPlan,
    WorkerAddress,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from harness.allocation import Allocation
    from harness.configuration.cluster import ClusterConfig, NodeConfig
    from harness.configuration.experiment import CoordinatorConfig, WorkerConfig
    from node_agent.contract.plan import ClocksPlan, VirtualClock

# Until it is ready an agent waits for good samples: start-up, and ChronoTick's warm-up of a few NTP samples.
READY_SLACK_S: Final = 30.0
READY_SAMPLES: Final = 6
# After its planned end an agent writes its last lines; the controller looks a few times before it gives up on it.
END_SLACK_S: Final = 30.0
# Of a job that is allocated for a run: to check its nodes before it, and to collect after it.
CHECK_S: Final = 60.0
COLLECT_S: Final = 60.0
# Among more nodes the probes of a full mesh grow beyond what a node should send beside its events.
FULL_MESH_NODES: Final = 8


@dataclass(frozen=True)
class RunSpec:
    """Everything that defines one run of one experiment."""

    name: str
    run_id: str
    cluster: ClusterConfig
    coordinator: CoordinatorConfig
    worker: WorkerConfig
    watch: WatchPlan | None = None  # in place of the events

    @property
    def ready_timeout_s(self) -> float:
        """Return how long an agent may take from its start to ready, in s."""
        intervals = self.worker.timing.ntp_query_interval + self.worker.timing.chronotick_query_interval
        return READY_SLACK_S + READY_SAMPLES * intervals

    @property
    def tail_s(self) -> float:
        """Return how long agents go on after the last event or reading to measure again and to probe, in s."""
        probes = self.coordinator.probes
        delays_s = self.worker.timing.commit_wait_delays if self.watch is None else []
        return max(0.0 if probes is None else probes.trail_s, *delays_s, 0.0)

    @property
    def planned_s(self) -> float:
        """Return the time from the first event or reading to the end of the tail, in s."""
        if self.watch is not None:
            return self.watch.duration_s + self.tail_s
        anyone = (WorkerAddress("anyone", "anywhere", 0),)  # a schedule does not depend on whom it is for
        return _broadcast_to(anyone, self).planned_ns / 1e9 + self.coordinator.broadcast.drain_s + self.tail_s

    @property
    def run_timeout_s(self) -> float:
        """Return how long a run may take once the coordinator, or every node of a watch, is ready, in s."""
        hello_s = self.coordinator.broadcast.hello_timeout_s if self.watch is None else 0.0
        return hello_s + self.lead_s + self.planned_s + END_SLACK_S

    @property
    def lead_s(self) -> float:
        """Return how long the nodes probe each other before the first event or reading, in s."""
        return 0.0 if self.coordinator.probes is None else self.coordinator.probes.lead_s

    @property
    def job_s(self) -> float:
        """Return how long nodes are to be lent for the run, in s: checked, carried out, collected, and the margin."""
        return CHECK_S + 2 * self.ready_timeout_s + self.run_timeout_s + COLLECT_S + self.cluster.job.margin_s

    @property
    def least_s(self) -> float:
        """Return how long it takes at least from the start of the agents on, in s."""
        return self.lead_s + self.planned_s

    @property
    def lease_s(self) -> float:
        """Return how long an agent lives if nobody stops it, in s: getting ready twice, the run, the margin."""
        return 2 * self.ready_timeout_s + self.run_timeout_s + self.worker.agent.lease_margin_s


def watch_plan(hours: str, every: str) -> WatchPlan:
    """Return the watch that the options of a command line ask for. Raises ConfigError, which names the option."""
    duration_s = positive_number("hours", hours, MOST_DAYS * 24) * 3600
    every_s = positive_number("every", every)
    if not LEAST_EVERY_S <= every_s <= duration_s:
        limits = f"from {LEAST_EVERY_S:g} s to the length of the watch, {duration_s:g} s"
        raise ConfigError(f"--every: expected {limits}, got {every_s:g} s")
    return WatchPlan(duration_s, every_s)


def new_run_id() -> str:
    """Return a fresh run id: 32 hex digits."""
    return secrets.token_hex(16)


def new_run_key() -> str:
    """Return a fresh run key: 32 random bytes as 64 hex digits."""
    return secrets.token_hex(32)


def require_services(cluster: ClusterConfig, worker: WorkerConfig) -> None:
    """Raise ConfigError if a required clock source has no server in this cluster."""
    sources = asked(cluster, worker)
    for name in worker.clocks.required:
        if name not in sources:
            raise ConfigError(f"clocks.required: expected of {', '.join(sources)}, got {name}: nothing here plans it")
        if sources[name].options is None:
            raise ConfigError(f"{sources[name].key}: expected one, since clocks.required names {name}, got none")


def require_two_ports(coordinator: CoordinatorConfig, worker: WorkerConfig) -> None:
    """Raise ConfigError if probes and events would meet on one port."""
    port = worker.network.listen_port
    if coordinator.probes is not None and coordinator.probes.port == port:
        wanted = f"expected another than network.listen_port, got {port}"
        raise ConfigError(f"coordinator configuration: probes.port: {wanted}")


def run_dir(cluster: ClusterConfig, experiment: str, node_id: str) -> str:
    """Return a node's run folder; it may start with ``~/``."""
    return f"{remote_base(cluster)}/runs/{experiment}/{node_id}"


def remote_base(cluster: ClusterConfig) -> str:
    """Return the folder on the nodes that everything of ours is below: absolute, or from ``~/`` or ``$NAME/`` on."""
    base = cluster.remote_base.rstrip("/")
    return base if base.startswith(("~/", "/", "$")) else f"~/{base}"


def node_plans(
    spec: RunSpec, addresses: Mapping[str, str], nodes_with: Mapping[str, Collection[str]] = MappingProxyType({})
) -> dict[str, NodePlan]:
    """Return every node's plan; ``addresses`` says where each node is reached by the others and binds its socket.

    ``nodes_with`` are the nodes on which a source answered a `check` well, by its kind.
    """
    require_services(spec.cluster, spec.worker)
    require_two_ports(spec.coordinator, spec.worker)
    return {node.id: _node_plan(spec, node, addresses, nodes_with) for node in spec.cluster.nodes}


def within(allocation: Allocation | None, spec: RunSpec, plans: Mapping[str, NodePlan]) -> dict[str, NodePlan]:
    """Return the plans with leases that end before the nodes are taken back.

    Raises PreflightError where there is no time for the run.
    """
    left_s = None if allocation is None else allocation.left_s
    if allocation is None or left_s is None:
        return dict(plans)
    usable_s = left_s - allocation.margin_s
    if usable_s < spec.least_s:
        has = f"{allocation.name} has {left_s:.0f} s left, {allocation.margin_s:.0f} s of it margin"
        raise PreflightError(f"{has}: expected the {spec.least_s:.0f} s of the run, got {max(0.0, usable_s):.0f} s")
    return {node_id: replace(plan, lease_s=min(plan.lease_s or usable_s, usable_s)) for node_id, plan in plans.items()}


def broadcast(spec: RunSpec, addresses: Mapping[str, str]) -> BroadcastPlan:
    """Return what the coordinator is to send, and when."""
    port, nodes = spec.worker.network.listen_port, spec.cluster.workers
    return _broadcast_to(tuple(WorkerAddress(node.id, addresses.get(node.id, node.host), port) for node in nodes), spec)


def _broadcast_to(workers: tuple[WorkerAddress, ...], spec: RunSpec) -> BroadcastPlan:
    experiment = spec.coordinator.experiment
    minutes = experiment.duration_minutes
    return BroadcastPlan(
        workers=workers,
        num_events=experiment.num_events,
        delays_ms=tuple(delay_s * 1e3 for delay_s in spec.coordinator.broadcast_pattern.delays_s()),
        duration_s=None if minutes is None else minutes * 60.0,
        hello_timeout_s=spec.coordinator.broadcast.hello_timeout_s,
        drain_s=spec.coordinator.broadcast.drain_s,
    )


def _node_plan(
    spec: RunSpec, node: NodeConfig, addresses: Mapping[str, str], nodes_with: Mapping[str, Collection[str]]
) -> NodePlan:
    logging = spec.coordinator.logging if node.role == COORDINATOR else spec.worker.logging
    sends = node.role == COORDINATOR and spec.watch is None
    return NodePlan(
        experiment=spec.name,
        run_id=spec.run_id,
        node_id=node.id,
        role=node.role,
        run_dir=run_dir(spec.cluster, spec.name, node.id),
        listen_host=addresses.get(node.id, node.address or node.host),
        **spec.worker.network.model_dump(),
        clocks=_clocks(spec, node.id, nodes_with),
        commit_wait_delays_s=tuple(spec.worker.timing.commit_wait_delays),
        commit_wait_share=spec.worker.timing.commit_wait_share,
        lease_s=spec.lease_s,
        log_level=logging.level,
        log_console=logging.console,
        virtual_clock=virtual_clock(node),
        broadcast=broadcast(spec, addresses) if sends else None,
        probes=_probes(spec, node, addresses),
        watch=spec.watch,
    )


def _probes(spec: RunSpec, node: NodeConfig, addresses: Mapping[str, str]) -> ProbesPlan | None:
    """Return a node's part in the mesh: with every other node, or in a star with the coordinator alone."""
    config = spec.coordinator.probes
    if config is None:
        return None
    nodes = spec.cluster.nodes
    full = config.mesh == "full" or (config.mesh == "auto" and len(nodes) <= FULL_MESH_NODES)
    return ProbesPlan(
        index=nodes.index(node),
        peers=tuple(
            ProbePeer(peer.id, addresses.get(peer.id, peer.address or peer.host), config.port, index)
            for index, peer in enumerate(nodes)
            if peer is not node and (full or COORDINATOR in {node.role, peer.role})
        ),
        **config.model_dump(exclude={"mesh"}),
    )


def _clocks(spec: RunSpec, node_id: str, nodes_with: Mapping[str, Collection[str]]) -> ClocksPlan:
    clocks, plans = spec.worker.clocks, {}
    for name, source in asked(spec.cluster, spec.worker).items():
        if source.options is not None and (not source.where_found or node_id in nodes_with.get(name, ())):
            try:
                plans[name] = build(BY_NAME[name].plan_type, source.options, source.key)
            except ValueError as error:
                raise ConfigError(str(error)) from error
    return clocks_plan(
        plans,
        max_drift_ppm=clocks.max_drift_ppm,
        required=tuple(clocks.required),
        max_root_distance_ms=clocks.max_root_distance_ms,
        max_stratum=clocks.max_stratum,
    )


def virtual_clock(node: NodeConfig) -> VirtualClock | None:
    """Return the clock a test node is given, or None. Raises ConfigError before the embedded cluster set its epoch."""
    clock = node.virtual_clock
    if clock is None:
        return None
    if clock.epoch_ns is None:
        raise ConfigError(f"{node.id}: virtual_clock: expected an epoch from the running embedded cluster, got none")
    return clock.at(clock.epoch_ns)
