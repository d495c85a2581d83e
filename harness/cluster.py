"""The hosts of a cluster over SSH: how they are reached, and many of them at once. The only importer of fabric."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import fabric
import paramiko

from harness import ssh_config
from harness.answers import Answers
from harness.channels import ALIVE_TIMEOUT_S, CONNECT_TIMEOUT_S, SSH_ERRORS, calling_after, end
from harness.errors import ConfigError, HarnessError
from harness.fabric_settings import FabricSettings, demand_local_user
from harness.host import Host
from harness.host_keys import apply_policy, know_by, known_hosts_files
from harness.identities import held_by_agent, identities
from harness.proxy_command import ProxySocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.config import ClusterConfig, SshConfig

KEEPALIVE_S: Final = 10
# Logins at once: OpenSSH's MaxStartups begins to refuse at 10 that are not through yet, and others log in as well.
LOGINS_AT_ONCE: Final = 8
MOST_THREADS: Final = 32

T = TypeVar("T")


class _Connection(fabric.Connection):  # type: ignore[misc]  # fabric publishes no types
    """A fabric connection that follows ssh_config as ssh does, every hop of it with a deadline."""

    # Fabric takes an attribute that its class does not have for a setting.
    connect_kwargs: dict[str, Any]
    connect_timeout: int | None = None
    proxy_words = ""
    _proxy: ProxySocket | None = None

    def __init__(self, host: str, **options: Any) -> None:
        """Prepare. What fabric was told on its command line (``-i``, ``-t``, a passphrase) counts for every hop."""
        super().__init__(host, **options)
        told = {**self.config.connect_kwargs, **self.connect_kwargs}
        self.connect_timeout = told.pop("timeout", None) or self.connect_timeout or CONNECT_TIMEOUT_S
        told |= {"banner_timeout": self.connect_timeout, "auth_timeout": self.connect_timeout}
        self.connect_kwargs = identities(self.ssh_config, told)

    def get_gateway(self) -> Any:
        """Return the last hop of ProxyJump, the ones before it being its gateways in turn; else the ProxyCommand."""
        jump = self.ssh_config.get("proxyjump", "none")
        if jump.lower() == "none":
            command = self.ssh_config.get("proxycommand", "none")
            return self.config.gateway if command.lower() == "none" else command
        gateway = None
        for hop in jump.split(","):
            if self.derive_shorthand(hop)["host"] in {self.original_host, self.host}:  # a pattern that fits the hop too
                return None
            gateway = _Connection(hop.strip(), config=self.config, gateway=gateway)
        return gateway

    def open_gateway(self) -> Any:
        """Return what stands for a socket to this host."""
        if isinstance(self.gateway, str):
            self._proxy = ProxySocket(self.gateway)
            return self._proxy
        self.gateway.open()
        transport, timeout_s = self.gateway.transport, self.connect_timeout or CONNECT_TIMEOUT_S
        target = (self.host, int(self.port))
        with calling_after(timeout_s + ALIVE_TIMEOUT_S, partial(end, transport)):
            return transport.open_channel("direct-tcpip", target, ("", 0), timeout=timeout_s)

    def open(self) -> Any:
        """Connect, and keep the connection from falling asleep."""
        if self.is_connected:
            return None
        told = self.connect_kwargs
        try:
            with held_by_agent(self.ssh_config) as key:
                self.connect_kwargs = told | key
                result = super().open()
        except BaseException:
            self.client.close()  # paramiko leaves the thread and the socket of a failed login behind
            raise
        finally:
            self.connect_kwargs = told
            if self._proxy is not None and not self.is_connected:
                self.proxy_words = f"; its ProxyCommand said: {said}" if (said := self._proxy.said()) else ""
                self._proxy.close()
        self.transport.set_keepalive(KEEPALIVE_S)
        return result

    def answers(self) -> bool:
        """Return whether the other end still answers; a connection that does not is closed."""
        if not self.is_connected:
            return False
        try:
            with calling_after(ALIVE_TIMEOUT_S, partial(end, self.transport)):
                self.transport.open_session(timeout=ALIVE_TIMEOUT_S).close()
        except SSH_ERRORS:
            self.close()
            if self.hop is not None:
                self.hop.answers()
            return False
        return True

    @property
    def hop(self) -> _Connection | None:
        """Return the gateway's connection, if there is a gateway and it is a host of its own."""
        return self.gateway if isinstance(self.gateway, _Connection) else None

    def hang_up(self) -> None:
        """End a connection that keeps somebody waiting; its gateway too, if that is what keeps it."""
        if self.transport is not None:
            end(self.transport)
        if self.hop is not None:
            self.hop.answers()


