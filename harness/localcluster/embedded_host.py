"""One embedded host: an SSH server on a loopback address of its own, with a home folder, for one user and one key.

Commands run as on any host: by a shell, in the home folder, with a clean environment, streams and exit status passed
through. What differs is deliberate: when a connection is lost its processes are ended, except the detached ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from asyncio.streams import FlowControlMixin
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from harness.localcluster.keys import known_host_line, make_key

if TYPE_CHECKING:
    from asyncssh.channel import SSHServerChannel

    from harness.localcluster.messages import HostOrder
    from harness.localcluster.processes import Child, Children

LOG = logging.getLogger(__name__)

CHUNK = 64 * 1024
HANGUP_PATIENCE_S = 2.0
LOGIN_TIMEOUT_S = 60
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class EmbeddedHost:
    """A host of the embedded cluster. ``start`` makes it reachable, ``close`` makes it vanish."""

    def __init__(
        self, order: HostOrder, folder: Path, user: str, client_key: asyncssh.SSHKey, children: Children
    ) -> None:
        self.order = order
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        self.user = user
        self.port = order.port
        self._client_key = client_key.convert_to_public()
        self._host_key = make_key()
        self._children = children
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> None:
        """Serve SSH. Raises OSError where the address cannot be bound."""
        self.home.mkdir(mode=0o700, parents=True)
        self.temporary.mkdir(mode=0o700)
        self._acceptor = await asyncssh.create_server(
            lambda: _OneUser(self.user, self._client_key),
            self.order.address,
            self.order.port,
            server_host_keys=[self._host_key],
            process_factory=self._session,
            sftp_factory=lambda channel: _HomeSftp(channel, self.home),
            encoding=None,
            line_editor=False,
            allow_scp=False,
            agent_forwarding=False,
            login_timeout=LOGIN_TIMEOUT_S,
        )
        self.port = self._acceptor.get_port()

    async def close(self) -> None:
        """Refuse and drop all connections."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

    def known_host_line(self) -> bytes:
        """Return the line by which a client verifies this host."""
        return known_host_line(self.order.address, self.port, self._host_key)

    def environment(self) -> dict[str, str]:
        """Return the environment of a login: nothing of ours but the interpreter's folder."""
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LOGNAME": self.user,
            "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
            "SHELL": "/bin/sh",
            "TMPDIR": str(self.temporary),
            "USER": self.user,
        }

    async def _session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run what the client asked for; end it if the client goes away first."""
        if process.subsystem is not None:
            process.stderr.write(f"no such subsystem: {process.subsystem}\n".encode())
            process.exit(1)
            return
        command = process.command
        child = self._children.spawn(
            ["/bin/sh"] if command is None else ["/bin/sh", "-c", command],
            cwd=self.home,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        relay = asyncio.ensure_future(_relay(process, child, self._children))
        gone = asyncio.ensure_future(process.wait_closed())
        try:
            await asyncio.wait({relay, gone}, return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                _report(process, relay.result())
            else:
                await self._hang_up(child)
        except Exception:
            LOG.exception("session failed node=%s command=%r", self.order.node_id, command)
            raise
        finally:
            for task in (relay, gone):
                task.cancel()
            await asyncio.gather(relay, gone, return_exceptions=True)

    async def _hang_up(self, child: Child) -> None:
        LOG.info("connection lost node=%s pid=%d", self.order.node_id, child.pid)
        self._children.end_session(child, signal.SIGHUP)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(child.status), HANGUP_PATIENCE_S)
        self._children.end_session(child, signal.SIGKILL)


class _OneUser(asyncssh.SSHServer):
    """Lets one user in, with one key."""

    def __init__(self, user: str, key: asyncssh.SSHKey) -> None:
        self._user = user
        self._key = key.public_data

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - the interface's signature; nobody gets in without a key
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._user and key.public_data == self._key


class _HomeSftp(asyncssh.SFTPServer):
    """SFTP on the whole file system, as on any host; relative paths start in the home folder."""

    def __init__(self, channel: SSHServerChannel[bytes], home: Path) -> None:
        super().__init__(channel)
        self._home = os.fsencode(home)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)  # noqa: PTH118 - the interface speaks bytes, which pathlib does not


def _report(process: asyncssh.SSHServerProcess[bytes], status: int) -> None:
    """Tell the client how its command ended, if it is still there."""
    if process.is_closing():
        return
    if status >= 0:
        process.exit(status)
    else:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))


async def _relay(process: asyncssh.SSHServerProcess[bytes], child: Child, children: Children) -> int:
    """Pass the streams through until the command has ended and its output is read to the end; return its status."""
    loop = asyncio.get_running_loop()
    # FlowControlMixin is what asyncio itself puts behind a StreamWriter on a pipe
    sink_transport, sink_protocol = await loop.connect_write_pipe(FlowControlMixin, child.popen.stdin)
    sink = asyncio.StreamWriter(sink_transport, sink_protocol, None, loop)
    out, err = asyncio.StreamReader(CHUNK), asyncio.StreamReader(CHUNK)
    out_transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(out), child.popen.stdout)
    err_transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(err), child.popen.stderr)
    listening = asyncio.ensure_future(_pump_in(process.stdin, sink, child, children))
    try:
        await asyncio.gather(_pump_out(out, process.stdout), _pump_out(err, process.stderr))
        return await asyncio.shield(child.status)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        if not sink_transport.is_closing():
            sink_transport.abort()
        out_transport.close()
        err_transport.close()


async def _pump_out(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Pass output on to its end, or until nobody takes it any more."""
    with contextlib.suppress(OSError, asyncssh.Error):  # the client is gone, which `_session` sees as well
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()


async def _pump_in(
    source: asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter, child: Child, children: Children
) -> None:
    """Pass input on, and its end; pass signals on as signals."""
    while True:
        try:
            data = await source.read(CHUNK)
        except asyncssh.SignalReceived as received:
            number = getattr(signal, f"SIG{received.signal}", None)
            if number is not None:
                children.end_session(child, number)
            continue
        except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
            continue
        except asyncssh.Error:  # the client is gone, which `_session` sees as well
            break
        if not data:
            break
        try:
            sink.write(data)
            await sink.drain()
        except OSError:  # the command does not listen any more, which is its right
            break
    sink.close()
