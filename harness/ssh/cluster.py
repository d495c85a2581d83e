"""The nodes of a cluster over SSH: how each is reached, once for all that share a way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import paramiko

from harness.cluster import MOST_THREADS, Cluster
from harness.invocation.fabric_settings import FabricSettings, demand_local_user
from harness.ssh.connection import Connection
from harness.ssh.login import Logins
from harness.ssh.remote import SshRemote
from harness.ssh.route import Route, Routes, given_by, ssh_argv

if TYPE_CHECKING:
    from harness.configuration.cluster import ClusterConfig


def connect(config: ClusterConfig, settings: Any = None) -> Cluster:
    """Return a cluster whose nodes are logged in to when first needed.

    ``settings`` is fabric's own configuration (``fab -S``, ``-i``), if any. An embedded cluster is reached with nothing
    but what its configuration says: no ssh_config, no agent. Raises ConfigError for an ssh_config that ssh refuses.
    """
    if not config.embedded:
        demand_local_user()
    given = given_by(None if config.embedded else settings)
    routes = Routes(config, given)
    gateway = routes.gateway()
    with ThreadPoolExecutor(MOST_THREADS) as pool:  # at once: a Match exec may take its time for every host
        ways = list(pool.map(lambda node: routes.node(node, gateway), config.nodes))
    hops: dict[Route, Connection] = {}
    shared = ExitStack()

    def along(route: Route) -> Connection:
        """Return the (closed) connection along a route; a host on the way is one connection for all behind it."""
        hop = route.hop
        if hop is not None and hop not in hops:
            hops[hop] = along(hop)
            shared.callback(hops[hop].close)
        return Connection(route, None if hop is None else hops[hop], routes.trust, given.secrets)

    logins = Logins()
    remotes = [
        SshRemote(node.id, along(way), ssh_argv(way, routes.trust), logins)
        for node, way in zip(config.nodes, ways, strict=True)
    ]
    return Cluster(config, remotes, routes.notes, shared)


def with_ssh_config(settings: Any, path: str) -> Any:
    """Return fabric's configuration with another ssh_config, as ``fab -S`` would give it."""
    changed = FabricSettings(lazy=True, ssh_config=paramiko.SSHConfig()) if settings is None else settings.clone()
    changed.set_runtime_ssh_path(path)
    return changed
