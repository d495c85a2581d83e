"""The hosts of a cluster over SSH: commands, files, and many hosts at once. The only importer of fabric.

Every action has a deadline and fails as an UnreachableError, RemoteCommandError or DeadlineError that names the node.
Remote paths may start with ``~/``; they hold no character a shell would look at (``harness.config`` sees to that).
"""

from __future__ import annotations

import contextlib
import secrets
import stat
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import fabric
import paramiko

from harness.errors import DeadlineError, HarnessError, RemoteCommandError, RunError, UnreachableError
from harness.host_keys import apply_policy, known_hosts_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.config import ClusterConfig, NodeConfig, SshConfig

CONNECT_TIMEOUT_S: Final = 10
COMMAND_TIMEOUT_S: Final = 20.0
TRANSFER_STALL_S: Final = 20.0
KEEPALIVE_S: Final = 10

T = TypeVar("T")
_SSH_ERRORS: Final = (paramiko.SSHException, OSError, EOFError)


class _Connection(fabric.Connection):  # type: ignore[misc]  # fabric publishes no types
    """A fabric connection whose hop through a gateway has a deadline too."""

    def open_gateway(self) -> Any:
        if not isinstance(self.gateway, fabric.Connection):
            return super().open_gateway()
        self.gateway.open()
        target = (self.host, int(self.port))
        return self.gateway.transport.open_channel("direct-tcpip", target, ("", 0), timeout=CONNECT_TIMEOUT_S)


