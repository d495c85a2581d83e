"""Is every node and every service fit for the run? Asked by protocol, from each node, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from harness.check import rehearsal
from harness.check.addresses import resolve
from harness.errors import HarnessError, PreflightError, RemoteCommandError
from harness.planning import RunSpec, new_run_id, node_plans
from node_agent.contract.records import CHRONOTICK, CHRONY, NO_TLS, NTP, OK, UNTRUSTED_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.agent import Agent
    from harness.cluster import Cluster
    from harness.configuration.experiment import ClusterConfig, CoordinatorConfig, WorkerConfig
    from harness.remote import Remote

LEAST_FREE_BYTES: Final = 200_000_000
_NO_HTTP: Final = {"ReadError", "RemoteProtocolError", "http_400"}
WARMING_UP: Final = "warming_up"


@dataclass(frozen=True)
class NtpCheck:
    """What one NTP server answered one node: reference - local in ms with its bound, or the reason for none."""

    server: str
    outcome: str
    offset_ms: float | None
    bound_ms: float | None
    delay_ms: float | None
    stratum: int | None
    detail: str


@dataclass(frozen=True)
class ChronoTickCheck:
    """What one ChronoTick server answered one node: offset and one sigma in ms, or the reason for none."""

    server: str
    outcome: str
    health_ok: bool
    offset_ms: float | None
    sigma_ms: float | None
    latency_ms: float | None
    detail: str


@dataclass(frozen=True)
class ChronyCheck:
    """What a node's own chronyd says: reference - local in ms with its bound, or the reason for none."""

    outcome: str
    offset_ms: float | None
    bound_ms: float | None
    detail: str = ""

    @property
    def running(self) -> bool:
        """Tell whether there is one, synchronised or not."""
        return self.outcome not in {"no_chronyc", "no_chronyd"}


@dataclass(frozen=True)
class NodeCheck:
    """One node's row of the check: facts, services, and everything that is wrong with it (nothing: it is fit)."""

    node_id: str
    role: str
    host: str
    python: str | None = None
    kernel: str | None = None
    clock_source: str | None = None
    disk_free_bytes: int | None = None
    listen: str | None = None
    port_free: bool | None = None
    probe_port: int | None = None
    probe_port_free: bool | None = None
    ntp: tuple[NtpCheck, ...] = ()
    chronotick: tuple[ChronoTickCheck, ...] = ()
    chrony: ChronyCheck | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preflight:
    """The table of all nodes, and where each is reached by the others."""

    nodes: tuple[NodeCheck, ...]
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Return everything that forbids a run, one line each; what several nodes say alike is one line."""
        said_by: dict[str, list[str]] = {}
        for node in self.nodes:
            for problem in node.problems:
                said_by.setdefault(problem.removeprefix(f"{node.node_id}: "), []).append(node.node_id)
        return [f"{', '.join(nodes)}: {problem}" for problem, nodes in said_by.items()]

    @property
    def chrony(self) -> frozenset[str]:
        """Return the nodes whose own chronyd knows the time."""
        return frozenset(node.node_id for node in self.nodes if node.chrony is not None and node.chrony.outcome == OK)

    def demand(self) -> None:
        """Raise PreflightError unless every node is fit."""
        if self.problems:
            raise PreflightError("\n".join(self.problems))


def check(cluster: Cluster, agent: Agent, coordinator: CoordinatorConfig, worker: WorkerConfig) -> Preflight:
    """Put the agent into every node's cache and let it check the node; change nothing else. Never raises for a node."""
    spec = RunSpec("check", new_run_id(), cluster.config, coordinator, worker)

    def prepare(remote: Remote) -> None:
        rehearsal.hear(remote)
        agent.install(remote)
        rehearsal.use_files(remote, cluster.config)

    installed = cluster.each(prepare)
    wrong: dict[str, HarnessError] = dict(installed.failed)
    try:
        addresses = resolve(cluster)
    except HarnessError as error:  # the unreachable peer has its own line already, but says less about names
        addresses = {}
        if not wrong:
            wrong = {cluster.config.coordinator.id: error}
    plans = node_plans(spec, addresses)
    fit = [node_id for node_id in installed.ok if node_id not in wrong]
    checked = cluster.each(lambda remote: agent.check(remote, plans[remote.id]), fit)
    wrong |= checked.failed
    rows = []
    for node in cluster.config.nodes:
        row = NodeCheck(node.id, node.role, cluster.remotes[node.id].place)
        try:
            if node.id in wrong:
                raise wrong[node.id]
            rows.append(_judged(row, checked.ok[node.id], cluster.config, worker))
        except HarnessError as error:
            rows.append(NodeCheck(node.id, node.role, row.host, problems=(str(error),)))
    return Preflight(tuple(rows), addresses)


