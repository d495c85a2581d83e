"""The embedded cluster as its user sees it: started from a cluster file, closed with a ``with`` block."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.configuration.cluster import ClusterConfig, NodeConfig, split_host_port, split_url
from harness.errors import ConfigError, PreflightError, last_line
from harness.localcluster.messages import MARK, HostOrder, Order, Ready, Report, Service
from harness.localcluster.paths import Paths
from harness.localcluster.processes import end_with_its_pipes, piped, read_line, start_ours
from harness.localcluster.services import CHRONOTICK, NTP, kind_of, service_orders
from node_agent.contract import json_objects
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from harness.localcluster.relays.messages import Counts
    from node_agent.contract.plan import NodePlan

START_DEADLINE_S = 30.0
CLOSE_DEADLINE_S = 15.0
RELAYS_DEADLINE_S = 10.0


class LocalCluster(contextlib.AbstractContextManager["LocalCluster"]):
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
        with contextlib.suppress(BrokenPipeError):
            piped(self._supervisor.stdin).write(line.encode() + b"\n")
        answer = _read_marked(self._supervisor, time.monotonic() + RELAYS_DEADLINE_S)
        if answer is None:
            wanted = f"expected an answer within {RELAYS_DEADLINE_S:g} s"
            raise PreflightError(f"embedded cluster: relays: {wanted}, got none")
        return answer.removeprefix(MARK)

    def close(self) -> None:
        """End every process of the cluster and remove its folder. Idempotent."""
        end_with_its_pipes(self._supervisor, CLOSE_DEADLINE_S)
        self._claims.close()
        shutil.rmtree(self.root, ignore_errors=True)  # there is nothing left, unless the supervisor was killed

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
        supervisor = start_ours("harness.localcluster", errors=errors)
        try:
            ready = _await_ready(supervisor, order, deadline_s, errors)
            in_order = {service.name: ready.services[service.name] for service in order.services}  # JSON has none
            return LocalCluster(config, dataclasses.replace(ready, services=in_order), supervisor, claims)
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
        wanted = "expected embedded: true, got false; only such a cluster can be started"
        raise ConfigError(f"cluster {config.name}: {wanted}")
    chronotick = None if config.chronotick_server is None else join_address(*split_url(config.chronotick_server))
    ntp_servers = [join_address(*split_host_port(server)) for server in config.ntp_server]
    services = service_orders(ntp_servers, config.ntp_error_ms, chronotick)
    hosts = [HostOrder(node.id, node.address or node.host, node.port or 0) for node in config.nodes]
    return Order(hosts, services, deadline_s, relays=config.paths is not None)


def _await_ready(supervisor: subprocess.Popen[bytes], order: Order, deadline_s: float, errors: IO[bytes]) -> Ready:
    with contextlib.suppress(BrokenPipeError):  # it ended already; the answer below says why
        piped(supervisor.stdin).write(json_objects.write(order).encode() + b"\n")
    text = _read_marked(supervisor, time.monotonic() + deadline_s + 1)  # it keeps the same deadline itself
    if text is None:
        errors.seek(0)
        why = last_line(errors.read().decode(errors="replace"))
        raise PreflightError(f"embedded cluster: the supervisor was not ready within {deadline_s:g} s: {why}")
    report = json_objects.read(Report, text.removeprefix(MARK), "report")
    if report.ready is None:
        raise PreflightError(f"embedded cluster: {report.problem}")
    return report.ready


def _read_marked(supervisor: subprocess.Popen[bytes], deadline: float) -> str | None:
    """Return what the supervisor says next, None where it says nothing before the deadline (monotonic s)."""
    text = read_line(piped(supervisor.stdout), deadline)
    while text.endswith(b"\n") and not text.startswith(MARK.encode()):
        text = read_line(piped(supervisor.stdout), deadline)
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


_NAME = "\0chronotick-embedded-host-"
_NETS = 100


def claim(hosts: Sequence[str]) -> tuple[dict[str, str], contextlib.ExitStack]:
    """Return an address for each host that no other embedded cluster has, and what holds them until it is closed.

    They are the hosts' own if nobody has these, else the same ones in another 127.x. Raises PreflightError if all 100
    are taken.
    """
    for net in range(_NETS):
        moved = {host: _in_net(host, net) for host in hosts}
        held = contextlib.ExitStack()
        try:
            for address in dict.fromkeys(moved.values()):
                held.enter_context(contextlib.closing(_held(address)))
        except OSError:
            held.close()
            continue
        return moved, held
    raise PreflightError(f"embedded cluster: expected free loopback addresses like {hosts[0]}, got {_NETS} taken ones")


def _held(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(_NAME + address)
    except OSError:
        sock.close()
        raise
    return sock


def _in_net(host: str, net: int) -> str:
    """Return a loopback address with its second byte ``net`` further on; any other host as it is."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return host
    if not address.is_loopback:
        return host
    first, second, *rest = address.packed
    return str(ipaddress.IPv4Address(bytes([first, (second + net) % 256, *rest])))
