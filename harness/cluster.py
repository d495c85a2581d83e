"""The hosts of a cluster over SSH: commands, files, and many hosts at once. The only importer of fabric.

Every action has a deadline and fails as an UnreachableError, RemoteCommandError or DeadlineError that names the node.
Remote paths may start with ``~/``; they hold no character a shell would look at (``harness.config`` sees to that).
What a login prints by itself, a banner or an ``echo`` in some profile, is never taken for an answer: commands begin to
speak after a mark, and where such words spoil SFTP, files go by the shell.
"""

from __future__ import annotations

import contextlib
import secrets
import stat
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import fabric
import paramiko

from harness import remote_files, ssh_config
from harness.answers import Answers
from harness.channels import (
    COMMAND_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    SSH_ERRORS,
    TRANSFER_STALL_S,
    Ran,
    Result,
    Stall,
    calling_after,
    reason,
    run_command,
    sftp_over,
)
from harness.errors import (
    ConfigError,
    DeadlineError,
    HarnessError,
    LostError,
    RemoteCommandError,
    UnreachableError,
)
from harness.host_keys import apply_policy, know_by, known_hosts_files
from harness.identities import held_by_agent, identities
from harness.proxy_command import ProxySocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.config import ClusterConfig, NodeConfig, SshConfig

KEEPALIVE_S: Final = 10
ALIVE_TIMEOUT_S: Final = 5.0
FILE_TIMEOUT_S: Final = 60.0  # for a small file
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
        with calling_after(timeout_s + ALIVE_TIMEOUT_S, transport.close):
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
            with calling_after(ALIVE_TIMEOUT_S, self.transport.close):
                self.transport.open_session(timeout=ALIVE_TIMEOUT_S).close()
        except SSH_ERRORS:
            self.close()
            if isinstance(self.gateway, _Connection):
                self.gateway.answers()
            return False
        return True

    def hang_up(self) -> None:
        """End a connection that keeps somebody waiting; its gateway too, if that is what keeps it."""
        if self.transport is not None:
            self.transport.close()
        if isinstance(self.gateway, _Connection):
            self.gateway.answers()


