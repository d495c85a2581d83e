"""Where the other nodes are: names become socket addresses once, before anything is sent."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from node_agent.contract.servers import is_ipv6, no_ipv6
from node_agent.datagrams import mmsg
from node_agent.lifecycle import EXIT_USAGE, AgentError
from node_agent.local.resolver import RESOLVER, UNRESOLVED, LookUpError, udp_addresses

if TYPE_CHECKING:
    from typing import Union

    from node_agent.contract.plan import ProbePeer, WorkerAddress

    Place = Union[WorkerAddress, ProbePeer]


LOOK_UP_S: Final = 5.0  # a name service that has not answered by then is silent


def look_up(place: Place) -> bytes:
    """Return a node's ``mmsg.socket_address``. Raises AgentError where nobody knows its name."""
    try:
        return mmsg.socket_address(numeric(place.host), place.port)
    except OSError as error:
        raise AgentError(f"node {place.node_id}: cannot look up {place.host!r}: {error.strerror}") from error


def numeric(host: str) -> str:
    """Return the IPv4 address of a host, within ``LOOK_UP_S``. Raises OSError (no such name) or AgentError (IPv6)."""
    if is_ipv6(host):
        raise AgentError(no_ipv6(host), EXIT_USAGE)
    try:
        found: str = RESOLVER.within(LOOK_UP_S, ("host", host), lambda: socket.gethostbyname(host))
    except ValueError as error:  # a label that no DNS name can have
        raise LookUpError(UNRESOLVED, f"no host can have this name: {error}") from error
    return found


def bind(sock: socket.socket, host: str, port: int) -> None:
    """Bind a UDP socket to the first of a host's addresses that is this node's. Raises OSError."""
    problem: OSError | None = None
    for address in udp_addresses(host, port, LOOK_UP_S):
        try:
            sock.bind(address)
        except OSError as error:  # noqa: PERF203 - each address is a try of its own
            problem = problem or error
        else:
            return
    raise problem or OSError(None, "it has no address")
