"""One node over SSH: commands, files and its agent.

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

from harness import shell, shell_files
from harness.agent import Detaching
from harness.errors import DeadlineError, HarnessError, LostError, RemoteCommandError, UnreachableError
from harness.remote import COMMAND_TIMEOUT_S, Result
from harness.ssh import channels, rsync
from harness.ssh.channels import TRANSFER_STALL_S

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from harness.ssh.cluster import Logins
    from harness.ssh.connection import Connection

FILE_TIMEOUT_S: Final = 60.0  # for a small file


class SshRemote(Detaching):
    """One node as seen through SSH. One thread at a time; a lost connection is opened anew by the next action."""

    def __init__(
        self,
        node_id: str,
        connection: Connection,
        ssh_argv: Sequence[str],
        logins: Logins,
        setup: Sequence[str] = (),
    ) -> None:
        """Bind a node to its (still closed) connection; ``ssh_argv`` is the ssh command that goes the same way.

        ``setup``: lines that every command begins with.
        """
        self.id, self.place = node_id, connection.place
        self.route = connection.route
        self.ssh_argv = ssh_argv
        self._connection = connection
        self._logins = logins
        self._setup = setup
        self._doubtful = False
        self._no_sftp = False
        self._one_at_a_time = threading.RLock()
        self._sftp: paramiko.SFTPClient | None = None

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run a command with /bin/sh, whatever the login shell is; take for its output what comes after a mark."""
        with self._session(f"running {command.split(maxsplit=1)[0]}") as transport:
            try:
                with channels.calling_after(timeout_s + channels.ALIVE_TIMEOUT_S, self._connection.hang_up):
                    try:
                        return channels.run_command(transport, command, stdin, timeout_s, self._setup)
                    except paramiko.ChannelException:
                        if self._sftp is None:
                            raise
                        channels.end_sftp(self._sftp)  # under MaxSessions 1 there is one thing at a time
                        self._sftp = None
                        return channels.run_command(transport, command, stdin, timeout_s, self._setup)
            except TimeoutError:
                self._doubtful = True
                if not self._connection.answers():  # not the command hangs, the line is dead
                    self._close()
                    raise LostError(f"{self.id}: {self.place} does not answer any more") from None
                raise DeadlineError(f"{self.id}: expected an end within {timeout_s:g} s of: {command}") from None
            except RemoteCommandError as error:
                raise RemoteCommandError(f"{self.id}: {error}") from None

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Put a file in place at once, never readable to others than ``mode`` says."""
        scratch = f"{path}.{secrets.token_hex(4)}"
        with self._files(f"writing {path}") as sftp:
            if sftp is None:
                shell_files.write(self, scratch, path, content, mode)
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
                return shell_files.read(self, path)
            try:
                with sftp.open(_sftp_path(path), "rb") as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
        with self._files(f"listing {folder}") as sftp:
            if sftp is None:
                return shell_files.listing(self, folder)
            try:
                entries = sftp.listdir_attr(_sftp_path(folder))
            except FileNotFoundError:
                return None
            return {entry.filename: entry.st_size or 0 for entry in entries if stat.S_ISREG(entry.st_mode or 0)}

    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        """Copy by rsync if both ends have it and it works, else by SFTP, saying why."""
        remark = rsync.missing_here()
        if remark is None and self.run("command -v rsync").exit_code != 0:
            remark = f"no rsync on {self.id}"
        if remark is None:
            host = self.route.question.host
            source = f"{f'[{host}]' if ':' in host else host}:{_sftp_path(folder)}/"
            remark = rsync.copy(source, target, self.ssh_argv, without)
        if remark is None:
            return rsync.RSYNC
        names = self.list(folder)
        if names is None:
            raise RemoteCommandError(f"{self.id}: expected the folder {folder}, got none there")
        for name in names:
            if not name.startswith(".") and name not in without:
                self._fetch_file(f"{folder}/{name}", target / name)
        return f"sftp ({remark})"

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._one_at_a_time:
            self._close()

    def _close(self) -> None:
        if self._sftp is not None:
            self._sftp.close()
            self._sftp = None
        self._connection.close()

    def _fetch_file(self, path: str, target: Path) -> None:
        """Copy a file of any size from the node to ``target``; it must keep moving (``TRANSFER_STALL_S``)."""
        with self._files(f"fetching {path}", limited=False) as sftp:
            if sftp is None:
                shell_files.fetch(self, path, target)
                return
            stalled = channels.Stall(TRANSFER_STALL_S, self._connection.hang_up)
            with stalled:
                sftp.get(_sftp_path(path), str(target), callback=stalled.moved, max_concurrent_prefetch_requests=64)

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
                    self._logins.open(self.id, self._connection)
                transport = self._connection.transport
                if transport is None:
                    raise EOFError("the connection was closed as soon as it was open")
                yield transport
            except HarnessError:
                raise
            except paramiko.ChannelException as error:
                why = channels.refused_session(error)
                raise UnreachableError(f"{self.id}: {doing} at {self.place}: {why}") from error
            except channels.SSH_ERRORS as error:
                self._doubtful = True
                raise LostError(f"{self.id}: {doing} at {self.place}: {channels.reason(error)}") from error

    @contextlib.contextmanager
    def _files(self, doing: str, *, limited: bool = True) -> Iterator[paramiko.SFTPClient | None]:
        """Hold the node's SFTP for one action; None where there is none, then the shell has to do."""
        with self._session(doing) as transport:
            if not self._no_sftp and (self._sftp is None or self._sftp.sock.closed):
                self._sftp = channels.sftp_over(transport)
                self._no_sftp = self._sftp is None
            try:
                hang_up = channels.calling_after(FILE_TIMEOUT_S, self._connection.hang_up)
                with hang_up if limited else contextlib.nullcontext():
                    yield self._sftp
            except TimeoutError:
                raise
            except RemoteCommandError as error:
                raise RemoteCommandError(f"{self.id}: {doing}: {error}") from None
            except OSError as error:
                if not transport.is_active():
                    raise
                raise RemoteCommandError(f"{self.id}: {doing}: {' '.join(str(error).split())}") from error

    def _give_up_writing(self, scratch: str, expected: int) -> None:
        """Remove a file that is not whole and raise RemoteCommandError, with the node's limits."""
        folder = shell.path(scratch.rpartition("/")[0] or ".")
        command = f"wc -c < {shell.path(scratch)}; rm -f {shell.path(scratch)}; ulimit -f; df -Pk {folder} | tail -n 1"
        numbers = self.run(command).stdout.split()
        limits = "disk full?"
        if numbers[5:]:
            size, limit, free = numbers[0], numbers[1], numbers[5]
            limits = f"it took {size}; its limit of a file's size (ulimit -f) is {limit}, {free} kB are free"
        raise RemoteCommandError(f"expected it to take {expected} bytes, but {limits}")


def _sftp_path(path: str) -> str:
    """Return a path as SFTP wants it: no shell expands ``~`` there, but relative paths start at home."""
    return path.removeprefix("~/")
