"""The hosts of a cluster over SSH: how they are reached, and many of them at once. The only importer of fabric."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import paramiko

from harness.errors import HarnessError
from harness.invocation.fabric_settings import FabricSettings, demand_local_user
from harness.ssh.connection import Connection
from harness.ssh.host import Host
from harness.ssh.per_node import Answers
from harness.ssh.route import Routes, given_by, ssh_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.configuration.experiment import ClusterConfig
    from harness.ssh.route import Route

# Logins at once: OpenSSH's MaxStartups begins to refuse at 10 that are not through yet, and others log in as well.
LOGINS_AT_ONCE: Final = 8
MOST_THREADS: Final = 32

T = TypeVar("T")


class Cluster:
    """All hosts of a cluster, connected lazily and asked in parallel."""

    def __init__(self, config: ClusterConfig, settings: Any = None) -> None:
        """Prepare, without connecting. ``settings`` is fabric's own configuration (``fab -S``, ``-i``), if any.

        ``notes`` are lines about the ssh_config that the user should see. An embedded cluster is reached with nothing
        but what its configuration says: no ssh_config, no agent. Raises ConfigError for an ssh_config that ssh refuses.
        """
        self.config = config
        if not config.embedded:
            demand_local_user()
        self._given = given_by(None if config.embedded else settings)
        self._routes = Routes(config, self._given)
        self._hops: dict[Route, Connection] = {}
        self._pool = ThreadPoolExecutor(max_workers=min(MOST_THREADS, len(config.nodes)), thread_name_prefix="host")
        try:
            gateway = self._routes.gateway()
            # At once: a Match exec may take its time for every host.
            routes = list(self._pool.map(lambda node: self._routes.node(node, gateway), config.nodes))
        except BaseException:
            self._pool.shutdown(cancel_futures=True)
            raise
        self.notes = self._routes.notes
        gate, logins = threading.Lock(), threading.BoundedSemaphore(LOGINS_AT_ONCE)
        self.hosts = {
            node.id: Host(node, self._connect(route), gate, logins)
            for node, route in zip(config.nodes, routes, strict=True)
        }
        self._pending: set[Future[Any]] = set()

    def ssh_argv(self, host: Host) -> list[str]:
        """Return the ssh command, without the host, that reaches a host as this cluster does: for rsync."""
        return ssh_argv(host.route, self._routes.trust)

    def each(self, action: Callable[[Host], T], nodes: Iterable[str] | None = None) -> Answers[T]:
        """Do one thing on every node (or those named) at once; one's failure never hides another's answer."""
        names = list(self.hosts if nodes is None else nodes)
        futures = {name: self._pool.submit(action, self.hosts[name]) for name in names}
        self._pending = set(futures.values())
        answers: Answers[T] = Answers()
        for name, future in futures.items():
            try:
                answers.ok[name] = future.result()
            except HarnessError as error:  # noqa: PERF203 - each node's failure is its own
                answers.failed[name] = error
        return answers

    def settle(self) -> None:
        """Wait for actions that an interrupt left behind; each has its own deadline."""
        wait(self._pending)

    def close(self) -> None:
        """Close every connection and end the threads."""
        self._pool.shutdown(cancel_futures=True)
        for host in self.hosts.values():
            host.close()
        for hop in self._hops.values():
            hop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, route: Route) -> Connection:
        """Return the (closed) connection along a route; a host on the way is one connection for all behind it."""
        hop = None
        if route.hop is not None:
            hop = self._hops.get(route.hop)
            if hop is None:
                hop = self._hops[route.hop] = self._connect(route.hop)
        return Connection(route, hop, self._routes.trust, self._given.secrets)


def with_ssh_config(settings: Any, path: str) -> Any:
    """Return fabric's configuration with another ssh_config, as ``fab -S`` would give it."""
    changed = FabricSettings(lazy=True, ssh_config=paramiko.SSHConfig()) if settings is None else settings.clone()
    changed.set_runtime_ssh_path(path)
    return changed
