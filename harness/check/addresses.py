"""Where the nodes reach each other: an address each, as the *others* understand it.

A node's own idea of its name is often a loopback address (Debian's 127.0.1.1), so it is never asked. The coordinator is
asked about the workers, a worker about the coordinator; the agent binds that very address and no other. Where a name
has several, one may be dead or another machine's: the first that the node has counts.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from harness import shell
from harness.errors import PreflightError
from harness.shell import ISOLATED, MARK, answer
from node_agent.contract.servers import is_ipv6, no_ipv6

if TYPE_CHECKING:
    from harness.cluster import Cluster
    from harness.configuration.experiment import NodeConfig
    from harness.remote import Result

# Prints all IPv4 addresses of a name, in the name service's order; "ipv6" where it has IPv6 addresses alone.
_RESOLVE: Final = f"""
import socket, sys
def ask(family):
    try:
        return [found[4][0] for found in socket.getaddrinfo(sys.argv[1], 0, family, socket.SOCK_DGRAM)]
    except socket.gaierror:
        return []
print('{MARK}', *(ask(socket.AF_INET) or (["ipv6"] if ask(socket.AF_INET6) else [])))
"""
_IPV6_ONLY: Final = "ipv6"
# Prints those of the addresses that are this machine's.
_OWN: Final = f"""
import socket, sys
def own(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True
print('{MARK}', *(address for address in sys.argv[1:] if own(address)))
"""


def resolve(cluster: Cluster) -> dict[str, str]:
    """Return each node's IPv4 address. Raises PreflightError or UnreachableError where nobody can tell."""
    config = cluster.config
    return {
        node.id: _address(cluster, node, config.workers[0] if node is config.coordinator else config.coordinator)
        for node in config.nodes
    }


def _address(cluster: Cluster, node: NodeConfig, peer: NodeConfig) -> str:
    name = node.address or node.host
    if _is_address(name):
        return name
    advice = f"set `address:` of {node.id} in the cluster file"
    if is_ipv6(name):
        raise PreflightError(f"{node.id}: {no_ipv6(name)}; {advice}")
    result = _ask(cluster, peer, _RESOLVE, name)
    addresses = answer(result.stdout).split()
    if result.exit_code == 0 and addresses == [_IPV6_ONLY]:
        raise PreflightError(f"{node.id}: {peer.id} knows IPv6 addresses of {name} alone: {no_ipv6(name)}; {advice}")
    if result.exit_code != 0 or not addresses or not all(map(_is_address, addresses)):
        raise PreflightError(f"{node.id}: expected {peer.id} to know the address of {name}, it does not; {advice}")
    reachable = [address for address in addresses if not ipaddress.IPv4Address(address).is_loopback]
    if not reachable:
        seen = f"it means {', '.join(addresses)} there"
        raise PreflightError(f"{node.id}: expected {name} to be reachable from {peer.id}, {seen}; {advice}")
    if len(reachable) == 1:
        return reachable[0]
    own = answer(_ask(cluster, node, _OWN, *reachable).stdout).split()
    return next((address for address in reachable if address in own), reachable[0])


def _ask(cluster: Cluster, node: NodeConfig, program: str, *words: str) -> Result:
    python = f"{shell.path(cluster.config.remote_python)} {ISOLATED} -c {shell.word(program)}"
    return cluster.remotes[node.id].run(" ".join((python, *map(shell.word, words))))


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
