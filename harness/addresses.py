"""Where the nodes reach each other: an address each, as the *others* understand it.

A node's own idea of its name is often a loopback address (Debian's 127.0.1.1), so it is never asked. The coordinator is
asked about the workers, a worker about the coordinator; the agent binds that very address and no other.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from harness import shell
from harness.again import again
from harness.errors import PreflightError
from harness.remote_python import ISOLATED, MARK, answer

if TYPE_CHECKING:
    from harness.cluster import Cluster
    from harness.config import NodeConfig

_RESOLVE: Final = f"import socket, sys; print('{MARK}' + socket.gethostbyname(sys.argv[1]))"


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
    command = f"{shell.path(cluster.config.remote_python)} {ISOLATED} -c {shell.word(_RESOLVE)} {shell.word(name)}"
    result = again(lambda host: host.run(command))(cluster.hosts[peer.id])
    address = answer(result.stdout)
    if result.exit_code != 0 or not _is_address(address):
        raise PreflightError(f"{node.id}: expected {peer.id} to know the address of {name}, it does not; {advice}")
    if ipaddress.IPv4Address(address).is_loopback:
        seen = f"it means {address} there"
        raise PreflightError(f"{node.id}: expected {name} to be reachable from {peer.id}, {seen}; {advice}")
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
