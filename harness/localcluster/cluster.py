"""The embedded cluster as its user sees it: started from a cluster file, closed with a ``with`` block."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.configuration.experiment import split_host_port, split_url
from harness.errors import ConfigError, PreflightError, last_line
from harness.invocation.environment import known_environment
from harness.localcluster.claims import claim
from harness.localcluster.messages import MARK, Failed, HostOrder, Order, Ready, read_report
from harness.localcluster.paths import Paths
from harness.localcluster.processes import end_with_its_pipes, read_line
from harness.localcluster.services import CHRONOTICK, NTP, kind_of, service_orders
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from harness.configuration.experiment import ClusterConfig, NodeConfig
    from harness.localcluster.messages import Service
    from harness.localcluster.relays.messages import Counts
    from node_agent.contract.plan import NodePlan

START_DEADLINE_S = 30.0
CLOSE_DEADLINE_S = 15.0
RELAYS_DEADLINE_S = 10.0


class LocalCluster:
    """A running embedded cluster: ``cluster`` is the configuration with real ports, keys and epochs filled in.

    ``services`` says where the time services listen and in which processes. ``close`` ends everything, and so does the
    end of this process, whatever ends it.
    """

    def __init__(
        self, config: ClusterConfig, ready: Ready, supervisor: subprocess.Popen[bytes], claims: contextlib.ExitStack
    ) -> None:
        """Complete the ``config`` that ``supervisor`` runs. Raises PreflightError where its paths cannot be laid."""
        self.services: dict[str, Service] = ready.services
        self.relays_pid = ready.relays_pid
        self.root = Path(ready.root)
        self.homes = {host.node_id: Path(host.home) for host in ready.hosts}
        self.supervisor_pid = supervisor.pid
        self._supervisor = supervisor
        self._claims = claims
        self._paths = Paths(config.paths, self._ask_relays) if config.paths else None
        places = {name: split_host_port(service.address) for name, service in ready.services.items()}
        self.cluster = _filled_in(config, ready, self._paths.to_services(places) if self._paths else places)

    def through_paths(self, plans: Mapping[str, NodePlan]) -> dict[str, NodePlan]:
        """Return the plans with the others' addresses as the paths lead to them; what is missing of those is laid."""
        return self._paths.through(plans) if self._paths else dict(plans)

    def path_counts(self) -> dict[str, Counts]:
        """Return what became of the packets on each path so far. Raises PreflightError where nobody can tell."""
        return self._paths.counts() if self._paths else {}

    def _ask_relays(self, line: str) -> str:
        pipe = self._supervisor.stdin
        if pipe is None:
            raise AssertionError("started with pipes")
        with contextlib.suppress(BrokenPipeError):
            pipe.write(line.encode() + b"\n")
        answer = _read_marked(self._supervisor, time.monotonic() + RELAYS_DEADLINE_S)
        if answer is None:
            raise PreflightError(
                f"embedded cluster: relays: expected an answer within {RELAYS_DEADLINE_S:g} s, got none"
            )
        return answer.removeprefix(MARK)

    def close(self) -> None:
        """End every process of the cluster and remove its folder. Idempotent."""
        end_with_its_pipes(self._supervisor, CLOSE_DEADLINE_S)
        self._claims.close()
        shutil.rmtree(self.root, ignore_errors=True)  # there is nothing left, unless the supervisor was killed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(config: ClusterConfig, deadline_s: float = START_DEADLINE_S) -> LocalCluster:
    """Start the hosts and time services of ``config``; return when all of them listen.

    Hosts whose loopback addresses another embedded cluster has get the same ones in another 127.x.

    Raises ConfigError for a configuration that is no embedded cluster, PreflightError where it cannot start (a port in
    use, say) or is not ready within ``deadline_s`` seconds. Nothing is left running then.
    """
    _order(config, deadline_s)  # before anything is claimed: a configuration that cannot be
    addresses, claims = claim([node.address or node.host for node in config.nodes])
    config = _moved(config, addresses)
    order = _order(config, deadline_s)
    with tempfile.TemporaryFile() as errors:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "harness.localcluster"],
            env=known_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            start_new_session=True,
        )
        try:
            ready = _await_ready(supervisor, order, deadline_s, errors)
            return LocalCluster(config, ready, supervisor, claims)
        except BaseException:
            end_with_its_pipes(supervisor, CLOSE_DEADLINE_S)
            claims.close()
            raise


