"""One SSH connection along a route, every hop of it with a deadline."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import paramiko

from harness.errors import last_line
from harness.ssh import sockets
from harness.ssh.channels import ALIVE_TIMEOUT_S, CONNECT_TIMEOUT_S, SSH_ERRORS, calling_after, end
from harness.ssh.identities import Secrets, log_in
from harness.ssh.sockets import ProxySocket
from harness.ssh.trust.host_keys import HostKeys, Trust
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    import socket

    from harness.ssh.config.options import SshOptions
    from harness.ssh.route import Route

KEEPALIVE_S: Final = 10
LONGEST_BANNER: Final = 200  # of its last line, in letters
_NO_REASON: Final = "Unable to open channel."  # paramiko's


class Connection:
    """A connection that follows ssh_config as ssh does; closed until it is opened, and again after it broke."""

    transport: paramiko.Transport | None = None
    hop: Connection | None = None
    words = ""  # what was said, if anything, by who refused a login, to be added to why it failed

    def __init__(self, route: Route, hop: Connection | None, trust: Trust, secrets: Secrets) -> None:
        """Prepare. ``hop`` is the connection to the host before this one, if there is one."""
        options = route.options
        self.route, self.options = route, options
        self.place = f"{options.user}@{join_address(options.host, options.port)}"  # after ssh_config had its say
        self.hop = hop
        self._secrets = secrets
        self._host_keys = HostKeys(options, trust)
        self._timeout_s = options.connect_timeout_s or CONNECT_TIMEOUT_S
        self._opening = threading.RLock()  # a hop is many connections' own

    @property
    def is_connected(self) -> bool:
        """Return whether it is open, as far as this end knows."""
        return self.transport is not None and self.transport.is_active()

    def open(self) -> None:
        """Connect, and keep the connection from falling asleep. Raises what SSH raises (SSH_ERRORS), ConfigError."""
        with self._opening:
            if self.is_connected:
                return
            self.close()
            sock: Any = None
            transport: _Transport | None = None
            try:
                sock = self._socket()
                transport = _Transport(sock, self.options, self._host_keys)
                self._log_in(transport, self._address(sock))
            except BaseException:
                if transport is not None:
                    transport.close()
                    transport.join(ALIVE_TIMEOUT_S)  # paramiko leaves the thread of a failed login behind
                self.words = _said_by(transport, sock)
                if sock is not None:
                    sock.close()
                raise
            transport.set_keepalive(KEEPALIVE_S)
            self.transport = transport

    def close(self) -> None:
        """Close it, if it is open; the ones it goes through stay as they are."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def answers(self) -> bool:
        """Return whether the other end still answers; a connection that does not is closed."""
        if self.transport is None or not self.transport.is_active():
            return False
        try:
            with calling_after(ALIVE_TIMEOUT_S, partial(end, self.transport)):
                self.transport.open_session(timeout=ALIVE_TIMEOUT_S).close()
        except paramiko.ChannelException:  # no further session, but an answer
            return True
        except SSH_ERRORS:
            self.close()
            if self.hop is not None:
                self.hop.answers()
            return False
        return True

    def hang_up(self) -> None:
        """End a connection that keeps somebody waiting; its gateway too, if that is what keeps it."""
        if self.transport is not None:
            end(self.transport)
        if self.hop is not None:
            self.hop.answers()

    def _socket(self) -> Any:
        """Return what stands for a socket to this host."""
        if self.hop is not None:
            self.hop.open()
            transport = self.hop.transport
            if transport is None:
                raise EOFError
            target = (self.options.host, self.options.port)
            with calling_after(self._timeout_s + ALIVE_TIMEOUT_S, partial(end, transport)):
                return transport.open_channel("direct-tcpip", target, ("", 0), timeout=self._timeout_s)
        if self.options.proxy_command is not None:
            return ProxySocket(self.options.proxy_command)
        return sockets.connect(self.options, self._timeout_s)

    def _address(self, sock: socket.socket) -> str | None:
        """Return the address that was reached, where it was reached directly."""
        if self.hop is not None or self.options.proxy_command is not None:
            return None
        with contextlib.suppress(OSError):
            return str(sock.getpeername()[0])
        return None

    def _log_in(self, transport: paramiko.Transport, address: str | None) -> None:
        transport.banner_timeout = transport.auth_timeout = self._timeout_s
        transport.start_client(timeout=self._timeout_s)
        if not transport.initial_kex_done:
            raise TimeoutError
        self._host_keys.believe(transport.get_remote_server_key(), address)
        log_in(transport, self.options, self._secrets)


