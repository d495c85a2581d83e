"""Whose loopback addresses are whose: two embedded clusters at once never share a host's address, nor its ports.

A claim is an abstract UNIX socket named after the address. It ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

from harness.errors import PreflightError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = "\0chronotick-embedded-host-"
_NETS = 100


def claim(hosts: Sequence[str]) -> tuple[dict[str, str], contextlib.ExitStack]:
    """Return an address for each host that no other embedded cluster has, and what holds them until it is closed.

    They are the hosts' own if nobody has these, else the same ones in another 127.x. Raises PreflightError if all 100
    are taken.
    """
    for net in range(_NETS):
        moved = {host: _moved(host, net) for host in hosts}
        held = contextlib.ExitStack()
        try:
            for address in dict.fromkeys(moved.values()):
                held.enter_context(contextlib.closing(_held(address)))
        except OSError:
            held.close()
            continue
        return moved, held
    raise PreflightError(f"embedded cluster: expected free loopback addresses like {hosts[0]}, got {_NETS} taken ones")


def _held(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(_NAME + address)
    except OSError:
        sock.close()
        raise
    return sock


def _moved(host: str, net: int) -> str:
    """Return a loopback address with its second byte ``net`` further on; any other host as it is."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return host
    if not address.is_loopback:
        return host
    first, second, *rest = address.packed
    return str(ipaddress.IPv4Address(bytes([first, (second + net) % 256, *rest])))
