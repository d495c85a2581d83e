"""Where the other nodes are, and where this one listens: names become socket addresses before anything is sent."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final, Union

from node_agent.datagrams import mmsg
from node_agent.lifecycle import EXIT_USAGE, AgentError
from node_agent.local.resolver import Address, udp_addresses

if TYPE_CHECKING:
    from collections.abc import Callable

    from node_agent.contract.plan import ProbePeer, WorkerAddress

    Place = Union[WorkerAddress, ProbePeer]

LOOK_UP_S: Final = 5.0  # a name service that has not answered by then is silent
_FAMILIES: Final = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
MAPPED: Final = "::ffff:"  # before an IPv4 address, where an IPv6 socket speaks to it (RFC 4291 section 2.5.5.2)


def look_up(place: Place, sock: socket.socket) -> bytes:
    """Return a node's ``mmsg.socket_address``, for ``sock`` to send to: the first of its addresses with a way there.

    Raises AgentError where nobody knows its name, or no address is of the socket's family.
    """
    try:
        found = udp_addresses(place.host, place.port, LOOK_UP_S)
    except OSError as error:
        raise AgentError(f"node {place.node_id}: cannot look up {place.host!r}: {error.strerror}") from error
    usable = [address for address in found if mmsg.family_of(address[0]) == sock.family]
    if sock.family == socket.AF_INET6 and sock.getsockname()[0] == "::":  # it takes both
        usable += [(f"{MAPPED}{host}", port) for host, port in found if mmsg.family_of(host) == socket.AF_INET]
    if not usable:
        own, got = sock.getsockname()[0], ", ".join(host for host, _port in found)
        raise AgentError(
            f"node {place.node_id}: expected an {_FAMILIES[sock.family]} address, as this node's own {own}, got {got}; "
            "give all nodes addresses of one family (by hand: --listen-host :: takes both)", EXIT_USAGE,
        )  # fmt: skip
    chosen = usable[0] if len(usable) == 1 else next(filter(_has_way, usable), usable[0])
    return mmsg.socket_address(*chosen)


def _has_way(address: Address) -> bool:
    """Tell whether this machine knows a way to an address; nothing is sent."""
    try:
        with socket.socket(mmsg.family_of(address[0]), socket.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError:
        return False
    return True


def bound(host: str, port: int, prepare: Callable[[socket.socket], None] = lambda _sock: None) -> socket.socket:
    """Return a UDP socket that ``prepare`` has had, bound to the first of a host's addresses that is this node's.

    Bound to ``::`` it takes IPv4 as well. Raises OSError.
    """
    problem: OSError | None = None
    for address in udp_addresses(host, port, LOOK_UP_S):
        try:
            sock = socket.socket(mmsg.family_of(address[0]), socket.SOCK_DGRAM)
        except OSError as error:  # a machine without IPv6
            problem = problem or error
            continue
        try:
            prepare(sock)
            if address[0] == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
        except OSError as error:
            sock.close()
            problem = problem or error
        else:
            return sock
    raise problem or OSError(None, "it has no address")


def bind_problem(error: OSError, host: str, port: int) -> str:
    """Return one line that says why a UDP address cannot be bound, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} on {host} is in use; end the program that holds it or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this node; set the node's address in the cluster file"
    if error.errno == errno.EAFNOSUPPORT:
        return f"{host} is an IPv6 address and this node has no IPv6; set an IPv4 address in the cluster file"
    return f"UDP port {port} on {host} cannot be bound: {error.strerror or error}"
