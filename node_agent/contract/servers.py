"""How a time server is written: ``host:port``, ``[host]:port`` or a base URL, and which of these can be asked."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

NTP_PORT: Final = 123
MAX_PORT: Final = 65_535
# Servers' names stand in cells of CSV files and in paths of log lines: no comma, quote, space or line end.
HOST_PORT_PATTERN: Final = re.compile(r"([A-Za-z0-9_.-]+)(:[0-9]{1,5})?")
URL_PATTERN: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9_.~/-]*)?")
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?")


class Ipv6Error(ValueError):
    """An IPv6 address where the sockets are IPv4's."""


def is_ipv6(host: str) -> bool:
    """Tell whether ``host`` is an IPv6 address, in brackets or not, with a zone or without."""
    try:
        ipaddress.IPv6Address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def no_ipv6(written: str) -> str:
    """Return the one line that says that an IPv6 address cannot be used, and what to write instead."""
    return f"IPv6 is not supported yet: expected an IPv4 address or a name that has one, got {written!r}"


def split_address(server: str, least_port: int = 1) -> tuple[str, int]:
    """Return host and port of "host:port" or "[host]:port" (the port may be left out: 123). Raises ValueError.

    An IPv6 address is understood and refused, with an Ipv6Error.
    """
    match = _BRACKETED.fullmatch(server)
    host, colon, port = (match[1], match[2] is not None, match[2] or "") if match else server.rpartition(":")
    if not colon:
        host, port = (match[1] if match else server), str(NTP_PORT)
    if is_ipv6(host) or is_ipv6(server):
        raise Ipv6Error(no_ipv6(server))
    is_port = port.isascii() and port.isdigit() and least_port <= int(port) <= MAX_PORT
    if not host or set(host) & set(":[]") or not is_port:
        raise ValueError(f"server: expected host:port, got {server!r}")
    return host, int(port)