@dataclass(frozen=True)
class Result:
    """What a remote command left behind."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Answers(Generic[T]):
    """What several nodes said to one question: partial failure is data."""

    ok: dict[str, T] = field(default_factory=dict)
    failed: dict[str, HarnessError] = field(default_factory=dict)

    def demand(self) -> None:
        """Raise RunError, one line per node, unless every node answered."""
        if self.failed:
            raise RunError("\n".join(str(error) for error in self.failed.values()))


class Host:
    """One node as seen through SSH. One thread at a time; a lost connection is opened anew by the next action."""

    def __init__(self, node: NodeConfig, connection: Any, gate: threading.Lock) -> None:
        """Bind a node to its (still closed) connection; ``gate`` lets one thread at a time open the gateway."""
        self.node = node
        self._connection = connection
        self._gate = gate
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
        deadline = time.monotonic() + timeout_s
        with self._session(f"running {command.split(maxsplit=1)[0]}") as transport:
            channel = transport.open_session(timeout=CONNECT_TIMEOUT_S)
            try:
                channel.settimeout(max(0.1, deadline - time.monotonic()))
                channel.exec_command(command)
                channel.sendall(stdin)
                channel.shutdown_write()
                stdout = _read_all(channel, channel.recv, deadline)
                stderr = _read_all(channel, channel.recv_stderr, deadline)
                if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                return Result(channel.recv_exit_status(), stdout, stderr)
            except TimeoutError:
                raise DeadlineError(f"{self.id}: expected an end within {timeout_s:g} s of: {command}") from None
            finally:
                channel.close()

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
        scratch = f"{_sftp_path(path)}.{secrets.token_hex(4)}"
        with self._files(f"writing {path}") as sftp:
            with sftp.open(scratch, "wb") as file:
                file.chmod(mode)
                file.set_pipelined(pipelined=True)
                file.write(content)
            sftp.posix_rename(scratch, _sftp_path(path))

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none."""
        with self._files(f"reading {path}") as sftp:
            try:
                with sftp.open(_sftp_path(path), "rb") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
        with self._files(f"listing {folder}") as sftp:
            try:
                entries = sftp.listdir_attr(_sftp_path(folder))
            except FileNotFoundError:
                return None
            return {entry.filename: entry.st_size or 0 for entry in entries if stat.S_ISREG(entry.st_mode or 0)}

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of any size from the node to ``target``; it must keep moving (``TRANSFER_STALL_S``)."""
        with self._files(f"fetching {path}") as sftp:
            sftp.get(_sftp_path(path), str(target))

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._one_at_a_time:
            if self._sftp is not None:
                self._sftp.close()
            self._connection.close()

    @contextlib.contextmanager
    def _session(self, doing: str) -> Iterator[paramiko.Transport]:
        """Hold the (opened) connection for one action; whatever SSH raises becomes one line naming the node."""
        with self._one_at_a_time:
            try:
                if not self._connection.is_connected:
                    self._open()
                yield self._connection.transport
            except HarnessError:
                raise
            except _SSH_ERRORS as error:
                raise UnreachableError(f"{self.id}: {doing} at {self.place}: {_reason(error)}") from error

    @contextlib.contextmanager
    def _files(self, doing: str) -> Iterator[paramiko.SFTPClient]:
        with self._session(doing) as transport:
            if self._sftp is None or self._sftp.get_channel() is None or self._sftp.get_channel().closed:  # type: ignore[union-attr]  # asked one word before
                self._sftp = paramiko.SFTPClient.from_transport(transport)
                if self._sftp is None:
                    raise UnreachableError(f"{self.id}: {doing} at {self.place}: no SFTP there")
                self._sftp.get_channel().settimeout(TRANSFER_STALL_S)  # type: ignore[union-attr]  # it was just opened
            try:
                yield self._sftp
            except TimeoutError:
                raise
            except OSError as error:
                if not transport.is_active():
                    raise
                raise RemoteCommandError(f"{self.id}: {doing}: {' '.join(str(error).split())}") from error

    def _open(self) -> None:
        gateway = self._connection.gateway
        if isinstance(gateway, fabric.Connection):
            try:
                with self._gate:
                    gateway.open()
            except _SSH_ERRORS as error:
                place = f"{gateway.user}@{gateway.host}:{gateway.port}"
                advice = "on that machine itself use --direct after the cluster's name"
                message = f"{self.id}: expected SSH at the gateway {place}, got: {_reason(error)}; {advice}"
                raise UnreachableError(message) from error
        try:
            self._connection.open()
            self._connection.transport.set_keepalive(KEEPALIVE_S)
        except _SSH_ERRORS as error:
            through = f" through {getattr(gateway, 'host', gateway)}" if gateway else ""
            message = f"{self.id}: expected SSH at {self.place}{through}, got: {_reason(error)}"
            raise UnreachableError(message) from error


class Cluster:
    """All hosts of a cluster, connected lazily and asked in parallel."""

    def __init__(self, config: ClusterConfig, settings: Any = None) -> None:
        """Prepare, without connecting. ``settings`` is fabric's own configuration (``fab -S``, ``-i``), if any.

        An embedded cluster is reached with nothing but what its configuration says: no ssh_config, no agent.
        """
        self.config = config
        if config.embedded:
            settings = fabric.Config(ssh_config=paramiko.SSHConfig())
        settings = settings or fabric.Config()
        gateway = self._connect(config.gateway, settings, None) if config.gateway else None
        gate = threading.Lock()
        self.hosts = {node.id: Host(node, self._connect(node, settings, gateway), gate) for node in config.nodes}
        self._gateway = gateway
        self._pending: set[Future[Any]] = set()
        self._pool = ThreadPoolExecutor(max_workers=min(16, len(self.hosts)), thread_name_prefix="host")

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
        waits: dict[str, Any] = {"banner_timeout": CONNECT_TIMEOUT_S, "auth_timeout": CONNECT_TIMEOUT_S}
        if ssh.identity_file is not None:
            waits["key_filename"] = str(Path(ssh.identity_file).expanduser())
        if self.config.embedded:
            waits |= {"allow_agent": False, "look_for_keys": False}
        connection = _Connection(
            ssh.host,
            user=ssh.user,
            port=ssh.port,
            config=settings,
            gateway=gateway,
            connect_timeout=CONNECT_TIMEOUT_S,
            connect_kwargs=waits,
        )
        hop = connection
        while isinstance(hop, fabric.Connection):  # ssh_config may have put more hosts in between
            files = known_hosts_files(self.config.known_hosts_file, hop.ssh_config.get("userknownhostsfile"))
            apply_policy(hop.client, self.config.host_key_policy, files)
            hop = hop.gateway
        return connection


def _read_all(channel: paramiko.Channel, receive: Callable[[int], bytes], deadline: float) -> str:
    """Read one stream to its end. Raises TimeoutError at the deadline (a ``time.monotonic()`` in s)."""
    chunks: list[bytes] = []
    while True:
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = receive(65536)
        if not chunk:
            return b"".join(chunks).decode("utf-8", "replace")
        chunks.append(chunk)


def _sftp_path(path: str) -> str:
    """Return a path as SFTP wants it: no shell expands ``~`` there, but relative paths start at home."""
    return path.removeprefix("~/")


def _reason(error: Exception) -> str:
    """Return why, in one line a person can act on."""
    if isinstance(error, paramiko.AuthenticationException):
        return f"login refused ({error}); check user and identity_file, or ssh-add your key"
    if isinstance(error, paramiko.BadHostKeyException):
        return "its host key is not the known one; if the host was reinstalled, remove the old key with ssh-keygen -R"
    if isinstance(error, paramiko.SSHException) and "known_hosts" in str(error):
        return "its host key is unknown; connect once with ssh to check it, or set host_key_policy: accept-new"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        reasons = {getattr(attempt, "strerror", None) or str(attempt) for attempt in error.errors.values()}
        return f"{', '.join(sorted(reasons))}; is the host up, and sshd on that port?"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT_S} s"
    return " ".join(str(error).split()) or type(error).__name__
