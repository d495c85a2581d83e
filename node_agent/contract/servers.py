"""How an address is written: ``host:port``, ``[IPv6 address]:port`` or a base URL.

``time_services.listening`` writes and reads addresses by the same rule, on its side of the wall.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

NTP_PORT: Final = 123
MAX_PORT: Final = 65_535
# Servers' names stand in cells of CSV files and in paths of log lines: no comma, quote, space or line end.
HOST_PORT_PATTERN: Final = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])(:[0-9]{1,5})?")
URL_PATTERN: Final = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9_.~/-]*)?"
)
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?")


def is_ipv6(host: str) -> bool:
    """Tell whether ``host`` is an IPv6 address, without brackets, with a zone (``fe80::1%eth0``) or without."""
    try:
        ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def join_address(host: str, port: int) -> str:
    """Write an address as ``split_address`` reads it: an IPv6 one in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(server: str, least_port: int = 1) -> tuple[str, int]:
    """Return host and port of "host:port" or "[host]:port" (the port may be left out: 123). Raises ValueError.

    The host of an IPv6 address is without brackets. Without them it cannot be told from its port, and is refused.
    """
    match = _BRACKETED.fullmatch(server)
    host, colon, port = (match[1], match[2] is not None, match[2] or "") if match else server.rpartition(":")
    if not colon:
        host, port = (match[1] if match else server), str(NTP_PORT)
    if not match and (is_ipv6(server) or is_ipv6(host)):
        raise ValueError(f"server: expected an IPv6 address in brackets, as in [::1]:{NTP_PORT}, got {server!r}")
    is_port = port.isascii() and port.isdigit() and least_port <= int(port) <= MAX_PORT
    if not host or set(host) & set("[]") or (":" in host and not is_ipv6(host)) or not is_port:
        raise ValueError(f"server: expected host:port, got {server!r}")
    check_zone(host)
    return host, int(port)


def bare_host(written: str) -> str:
    """Return a host that stands without a port: an IPv6 address may be in brackets, and is without them after."""
    inside = written[1:-1]
    return inside if written == f"[{inside}]" and is_ipv6(inside) else written


def check_zone(host: str) -> None:
    """Raise ValueError for a link-local IPv6 address (RFC 4007) that does not name its interface."""
    if is_ipv6(host) and "%" not in host and ipaddress.IPv6Address(host).is_link_local:
        raise ValueError(f"expected a link-local address with its interface, as in {host}%eth0, got {host!r}")
