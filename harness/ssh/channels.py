"""One action over an open SSH connection, with deadlines where paramiko has none: a command, an SFTP session."""

from __future__ import annotations

import contextlib
import logging
import shlex
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import paramiko

from harness.errors import RemoteCommandError, last_line
from harness.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.remote import Result

CONNECT_TIMEOUT_S: Final = 10
ALIVE_TIMEOUT_S: Final = 5.0
TRANSFER_STALL_S: Final = 20.0
SSH_ERRORS: Final = (paramiko.SSHException, paramiko.SFTPError, OSError, EOFError)

# Its threads tell of what ends a connection with a traceback, and Python prints that where nobody listens. What it was
# is raised as well, and told in one line; `fab -d` shows all of it.
for _name in ("paramiko", "fabric", "invoke"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_PROHIBITED: Final = 1  # RFC 4254, 5.1: administratively prohibited
_NO_STATUS: Final = -1  # paramiko's word for none: the command was killed, or the connection broke


def run_command(
    transport: paramiko.Transport, command: str, stdin: bytes, timeout_s: float, setup: Sequence[str] = ()
) -> Result:
    """Run a command with /bin/sh, whatever the login shell is, in the shell that the ``setup`` lines left.

    Raises TimeoutError after ``timeout_s``, RemoteCommandError if the login shell or a line of ``setup`` ends it first.
    """
    script = Script(command, setup)
    deadline = time.monotonic() + timeout_s
    channel = _session(transport, min(timeout_s, CONNECT_TIMEOUT_S))
    try:
        with _ended_after(channel, timeout_s):
            channel.exec_command(f"exec {shlex.join(script.argv)}")
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            channel.sendall(stdin)
            channel.shutdown_write()
        except TimeoutError:
            raise
        except OSError:  # it has ended without reading all that; how it ended says more, or that the line broke
            pass
        stdout = _read_all(channel, channel.recv, deadline)
        stderr = _read_all(channel, channel.recv_stderr, deadline)
        if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        exit_code = channel.recv_exit_status()
        if exit_code == _NO_STATUS:
            transport.join(1.0)  # its thread ends its channels before it says that it is over
            if not transport.is_active():
                raise EOFError("the connection broke before the command ended")
    finally:
        channel.close()
    result = script.result(exit_code, stdout, stderr)
    if result is None:
        words = (stdout + stderr).decode("utf-8", "replace")
        advice = "" if words.strip() else "; does a .bashrc or .profile there end it?"
        ended = f"its login shell ended (exit {exit_code}) before it ran {command}"
        raise RemoteCommandError(f"{ended}: {last_line(words)}{advice}")
    return result


def _session(transport: paramiko.Transport, timeout_s: float) -> paramiko.Channel:
    """Open a session. Raises ChannelException where sshd lets none more be (MaxSessions).

    It counts one that we closed until it has looked at it again, which it has once it answers something else.
    """
    try:
        return transport.open_session(timeout=timeout_s)
    except paramiko.ChannelException:
        with calling_after(timeout_s, partial(end, transport)):
            transport.global_request("keepalive@openssh.com", wait=True)
        return transport.open_session(timeout=timeout_s)


@contextlib.contextmanager
def calling_after(timeout_s: float, give_up: Callable[[], None]) -> Iterator[None]:
    """Call ``give_up`` in a thread of its own unless the block ends in time.

    Paramiko waits without end for a peer that takes no more bytes; only the end of the connection wakes it.
    """
    timer = threading.Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end(transport: paramiko.Transport) -> None:
    """Close a connection. One through a gateway says so to the gateway, which may be what is dead."""
    with contextlib.suppress(*SSH_ERRORS):
        transport.close()


class Stall:
    """Calls ``give_up`` once a transfer has not ``moved`` for ``timeout_s``; a context manager around it."""

    def __init__(self, timeout_s: float, give_up: Callable[[], None]) -> None:
        self._timeout_s, self._give_up = timeout_s, give_up
        self._moved_s = time.monotonic()
        self._over = threading.Event()

    def moved(self, *_: object) -> None:
        """Note progress."""
        self._moved_s = time.monotonic()

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while (left_s := self._moved_s + self._timeout_s - time.monotonic()) > 0:
            if self._over.wait(left_s):
                return
        self._give_up()


@contextlib.contextmanager
def _ended_after(channel: paramiko.Channel, timeout_s: float) -> Iterator[None]:
    """Limit what paramiko would wait for without end: close the channel after ``timeout_s``. Raises TimeoutError."""
    fired = threading.Event()

    def fire() -> None:
        fired.set()
        channel.close()

    try:
        with calling_after(timeout_s, fire):
            yield
    except paramiko.SSHException:
        if fired.is_set():
            raise TimeoutError from None
        raise


def end_sftp(sftp: paramiko.SFTPClient) -> None:
    """Close an SFTP session and wait for the node to say that it is over: only then may it let us open another."""
    channel = sftp.get_channel()
    with contextlib.suppress(*SSH_ERRORS):
        if channel is not None:
            channel.shutdown_write()
            channel.status_event.wait(ALIVE_TIMEOUT_S)
        sftp.close()


def sftp_over(transport: paramiko.Transport) -> paramiko.SFTPClient | None:
    """Return an SFTP session, or None where the node offers none or its login spoils it by printing something."""
    channel = _session(transport, CONNECT_TIMEOUT_S)
    try:
        with _ended_after(channel, CONNECT_TIMEOUT_S):
            channel.invoke_subsystem("sftp")
        channel.settimeout(TRANSFER_STALL_S)
        return paramiko.SFTPClient(channel)
    except (paramiko.SSHException, paramiko.SFTPError, EOFError):  # what came is no SFTP, or none is offered
        channel.close()
        if not transport.is_active():
            raise
        return None


def _read_all(channel: paramiko.Channel, receive: Callable[[int], bytes], deadline: float) -> bytes:
    """Read one stream to its end. Raises TimeoutError at the deadline (a ``time.monotonic()`` in s)."""
    chunks: list[bytes] = []
    while True:
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = receive(65536)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def refused_session(error: paramiko.ChannelException) -> str:
    """Return why a node that let us in opens no session, and what to do."""
    wanted = "a run needs one session at a time there, and is quicker with 2"
    return f"sshd opens no session ({error.text}): {wanted}; raise MaxSessions in its sshd_config (default: 10)"


def refused_forwarding(error: paramiko.ChannelException, gateway: str, target: str) -> str:
    """Return why a gateway does not connect us to a node, and what to do."""
    if error.code == _PROHIBITED:
        wanted = f"AllowTcpForwarding yes (or local) and a PermitOpen that lets {target} be reached"
        advice = "on that machine itself use --direct after the cluster's name"
        return f"{gateway} does not forward ({error.text}); its sshd_config needs {wanted}; {advice}"
    advice = "does it know that name, is the host up, and sshd on that port?"
    return f"{gateway} could not connect to {target} ({error.text}); {advice}"


def reason(error: Exception) -> str:
    """Return why, in one line a person can act on."""
    if isinstance(error, paramiko.AuthenticationException):
        return f"login refused ({error}); check user and identity_file, or ssh-add your key"
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        what = str(error).removeprefix("Incompatible ssh peer ").strip("()")
        advice = "`ssh -vv` to it shows what it offers, `ssh -G` what is asked for"
        return f"{what}: it and we have none in common; {advice}; let either allow one more"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        reasons = {getattr(attempt, "strerror", None) or str(attempt) for attempt in error.errors.values()}
        return f"{', '.join(sorted(reasons))}; is the host up, and sshd on that port?"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
