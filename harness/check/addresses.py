"""Where the nodes reach each other: an address each, as the *others* understand it.

A node's own idea of its name is often a loopback address (Debian's 127.0.1.1), so it is never asked. The coordinator is
asked about the workers, a worker about the coordinator; the agent binds that very address and no other. Where a name
has several, one may be dead or another machine's: the first that the node has counts. All nodes speak one family: IPv4
if each of them has such an address, else IPv6.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from harness import shell
from harness.errors import PreflightError
from harness.shell import ISOLATED, MARK, answer

if TYPE_CHECKING:
    from harness.cluster import Cluster
    from harness.configuration.cluster import NodeConfig
    from harness.remote import Result

# Prints all addresses of a name, in the name service's order, IPv4 first.
_RESOLVE: Final = f"""
import socket, sys
def ask(family):
    try:
        return [found[4][0] for found in socket.getaddrinfo(sys.argv[1], 0, family, socket.SOCK_DGRAM)]
    except socket.gaierror:
        return []
print('{MARK}', *ask(socket.AF_INET), *ask(socket.AF_INET6))
"""
# Prints those of the addresses that are this machine's.
_OWN: Final = f"""
import socket, sys
def own(address):
    try:
        with socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
print('{MARK}', *(address for address in sys.argv[1:] if own(address)))
"""
_FAMILIES: Final = {4: "IPv4", 6: "IPv6"}


def resolve(cluster: Cluster) -> dict[str, str]:
    """Return each node's address, all of one family. Raises PreflightError or UnreachableError if nobody can tell."""
    config = cluster.config
    known = {
        node.id: _addresses(cluster, node, config.workers[0] if node is config.coordinator else config.coordinator)
        for node in config.nodes
    }
    for family in _FAMILIES:
        of_family = {node_id: [a for a in addresses if _family(a) == family] for node_id, addresses in known.items()}
        if all(of_family.values()):
            return {node.id: _own(cluster, node, of_family[node.id]) for node in config.nodes}
    got = ", ".join(f"{node_id} {addresses[0]}" for node_id, addresses in known.items())
    raise PreflightError(
        f"addresses: expected all nodes to have one of IPv4, or all one of IPv6, got {got}; "
        "set `address:` of the nodes in the cluster file"
    )


def _addresses(cluster: Cluster, node: NodeConfig, peer: NodeConfig) -> list[str]:
    """Return the addresses that a node may be reached at, of both families."""
    name = node.address or node.host
    if _family(name) is not None:
        return [name]
    advice = f"set `address:` of {node.id} in the cluster file"
    result = _ask(cluster, peer, _RESOLVE, name)
    addresses = answer(result.stdout).split()
    if result.exit_code != 0 or not addresses or not all(map(_family, addresses)):
        raise PreflightError(f"{node.id}: expected {peer.id} to know the address of {name}, it does not; {advice}")
    reachable = [address for address in addresses if not _stays_there(address)]
    if not reachable:
        seen = f"it means {', '.join(addresses)} there"
        raise PreflightError(f"{node.id}: expected {name} to be reachable from {peer.id}, {seen}; {advice}")
    return reachable


def _own(cluster: Cluster, node: NodeConfig, addresses: list[str]) -> str:
    """Return the first of a node's addresses that it has, else the first."""
    if len(addresses) == 1:
        return addresses[0]
    own = answer(_ask(cluster, node, _OWN, *addresses).stdout).split()
    return next((address for address in addresses if address in own), addresses[0])


def _ask(cluster: Cluster, node: NodeConfig, program: str, *words: str) -> Result:
    python = f"{shell.path(cluster.config.remote_python)} {ISOLATED} -c {shell.word(program)}"
    return cluster.remotes[node.id].run(" ".join((python, *map(shell.word, words))))


def _family(text: str) -> int | None:
    """Return 4 or 6, None for what is no address."""
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


def _stays_there(address: str) -> bool:
    """Tell whether an address that a name means somewhere means another host elsewhere: the zone was that node's."""
    known = ipaddress.ip_address(address)
    return known.is_loopback or (known.version == 6 and known.is_link_local)
