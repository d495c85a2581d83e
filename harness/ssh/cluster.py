"""The nodes of a cluster over SSH: how each is reached, once for all that share a way."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import paramiko

from harness.cluster import MOST_THREADS, Cluster
from harness.errors import UnreachableError
from harness.invocation.fabric_settings import FabricSettings, demand_local_user
from harness.ssh.channels import SSH_ERRORS, reason, refused_forwarding
from harness.ssh.connection import Connection
from harness.ssh.remote import SshRemote
from harness.ssh.route import Given, Route, Routes, given_by, ssh_argv
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.allocation import Allocation
    from harness.configuration.cluster import ClusterConfig

# Logins at once: OpenSSH's MaxStartups begins to refuse at 10 that are not through yet, and others log in as well.
LOGINS_AT_ONCE: Final = 8


class Logins:
    """How the nodes of one cluster log in: one thread at a time at a gateway, few at a time at all."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._places = threading.BoundedSemaphore(LOGINS_AT_ONCE)

    def open(self, node_id: str, connection: Connection) -> None:
        """Log in; a gateway that proves dead is opened anew, once. Raises UnreachableError."""
        gateway = connection.hop
        if gateway is not None:
            self._open_gateway(node_id, gateway)
        try:
            with self._places:
                connection.open()
        except SSH_ERRORS as error:
            if gateway is not None:
                with self._gate:
                    dead = not gateway.answers()
                if dead:
                    self._open_gateway(node_id, gateway)
                    with contextlib.suppress(*SSH_ERRORS), self._places:
                        connection.open()
                        return
            raise _unreachable(node_id, connection, error) from error

    def _open_gateway(self, node_id: str, gateway: Connection) -> None:
        try:
            with self._gate:
                gateway.open()
        except SSH_ERRORS as error:
            advice = "on that machine itself use --direct after the cluster's name"
            why = reason(error) + gateway.words
            told = f"{node_id}: expected SSH at the gateway {gateway.place}, got: {why}; {advice}"
            raise UnreachableError(told) from error


def _unreachable(node_id: str, connection: Connection, error: Exception) -> UnreachableError:
    options, hop = connection.options, connection.hop
    way = options.proxy_command if hop is None else hop.options.host
    through = f" through {way}" if way else ""
    if isinstance(error, paramiko.ChannelException) and hop is not None:
        why = refused_forwarding(error, hop.place, join_address(options.host, options.port))
    else:
        why = reason(error) + connection.words
    return UnreachableError(f"{node_id}: expected SSH at {connection.place}{through}, got: {why}")


def connect(
    config: ClusterConfig,
    settings: Any = None,
    allocation: Allocation | None = None,
    shared: ExitStack | None = None,
) -> Cluster:
    """Return a cluster whose nodes are logged in to when first needed.

    ``settings`` is fabric's own configuration (``fab -S``, ``-i``), if any. An embedded cluster is reached with nothing
    but what its configuration says: no ssh_config, no agent. ``allocation`` lends the nodes, if they are lent, and
    ``shared`` is closed after them. Raises ConfigError for an ssh_config that ssh refuses.
    """
    if not config.embedded:
        demand_local_user()
    given = given_by(None if config.embedded else settings)
    routes = Routes(config, given)
    gateway = routes.gateway()
    with ThreadPoolExecutor(MOST_THREADS) as pool:  # at once: a Match exec may take its time for every host
        ways = list(pool.map(lambda node: routes.node(node, gateway), config.nodes))
    hops: dict[Route, Connection] = {}
    shared = shared or ExitStack()
    logins = Logins()
    remotes = [
        SshRemote(node.id, _along(way, hops, shared, routes, given), ssh_argv(way, routes.trust), logins, config.setup)
        for node, way in zip(config.nodes, ways, strict=True)
    ]
    return Cluster(config, remotes, routes.notes, shared, allocation)


def fronts(config: ClusterConfig, settings: Any = None) -> tuple[Callable[[str], SshRemote], Sequence[str], ExitStack]:
    """Return what makes remotes at the cluster's gateway itself, notes about the way there, and what they share.

    Raises ConfigError.
    """
    demand_local_user()
    given = given_by(settings)
    routes = Routes(config, given)
    way = routes.gateway()
    if way is None:
        raise ValueError("a cluster with a gateway")
    hops: dict[Route, Connection] = {}
    shared = ExitStack()
    logins = Logins()

    def front(node_id: str) -> SshRemote:
        connection = _along(way, hops, shared, routes, given)
        return SshRemote(node_id, connection, ssh_argv(way, routes.trust), logins)

    return front, routes.notes, shared


def _along(route: Route, hops: dict[Route, Connection], shared: ExitStack, routes: Routes, given: Given) -> Connection:
    """Return the (closed) connection along a route; a host on the way is one connection for all behind it."""
    hop = route.hop
    if hop is not None and hop not in hops:
        hops[hop] = _along(hop, hops, shared, routes, given)
        shared.callback(hops[hop].close)
    return Connection(route, None if hop is None else hops[hop], routes.trust, given.secrets)


def with_ssh_config(settings: Any, path: str) -> Any:
    """Return fabric's configuration with another ssh_config, as ``fab -S`` would give it."""
    changed = FabricSettings(lazy=True, ssh_config=paramiko.SSHConfig()) if settings is None else settings.clone()
    changed.set_runtime_ssh_path(path)
    return changed