def _moved(config: ClusterConfig, addresses: dict[str, str]) -> ClusterConfig:
    nodes = [
        node.model_copy(update={"address" if node.address else "host": addresses[node.address or node.host]})
        for node in config.nodes
    ]
    return config.model_copy(update={"nodes": nodes})


def _order(config: ClusterConfig, deadline_s: float) -> Order:
    if not config.embedded:
        raise ConfigError(
            f"cluster {config.name}: expected embedded: true, got false; only such a cluster can be started"
        )
    chronotick = None if config.chronotick_server is None else join_address(*split_url(config.chronotick_server))
    ntp_servers = [join_address(*split_host_port(server)) for server in config.ntp_server]
    services = service_orders(ntp_servers, config.ntp_error_ms, chronotick)
    hosts = [HostOrder(node.id, node.address or node.host, node.port or 0) for node in config.nodes]
    return Order(hosts, services, deadline_s, relays=config.paths is not None)


def _await_ready(supervisor: subprocess.Popen[bytes], order: Order, deadline_s: float, errors: IO[bytes]) -> Ready:
    if supervisor.stdin is None:
        raise AssertionError("started with pipes")
    with contextlib.suppress(BrokenPipeError):  # it ended already; the answer below says why
        supervisor.stdin.write(order.to_json().encode() + b"\n")
    text = _read_marked(supervisor, time.monotonic() + deadline_s + 1)  # it keeps the same deadline itself
    if text is None:
        errors.seek(0)
        why = last_line(errors.read().decode(errors="replace"))
        raise PreflightError(f"embedded cluster: the supervisor was not ready within {deadline_s:g} s: {why}")
    report = read_report(text)
    if isinstance(report, Failed):
        raise PreflightError(f"embedded cluster: {report.problem}")
    return report


def _read_marked(supervisor: subprocess.Popen[bytes], deadline: float) -> str | None:
    """Return what the supervisor says next, None where it says nothing before the deadline (monotonic s)."""
    if supervisor.stdout is None:
        raise AssertionError("started with pipes")
    text = read_line(supervisor.stdout, deadline)
    while text.endswith(b"\n") and not text.startswith(MARK.encode()):
        text = read_line(supervisor.stdout, deadline)
    return text.decode() if text.endswith(b"\n") else None


def _filled_in(config: ClusterConfig, ready: Ready, services: Mapping[str, tuple[str, int]]) -> ClusterConfig:
    """Return the configuration as it is now; ``services`` are the places where the nodes find them."""
    ports = {host.node_id: host.port for host in ready.hosts}

    def filled(node: NodeConfig) -> NodeConfig:
        changes: dict[str, Any] = {"port": ports[node.id], "user": ready.user, "identity_file": ready.identity_file}
        if node.virtual_clock is not None:
            changes["virtual_clock"] = node.virtual_clock.model_copy(update={"epoch_ns": ready.epoch_ns})
        return node.model_copy(update=changes)

    changes: dict[str, Any] = {
        "nodes": [filled(node) for node in config.nodes],
        "known_hosts_file": ready.known_hosts_file,
        "host_key_policy": "reject",
    }
    ntp_servers = [join_address(*place) for name, place in services.items() if kind_of(name) == NTP]
    if ntp_servers:
        changes["ntp_server"] = ntp_servers
    if CHRONOTICK in services:
        changes["chronotick_server"] = f"http://{join_address(*services[CHRONOTICK])}"
    return config.model_copy(update=changes)
