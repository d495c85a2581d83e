"""Is every node and every service fit for the run? Asked by protocol, from each node, before anything is started."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from harness.check import rehearsal
from harness.check.addresses import resolve
from harness.check.wall_clocks import Heard, far_off
from harness.check.ways import Ways, try_ways
from harness.configuration.slurm import SSH
from harness.errors import HarnessError, PreflightError, RemoteCommandError
from harness.planning import RunSpec, new_run_id, node_plans
from node_agent.clocks.kind import NOT_ANSWERED, SourceKind
from node_agent.clocks.sources import KINDS
from node_agent.contract import json_objects
from node_agent.contract.facts import NodeFacts
from node_agent.contract.records import NO_TLS, OK, UNTRUSTED_CERTIFICATE, SourceCheck
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.agent import Agent
    from harness.cluster import Cluster
    from harness.configuration.cluster import ClusterConfig
    from harness.configuration.experiment import CoordinatorConfig, WorkerConfig
    from harness.remote import Remote
    from node_agent.contract.plan import WatchPlan

LEAST_FREE_BYTES: Final = 200_000_000
_NO_HTTP: Final = {"ReadError", "RemoteProtocolError", "http_400"}


@dataclass(frozen=True)
class NodeCheck:
    """One node's row of the check: facts, what each kind's servers answered, and all that is wrong (nothing: fit)."""

    node_id: str
    role: str
    host: str
    python: str | None = None
    clock_source: str | None = None
    disk_free_bytes: int | None = None
    listen: str | None = None
    port_free: bool | None = None
    probe_port: int | None = None
    probe_port_free: bool | None = None
    facts: NodeFacts = field(default_factory=NodeFacts)
    sources: Mapping[str, tuple[SourceCheck, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def ports_free(self) -> bool:
        """Return whether the run could bind its ports; False where the node did not answer."""
        return self.port_free is True and self.probe_port_free is not False


@dataclass(frozen=True)
class Preflight:
    """The table of all nodes, where each is reached by the others, and what is odd and forbids no run (``notes``).

    ``directions`` counts the ways between two nodes on which datagrams were sent, ``way_problems`` says on which none
    arrived. Where a node cannot be reached or has no free port, none was tried. ``reached_by``: SSH, or steps of a job.
    """

    nodes: tuple[NodeCheck, ...]
    addresses: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    directions: int = 0
    way_problems: tuple[str, ...] = ()
    reached_by: str = SSH

    @property
    def problems(self) -> list[str]:
        """Return everything that forbids a run, one line each; what several nodes say alike is one line."""
        nodes_by_problem: dict[str, list[str]] = {}
        for node in self.nodes:
            for problem in node.problems:
                nodes_by_problem.setdefault(problem.removeprefix(f"{node.node_id}: "), []).append(node.node_id)
        lines = [f"{', '.join(nodes)}: {problem}" for problem, nodes in nodes_by_problem.items()]
        return [*lines, *self.way_problems]

    @property
    def nodes_with(self) -> dict[str, frozenset[str]]:
        """Return the nodes on which a source answered well, by its kind."""
        return {
            kind.name: frozenset(
                node.node_id for node in self.nodes if any(row.outcome == OK for row in node.sources.get(kind.name, ()))
            )
            for kind in KINDS
        }

    def demand(self) -> None:
        """Raise PreflightError unless every node is fit."""
        if self.problems:
            raise PreflightError("\n".join(self.problems))


def check(
    cluster: Cluster,
    agent: Agent,
    coordinator: CoordinatorConfig,
    worker: WorkerConfig,
    watch: WatchPlan | None = None,
) -> Preflight:
    """Put the agent into every node's cache and let it check the node; change nothing else. Never raises for a node."""
    spec = RunSpec("check", new_run_id(), cluster.config, coordinator, worker, watch)

    def prepare(remote: Remote) -> None:
        rehearsal.hear(remote)
        agent.install(remote)
        rehearsal.use_files(remote, cluster.config)

    installed = cluster.each(prepare)
    wrong = dict(installed.failed)
    try:
        addresses = resolve(cluster)
    except HarnessError as error:  # the unreachable peer has its own line already, but says less about names
        addresses = {}
        if not wrong:
            wrong = {cluster.config.coordinator.id: error}
    plans = node_plans(spec, addresses)
    fit = [node_id for node_id in installed.ok if node_id not in wrong]

    def ask(remote: Remote) -> Heard:
        asked_ns = time.monotonic_ns()
        facts = agent.check(remote, plans[remote.id])
        return Heard(facts, asked_ns, time.monotonic_ns())

    checked = cluster.each(ask, fit)
    wrong |= checked.failed
    if cluster.allocation is not None:  # of nodes that are taken away meanwhile nothing is known
        cluster.allocation.look()
        cluster.allocation.demand()
    limit_s = worker.clocks.max_wall_offset_s
    try:
        off = far_off(checked.ok, limit_s)
    except (KeyError, TypeError):  # an answer of another shape has a line of its own
        off = {}
    rows = []
    for node in cluster.config.nodes:
        row = NodeCheck(node.id, node.role, cluster.remotes[node.id].place)
        try:
            if node.id in wrong:
                raise wrong[node.id]
            rows.append(_judged(row, checked.ok[node.id].facts, cluster.config, worker, off.get(node.id, "")))
        except HarnessError as error:
            rows.append(replace(row, problems=(str(error),)))
    advice = f"set it, or raise clocks.max_wall_offset_s ({limit_s:g} s)"
    ways = try_ways(cluster, agent, plans) if all(row.ports_free for row in rows) else Ways()
    notes = (*(f"{node_id}: {told}; {advice}" for node_id, told in off.items()), *ways.notes)
    reached_by = cluster.config.job.launch if cluster.config.scheduler is not None else SSH
    return Preflight(tuple(rows), addresses, notes, ways.directions, ways.problems, reached_by)