class _NoSshConfig(paramiko.SSHConfig):
    """An ssh_config that says nothing; paramiko's empty one still asks for the names of this user and this machine."""

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        """Return the host's name as its name."""
        return paramiko.SSHConfigDict(hostname=hostname)


class Cluster:
    """All hosts of a cluster, connected lazily and asked in parallel."""

    def __init__(self, config: ClusterConfig, settings: Any = None) -> None:
        """Prepare, without connecting. ``settings`` is fabric's own configuration (``fab -S``, ``-i``), if any.

        An embedded cluster is reached with nothing but what its configuration says: no ssh_config, no agent.
        """
        self.config = config
        self.ssh_config_file: str | None = None
        if config.embedded:
            settings = FabricSettings(ssh_config=_NoSshConfig())
        else:
            demand_local_user()
            settings = (settings or FabricSettings(lazy=True)).clone()
            self.ssh_config_file = given_ssh_config(settings)
            settings._set(base_ssh_config=ssh_config.load(self.ssh_config_file))  # noqa: SLF001 - as fabric itself does, which knows no Include
        gateway = self._connect(config.gateway, settings, None) if config.gateway else None
        gate, logins = threading.Lock(), threading.BoundedSemaphore(LOGINS_AT_ONCE)
        self.hosts = {
            node.id: Host(node, self._connect(node, settings, gateway), gate, logins) for node in config.nodes
        }
        self._gateway = gateway
        self._pending: set[Future[Any]] = set()
        self._pool = ThreadPoolExecutor(max_workers=min(MOST_THREADS, len(self.hosts)), thread_name_prefix="host")

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
        if self._gateway is not None:
            self._gateway.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, ssh: SshConfig, settings: Any, gateway: Any) -> Any:
        keys: dict[str, Any] = {}
        if ssh.identity_file is not None:
            keys["key_filename"] = str(Path(ssh.identity_file).expanduser())
        if self.config.embedded:
            keys |= {"allow_agent": False, "look_for_keys": False}
        try:
            connection = _Connection(
                ssh.host, user=ssh.user, port=ssh.port, config=settings, gateway=gateway, connect_kwargs=keys
            )
        except RecursionError:
            raise ConfigError(
                f"ssh_config: expected ProxyJump of {ssh.host} to lead there, it leads in a circle"
            ) from None
        hop = connection
        while isinstance(hop, fabric.Connection):  # ssh_config may have put more hosts in between
            files = known_hosts_files(self.config.known_hosts_file, hop.ssh_config.get("userknownhostsfile"))
            apply_policy(hop.client, self.config.host_key_policy, files)
            if alias := hop.ssh_config.get("hostkeyalias"):
                know_by(hop.client, alias, hop.host, int(hop.port))
            hop = hop.gateway
        return connection


def given_ssh_config(settings: Any) -> str | None:
    """Return the ssh_config that stands in for the usual ones (``fab -S``), or None."""
    if settings is None:
        return None
    given = settings._runtime_ssh_path or settings.ssh_config_path  # noqa: SLF001 - `fab -S` tells it nowhere else
    return None if given is None else str(given)


def with_ssh_config(settings: Any, path: str) -> Any:
    """Return fabric's configuration with another ssh_config, as ``fab -S`` would give it."""
    changed = FabricSettings(lazy=True) if settings is None else settings.clone()
    changed.set_runtime_ssh_path(path)
    return changed