def _said_by(transport: _Transport | None, sock: Any) -> str:
    """Return the words of a server that refused a login (its last banner, as pam_slurm_adopt's), and of a proxy."""
    told = last_line(transport.last_banner().decode("utf-8", "replace"), "") if transport is not None else ""
    words = f"; it said: {told[:LONGEST_BANNER]}" if told else ""
    if isinstance(sock, ProxySocket) and (said := sock.said()):
        words += f"; its ProxyCommand said: {said}"
    return words


class _Transport(paramiko.Transport):
    """Paramiko's connection with the algorithms that ssh_config allows, and the host key that is known first."""

    _banner = b""
    _handler: Any = None
    _saved: Exception | None = None
    _refusal: paramiko.ChannelException | None = None

    def __init__(self, sock: Any, options: SshOptions, host_keys: HostKeys) -> None:
        """Prepare. Raises SSHException if paramiko has none of the algorithms of a list."""
        super().__init__(sock)
        allowed = dict(options.algorithms)
        self._ours = {kind: self._both(kind, allowed.get(kind, ())) for kind in ("ciphers", "macs", "kex", "pubkeys")}
        self._ours["keys"] = tuple(host_keys.preferred(super().preferred_keys))
        for kind, names in self._ours.items():
            if not names:
                raise paramiko.SSHException(f"of the {kind} that ssh_config allows, none is known here")

    @property
    def auth_handler(self) -> Any:
        """Return what speaks with the other end about one way to log in; paramiko makes a new one for every try."""
        return self._handler

    @auth_handler.setter
    def auth_handler(self, handler: Any) -> None:
        self._banner, self._handler = self.last_banner(), handler

    def last_banner(self) -> bytes:
        """Return the last text that the other end told whoever logs in, of all tries; also after the end."""
        return (self._handler is not None and self._handler.banner) or self._banner

    @property
    def saved_exception(self) -> Exception | None:
        """Return what paramiko keeps for whoever waits."""
        return self._saved

    @saved_exception.setter
    def saved_exception(self, error: Exception | None) -> None:
        self._saved = error
        if isinstance(error, paramiko.ChannelException):
            self._refusal = error

    def open_channel(self, *arguments: Any, **options: Any) -> paramiko.Channel:
        """Open a channel. Raises ChannelException if the other end refuses.

        Paramiko keeps one exception for all who wait: of two that are refused at once, only the first is told why.
        """
        try:
            return super().open_channel(*arguments, **options)
        except paramiko.ChannelException:
            raise
        except paramiko.SSHException as error:
            if str(error) != _NO_REASON or self._refusal is None or not self.is_active():
                raise
            raise self._refusal from None

    def _both(self, kind: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        known: tuple[str, ...] = tuple(getattr(self, f"_preferred_{kind}"))
        return tuple(name for name in known if name in allowed) if allowed else known

    def _filter_algorithm(self, kind: str) -> tuple[str, ...]:
        """Return a list of algorithms; paramiko calls this for each of its lists but that of host keys."""
        return self._ours.get(kind) or tuple(getattr(self, f"_preferred_{kind}"))

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Return the algorithms of host keys, in the order to ask for them."""
        return self._ours["keys"]
