"""What the NTP proxy is told to pass on: pairs of addresses, on the command line or in a YAML file."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from time_services.listening import cause, format_address, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Address = tuple[str, int]
    Map = tuple[Address, Address]  # where to listen, and whom to ask

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - named, not bound


def read(text: str) -> list[Map]:
    """Read ``LISTEN=UPSTREAM``, or the name of a YAML file. Raises argparse.ArgumentTypeError."""
    if "=" not in text:
        return _of_file(text)
    listen, _, upstream = text.partition("=")
    return [(parse_address(listen), parse_address(upstream))]


def _of_file(file: str) -> list[Map]:
    try:
        root = yaml.compose(Path(file).read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = f"expected LISTEN=UPSTREAM or a YAML file, got {file!r}: {cause(error)}"
        raise argparse.ArgumentTypeError(told) from error
    if not isinstance(root, yaml.MappingNode) or not root.value:
        found = "nothing" if root is None else repr(root.value)
        raise argparse.ArgumentTypeError(f"{file}: expected a map of LISTEN: UPSTREAM, each HOST:PORT, got {found:.60}")
    # As they are written: YAML would take 1:30 for a number, and the last of two.
    return [(_address(listen, file), _address(upstream, file)) for listen, upstream in root.value]


def _address(node: yaml.Node, file: str) -> Address:
    where = f"{file}, line {node.start_mark.line + 1}"
    if not isinstance(node, yaml.ScalarNode):
        raise argparse.ArgumentTypeError(f"{where}: expected HOST:PORT, got a list or a map")
    try:
        return parse_address(node.value)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{where}: {error}") from error


def conflict(maps: Sequence[Map]) -> str | None:
    """Return what is wrong with all maps together: a port named twice, one that cannot be asked, or a circle."""
    upstreams: dict[Address, Address] = {}
    for listen, upstream in maps:
        named = format_address(*listen)
        if listen in upstreams:
            return f"expected each LISTEN once, got {named} twice"
        if upstream[1] == 0:
            return f"expected a port to ask, 1 to 65535, got {named}={format_address(*upstream)}"
        if listen[1] != 0:  # 0: a free port, as often as one likes
            upstreams[listen] = upstream
    known = {place: _resolved(place) for place in {*upstreams, *upstreams.values()}}
    heard = {place: front for place in upstreams.values() for front in upstreams if _hears(front, place, known)}
    for listen, upstream in upstreams.items():
        asked: Address | None = upstream
        for _ in upstreams:
            front = heard.get(asked) if asked else None
            asked = upstreams[front] if front else None
        if asked is not None:
            return f"expected a server at the end, got a circle through {format_address(*listen)}"
    return None


def _hears(front: Address, place: Address, known: Mapping[Address, set[str]]) -> bool:
    """Return whether who listens at ``front`` hears what is sent to ``place``, however either is named."""
    if front[1] != place[1]:
        return False
    anywhere = front[0] in WILDCARDS and any(ipaddress.ip_address(each).is_loopback for each in known[place])
    return anywhere or bool(known[front] & known[place])


def _resolved(place: Address) -> set[str]:
    """Return the addresses of a name; none where it has none, which asking there will tell."""
    try:
        found = socket.getaddrinfo(place[0], place[1], type=socket.SOCK_DGRAM)
    except OSError:
        return set()
    return {str(address[0]).partition("%")[0] for *_, address in found}
