"""Logging in to one node, through its gateway if there is one: few at a time, and every refusal in one line."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

import paramiko

from harness.errors import UnreachableError
from harness.ssh.channels import SSH_ERRORS, reason, refused_forwarding
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    from harness.ssh.connection import Connection

# Logins at once: OpenSSH's MaxStartups begins to refuse at 10 that are not through yet, and others log in as well.
LOGINS_AT_ONCE: Final = 8


class Logins:
    """How the nodes of one cluster log in: one thread at a time at a gateway, few at a time at all."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._places = threading.BoundedSemaphore(LOGINS_AT_ONCE)

    def open(self, node_id: str, connection: Connection) -> None:
        """Log in; a gateway that proves dead is opened anew, once. Raises UnreachableError."""
        gateway = connection.hop
        if gateway is not None:
            self._open_gateway(node_id, gateway)
        try:
            with self._places:
                connection.open()
        except SSH_ERRORS as error:
            if gateway is not None:
                with self._gate:
                    dead = not gateway.answers()
                if dead:
                    self._open_gateway(node_id, gateway)
                    with contextlib.suppress(*SSH_ERRORS), self._places:
                        connection.open()
                        return
            raise _unreachable(node_id, connection, error) from error

    def _open_gateway(self, node_id: str, gateway: Connection) -> None:
        try:
            with self._gate:
                gateway.open()
        except SSH_ERRORS as error:
            advice = "on that machine itself use --direct after the cluster's name"
            why = reason(error) + gateway.proxy_words
            told = f"{node_id}: expected SSH at the gateway {gateway.place}, got: {why}; {advice}"
            raise UnreachableError(told) from error


def _unreachable(node_id: str, connection: Connection, error: Exception) -> UnreachableError:
    options, hop = connection.options, connection.hop
    way = options.proxy_command if hop is None else hop.options.host
    through = f" through {way}" if way else ""
    if isinstance(error, paramiko.ChannelException) and hop is not None:
        why = refused_forwarding(error, hop.place, join_address(options.host, options.port))
    else:
        why = reason(error) + connection.proxy_words
    return UnreachableError(f"{node_id}: expected SSH at {connection.place}{through}, got: {why}")