def _judged(row: NodeCheck, facts: dict[str, Any], cluster: ClusterConfig, worker: WorkerConfig, off: str) -> NodeCheck:
    """Read a node's answer and say what is wrong with it. Raises RemoteCommandError for an answer of another shape.

    ``off`` says how far off its wall clock is, "" if it is not.
    """
    try:
        listen, probes = facts["listen"], facts["probes"]
        sources = {kind.name: tuple(SourceCheck(**answer) for answer in facts["sources"][kind.name]) for kind in KINDS}
        problems: list[str] = []
        problems += [f"{row.node_id}: {port['problem']}" for port in (listen, probes) if port and not port["free"]]
        if facts["disk_free_bytes"] < LEAST_FREE_BYTES:
            free = f"{facts['disk_free_bytes'] / 1e6:.0f} MB"
            problems.append(f"{row.node_id}: disk: expected {LEAST_FREE_BYTES / 1e6:.0f} MB free, got {free}")
        for kind in KINDS:
            answers, fit = sources[kind.name], kind.check.fit
            bad = [answer for answer in answers if answer.health_ok is False or answer.outcome not in fit]
            # Only if so many are not fit that those that are may be wrong.
            if kind.name in worker.clocks.required and len(answers) - len(bad) <= (len(answers) - 1) // 2:
                problems += [f"{row.node_id}: {_unfit(kind, cluster.name, answer, off)}" for answer in bad]
        return replace(
            row,
            **{name: facts[name] for name in ("python", "clock_source", "disk_free_bytes")},
            listen=join_address(listen["host"], listen["port"]) if listen["port"] else listen["host"],
            port_free=listen["free"],
            probe_port=probes["port"] if probes else None,
            probe_port_free=probes["free"] if probes else None,
            facts=json_objects.build(NodeFacts, facts["facts"], "facts"),
            sources=sources,
            problems=tuple(problems),
        )
    except (KeyError, TypeError, ValueError) as error:
        told = f"agent check: expected the keys of this version, got {error}"
        raise RemoteCommandError(f"{row.node_id}: {told}") from None


def _unfit(kind: SourceKind[Any], cluster: str, answer: SourceCheck, off: str) -> str:
    """Return what was expected of a server, what it answered, and what to do."""
    table = kind.check
    got = answer.outcome if answer.outcome != OK else "not healthy"
    detail = f" ({' '.join(answer.detail.split())[:120]})" if answer.detail and answer.detail != got else ""
    answered = answer.outcome not in NOT_ANSWERED and table.advice_answered
    advice = (answered or table.advice).format(cluster=cluster, source=kind.name)
    if off and (answered or got == UNTRUSTED_CERTIFICATE):
        advice = f"{off}: set that first"
    elif got in {NO_TLS, UNTRUSTED_CERTIFICATE}:
        why = "no TLS is spoken there" if got == NO_TLS else "only public certificate authorities are trusted"
        advice = f"{why}: http:// instead of https:// in configs/clusters/{cluster}.yaml?"
    elif got in _NO_HTTP and answer.server.startswith("http:"):
        advice = f"it speaks no HTTP: https:// instead of http:// in configs/clusters/{cluster}.yaml, or another port?"
    return f"{table.who or f'{kind.label} {answer.server}'}: expected {table.expected}, got {got}{detail}; {advice}"