def _judged(row: NodeCheck, said: dict[str, Any], cluster: ClusterConfig, worker: WorkerConfig) -> NodeCheck:
    """Read a node's answer and say what is wrong with it. Raises RemoteCommandError for an answer of another shape."""
    try:
        listen, probes = said["listen"], said["probes"]
        ntp = tuple(NtpCheck(**answer) for answer in said["sources"][NTP])
        tick = tuple(ChronoTickCheck(**answer) for answer in said["sources"][CHRONOTICK])
        chrony = ChronyCheck(**said["sources"][CHRONY])
        problems: list[str] = []
        problems += [f"{row.node_id}: {port['problem']}" for port in (listen, probes) if port and not port["free"]]
        if said["disk_free_bytes"] < LEAST_FREE_BYTES:
            free = f"{said['disk_free_bytes'] / 1e6:.0f} MB"
            problems.append(f"{row.node_id}: disk: expected {LEAST_FREE_BYTES / 1e6:.0f} MB free, got {free}")
        silent = [answer for answer in ntp if answer.outcome != OK]
        if NTP in worker.clocks.required and len(ntp) - len(silent) <= (len(ntp) - 1) // 2:  # so many may be wrong
            problems += [_unanswered(row.node_id, "NTP", cluster.name, answer) for answer in silent]
        if CHRONOTICK in worker.clocks.required:
            bad = [answer for answer in tick if not _usable(answer)]
            problems += [_unanswered(row.node_id, "ChronoTick", cluster.name, answer) for answer in bad]
        if CHRONY in worker.clocks.required and chrony.outcome != OK:
            told = "start chronyd there, or take chrony out of clocks.required"
            got = f"{chrony.outcome} ({chrony.detail})" if chrony.detail else chrony.outcome
            problems.append(f"{row.node_id}: chronyd: expected one that knows the time, got {got}; {told}")
        return NodeCheck(
            node_id=row.node_id,
            role=row.role,
            host=row.host,
            python=said["python"],
            kernel=said["kernel"],
            clock_source=said["clock_source"],
            disk_free_bytes=said["disk_free_bytes"],
            listen=f"{listen['host']}:{listen['port']}" if listen["port"] else listen["host"],
            port_free=listen["free"],
            probe_port=probes["port"] if probes else None,
            probe_port_free=probes["free"] if probes else None,
            ntp=ntp,
            chronotick=tick,
            chrony=chrony,
            problems=tuple(problems),
        )
    except (KeyError, TypeError) as error:
        raise RemoteCommandError(
            f"{row.node_id}: agent check: expected the keys of this version, got {error}"
        ) from None


def _usable(answer: ChronoTickCheck) -> bool:
    """Return whether the server is good for a run: it answers well, or needs only more samples than a check takes."""
    return answer.health_ok and answer.outcome in {OK, WARMING_UP}


def _unanswered(node_id: str, service: str, cluster: str, answer: NtpCheck | ChronoTickCheck) -> str:
    said = answer.outcome if answer.outcome != OK else "not healthy"
    detail = f" ({' '.join(answer.detail.split())[:120]})" if answer.detail and answer.detail != said else ""
    advice = f"start it, open its port to the node, or change it in configs/clusters/{cluster}.yaml"
    if said in {NO_TLS, UNTRUSTED_CERTIFICATE}:
        why = "no TLS is spoken there" if said == NO_TLS else "only public certificate authorities are trusted"
        advice = f"{why}: http:// instead of https:// in configs/clusters/{cluster}.yaml?"
    elif said in _NO_HTTP and answer.server.startswith("http:"):
        advice = f"it speaks no HTTP: https:// instead of http:// in configs/clusters/{cluster}.yaml, or another port?"
    return f"{node_id}: {service} {answer.server}: expected a good answer, got {said}{detail}; {advice}"
