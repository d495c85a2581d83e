"""One node over SSH: commands and files.

Every action has a deadline and fails as an UnreachableError, RemoteCommandError or DeadlineError that names the node.
Remote paths may start with ``~/``; they hold no character a shell would look at (``configuration`` sees to that).
What a login prints by itself, a banner or an ``echo`` in some profile, is never taken for an answer: commands begin to
speak after a mark, and where such words spoil SFTP, files go by the shell.
"""

from __future__ import annotations

import contextlib
import secrets
import stat
import threading
from typing import TYPE_CHECKING, Final

import paramiko

from harness.errors import DeadlineError, HarnessError, LostError, RemoteCommandError, UnreachableError
from harness.ssh import shell, shell_files
from harness.ssh.channels import (
    ALIVE_TIMEOUT_S,
    COMMAND_TIMEOUT_S,
    SSH_ERRORS,
    TRANSFER_STALL_S,
    Ran,
    Result,
    Stall,
    calling_after,
    end_sftp,
    reason,
    refused_forwarding,
    refused_session,
    run_command,
    sftp_over,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.configuration.experiment import NodeConfig
    from harness.ssh.connection import Connection
    from harness.ssh.route import Route

FILE_TIMEOUT_S: Final = 60.0  # for a small file


class Host:
    """One node as seen through SSH. One thread at a time; a lost connection is opened anew by the next action."""

    def __init__(
        self, node: NodeConfig, connection: Connection, gate: threading.Lock, logins: threading.Semaphore
    ) -> None:
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
    def route(self) -> Route:
        """Return how the node is reached."""
        return self._connection.route

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
                shell_files.write(self._run, scratch, path, content, mode)
                return
            try:
                with sftp.open(_sftp_path(scratch), "wb") as file:
                    file.chmod(mode)
                    file.set_pipelined(pipelined=True)
                    file.write(content)
                kept = sftp.stat(_sftp_path(scratch)).st_size  # nobody hears what pipelined writes are told
            except (OSError, EOFError):
                if not sftp.sock.closed:
                    raise
                kept = None  # the node's SFTP ended over it, as a limit of a file's size ends a program
            if kept != len(content):
                self._give_up_writing(scratch, len(content))
            sftp.posix_rename(_sftp_path(scratch), _sftp_path(path))

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none."""
        with self._files(f"reading {path}") as sftp:
            if sftp is None:
                return shell_files.read(self._run, path)
            try:
                with sftp.open(_sftp_path(path), "rb") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
        with self._files(f"listing {folder}") as sftp:
            if sftp is None:
                return shell_files.listing(self._run, folder)
            try:
                entries = sftp.listdir_attr(_sftp_path(folder))
            except FileNotFoundError:
                return None
            return {entry.filename: entry.st_size or 0 for entry in entries if stat.S_ISREG(entry.st_mode or 0)}

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file of any size from the node to ``target``; it must keep moving (``TRANSFER_STALL_S``)."""
        with self._files(f"fetching {path}", limited=False) as sftp:
            if sftp is None:
                shell_files.fetch(self._run, path, target)
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
                    try:
                        return run_command(transport, command, stdin, timeout_s)
                    except paramiko.ChannelException:
                        if self._sftp is None:
                            raise
                        end_sftp(self._sftp)  # under MaxSessions 1 there is one thing at a time
                        self._sftp = None
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
                transport = self._connection.transport
                if transport is None:
                    raise EOFError("the connection was closed as soon as it was open")
                yield transport
            except HarnessError:
                raise
            except paramiko.ChannelException as error:
                raise UnreachableError(f"{self.id}: {doing} at {self.place}: {refused_session(error)}") from error
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

    def _give_up_writing(self, scratch: str, size: int) -> None:
        """Remove a file that is not whole and raise RemoteCommandError, with the node's limits."""
        folder = shell.path(scratch.rpartition("/")[0] or ".")
        command = f"wc -c < {shell.path(scratch)}; rm -f {shell.path(scratch)}; ulimit -f; df -Pk {folder} | tail -n 1"
        said = self._run(command).output.decode(errors="replace").split()
        limits = "disk full?"
        if said[5:]:
            limits = f"it took {said[0]}; its limit of a file's size (ulimit -f) is {said[1]}, {said[5]} kB are free"
        raise RemoteCommandError(f"expected it to take {size} bytes, but {limits}")

    def _open(self) -> None:
        """Log in, through the gateway if there is one; a gateway that proves dead is opened anew, once."""
        if self._connection.hop is not None:
            self._open_gateway(self._connection.hop)
        try:
            with self._logins:
                self._connection.open()
        except SSH_ERRORS as error:
            gateway = self._connection.hop
            if gateway is not None:
                with self._gate:
                    dead = not gateway.answers()
                if dead:
                    self._open_gateway(gateway)
                    with contextlib.suppress(*SSH_ERRORS), self._logins:
                        self._connection.open()
                        return
            raise self._unreachable(error) from error

    def _open_gateway(self, gateway: Connection) -> None:
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
        hop = self._connection.hop
        if isinstance(error, paramiko.ChannelException) and hop is not None:
            target = f"{self._connection.host}:{self._connection.port}"
            why = refused_forwarding(error, f"{hop.user}@{hop.host}:{hop.port}", target)
        else:
            why = reason(error) + self._connection.proxy_words
        return UnreachableError(f"{self.id}: expected SSH at {self.place}{through}, got: {why}")


def _sftp_path(path: str) -> str:
    """Return a path as SFTP wants it: no shell expands ``~`` there, but relative paths start at home."""
    return path.removeprefix("~/")