class Host:
    """One node as seen through SSH. One thread at a time; a lost connection is opened anew by the next action."""

    def __init__(self, node: NodeConfig, connection: Any, gate: threading.Lock, logins: threading.Semaphore) -> None:
        """Bind a node to its (still closed) connection.

        ``gate`` lets one thread at a time open the gateway, ``logins`` few hosts at a time log in.
        """
        self.node = node
        self._connection = connection
        self._gate = gate
        self._logins = logins
        self._doubtful = False
        self._no_sftp = False
        self._one_at_a_time = threading.RLock()
        self._sftp: paramiko.SFTPClient | None = None

    @property
    def id(self) -> str:
        """Return the node's id."""
        return self.node.id

    @property
    def place(self) -> str:
        """Return ``user@host:port``, after ssh_config had its say."""
        return f"{self._connection.user}@{self._connection.host}:{self._connection.port}"

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run a command with the node's shell. Raises UnreachableError, or DeadlineError after ``timeout_s``."""
        said = self._run(command, stdin, timeout_s)
        return Result(said.exit_code, said.output.decode("utf-8", "replace"), said.stderr)

    def ask(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command that must succeed and return its output. Raises RemoteCommandError as well."""
        result = self.run(command, stdin=stdin, timeout_s=timeout_s)
        if result.exit_code != 0:
            said = (result.stderr or result.stdout).strip().splitlines()
            reason = said[-1] if said else "no message"
            raise RemoteCommandError(f"{self.id}: {reason} (exit {result.exit_code} of: {command})")
        return result.stdout

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Put a file in place at once, never readable to others than ``mode`` says."""
        scratch = f"{path}.{secrets.token_hex(4)}"
        with self._files(f"writing {path}") as sftp:
            if sftp is None:
                remote_files.write(self._run, scratch, path, content, mode)
                return
            with sftp.open(_sftp_path(scratch), "wb") as file:
                file.chmod(mode)
                file.set_pipelined(pipelined=True)
                file.write(content)
            sftp.posix_rename(_sftp_path(scratch), _sftp_path(path))

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none."""
        with self._files(f"reading {path}") as sftp:
            if sftp is None:
                return remote_files.read(self._run, path)
            try:
                with sftp.open(_sftp_path(path), "rb") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
        with self._files(f"listing {folder}") as sftp:
            if sftp is None:
                return remote_files.listing(self._run, folder)
            try:
                entries = sftp.listdir_attr(_sftp_path(folder))
            except FileNotFoundError:
                return None
            return {entry.filename: entry.st_size or 0 for entry in entries if stat.S_ISREG(entry.st_mode or 0)}

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of any size from the node to ``target``; it must keep moving (``TRANSFER_STALL_S``)."""
        with self._files(f"fetching {path}", limited=False) as sftp:
            if sftp is None:
                remote_files.fetch(self._run, path, target)
                return
            stalled = Stall(TRANSFER_STALL_S, self._connection.hang_up)
            with stalled:
                sftp.get(_sftp_path(path), str(target), callback=stalled.moved, max_concurrent_prefetch_requests=64)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._one_at_a_time:
            self._close()

    def _close(self) -> None:
        if self._sftp is not None:
            self._sftp.close()
            self._sftp = None
        self._connection.close()

    def _run(self, command: str, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Ran:
        """Run a command with /bin/sh, whatever the login shell is; take for its output what comes after a mark."""
        with self._session(f"running {command.split(maxsplit=1)[0]}") as transport:
            try:
                with calling_after(timeout_s + ALIVE_TIMEOUT_S, self._connection.hang_up):
                    return run_command(transport, command, stdin, timeout_s)
            except TimeoutError:
                self._doubtful = True
                if not self._connection.answers():  # not the command hangs, the line is dead
                    self._close()
                    raise LostError(f"{self.id}: {self.place} does not answer any more") from None
                raise DeadlineError(f"{self.id}: expected an end within {timeout_s:g} s of: {command}") from None
            except RemoteCommandError as error:
                raise RemoteCommandError(f"{self.id}: {error}") from None

    @contextlib.contextmanager
    def _session(self, doing: str) -> Iterator[paramiko.Transport]:
        """Hold the (opened) connection for one action; whatever SSH raises becomes one line naming the node.

        A connection that failed is closed, and one that kept somebody waiting is asked first whether it still answers.
        """
        with self._one_at_a_time:
            try:
                if self._doubtful and not self._connection.answers():
                    self._close()
                self._doubtful = False
                if not self._connection.is_connected:
                    self._open()
                yield self._connection.transport
            except HarnessError:
                raise
            except SSH_ERRORS as error:
                self._doubtful = True
                raise LostError(f"{self.id}: {doing} at {self.place}: {reason(error)}") from error

    @contextlib.contextmanager
    def _files(self, doing: str, *, limited: bool = True) -> Iterator[paramiko.SFTPClient | None]:
        """Hold the node's SFTP for one action; None where there is none, then the shell has to do."""
        with self._session(doing) as transport:
            if not self._no_sftp and (self._sftp is None or self._sftp.sock.closed):
                self._sftp = sftp_over(transport)
                self._no_sftp = self._sftp is None
            try:
                with calling_after(FILE_TIMEOUT_S, self._connection.hang_up) if limited else contextlib.nullcontext():
                    yield self._sftp
            except TimeoutError:
                raise
            except RemoteCommandError as error:
                raise RemoteCommandError(f"{self.id}: {doing}: {error}") from None
            except OSError as error:
                if not transport.is_active():
                    raise
                raise RemoteCommandError(f"{self.id}: {doing}: {' '.join(str(error).split())}") from error

    def _open(self) -> None:
        """Log in, through the gateway if there is one; a gateway that proves dead is opened anew, once."""
        if isinstance(self._connection.gateway, _Connection):
            self._open_gateway(self._connection.gateway)
        try:
            with self._logins:
                self._connection.open()
        except SSH_ERRORS as error:
            gateway = self._connection.gateway
            if isinstance(gateway, _Connection):
                with self._gate:
                    dead = not gateway.answers()
                if dead:
                    self._open_gateway(gateway)
                    with contextlib.suppress(*SSH_ERRORS), self._logins:
                        self._connection.open()
                        return
            raise self._unreachable(error) from error

    def _open_gateway(self, gateway: _Connection) -> None:
        try:
            with self._gate:
                gateway.open()
        except SSH_ERRORS as error:
            place = f"{gateway.user}@{gateway.host}:{gateway.port}"
            advice = "on that machine itself use --direct after the cluster's name"
            why = reason(error) + gateway.proxy_words
            raise UnreachableError(f"{self.id}: expected SSH at the gateway {place}, got: {why}; {advice}") from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        gateway = self._connection.gateway
        through = f" through {getattr(gateway, 'host', gateway)}" if gateway else ""
        why = reason(error) + self._connection.proxy_words
        return UnreachableError(f"{self.id}: expected SSH at {self.place}{through}, got: {why}")


class Cluster:
    """All hosts of a cluster, connected lazily and asked in parallel."""

    def __init__(self, config: ClusterConfig, settings: Any = None) -> None:
        """Prepare, without connecting. ``settings`` is fabric's own configuration (``fab -S``, ``-i``), if any.

        An embedded cluster is reached with nothing but what its configuration says: no ssh_config, no agent.
        """
        self.config = config
        self.ssh_config_file: str | None = None
        if config.embedded:
            settings = fabric.Config(ssh_config=paramiko.SSHConfig())
        else:
            settings = (settings or fabric.Config(lazy=True)).clone()
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
    changed = fabric.Config(lazy=True) if settings is None else settings.clone()
    changed.set_runtime_ssh_path(path)
    return changed


def _sftp_path(path: str) -> str:
    """Return a path as SFTP wants it: no shell expands ``~`` there, but relative paths start at home."""
    return path.removeprefix("~/")
