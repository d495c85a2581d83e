"""Where nodes reach each other: every address of a name counts, and all nodes speak one family."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.check import addresses
from harness.errors import PreflightError
from harness.remote import Result
from harness.shell import answer


def asked(
    said: str, code: int = 0, *, name: str = "node-b", own: str = "", first: str = "127.0.93.1"
) -> dict[str, str]:
    """Resolve two nodes, where the other's name service says this and the node has these addresses."""
    nodes = [
        SimpleNamespace(id="a", host=first, address=None),
        SimpleNamespace(id="b", host=name, address=None),
    ]
    config = SimpleNamespace(nodes=nodes, coordinator=nodes[0], workers=nodes[1:], remote_python="python3")
    peer = SimpleNamespace(run=lambda _command: Result(code, said.encode(), ""))
    itself = SimpleNamespace(run=lambda _command: Result(0, own.encode(), ""))
    return addresses.resolve(SimpleNamespace(config=config, remotes={"a": peer, "b": itself}))


@pytest.mark.parametrize("said", ["10.0.0.7\n", "127.0.1.1 10.0.0.7\n", "127.0.0.1 127.0.1.1 10.0.0.7 10.1.0.7\n"])
def test_a_loopback_address_does_not_hide_the_one_that_the_others_reach(said: str) -> None:
    assert asked(said) == {"a": "127.0.93.1", "b": "10.0.0.7"}


@pytest.mark.parametrize(
    ("own", "address"),
    [("10.0.0.7 10.1.0.7", "10.0.0.7"), ("10.1.0.7", "10.1.0.7"), ("10.1.0.7 10.0.0.7", "10.0.0.7"), ("", "10.0.0.7")],
)
def test_of_several_addresses_the_first_that_the_node_has_counts(own: str, address: str) -> None:
    """The first of a name may be dead, or that of a machine that had the name before."""
    assert asked("127.0.1.1 10.0.0.7 10.1.0.7", own=own)["b"] == address


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("127.0.1.1 127.0.0.1", r"expected node-b to be reachable from a, it means 127\.0\.1\.1, 127\.0\.0\.1 there"),
        ("fe80::7 ::1", r"expected node-b to be reachable from a, it means fe80::7, ::1 there"),
        ("", "expected a to know the address of node-b, it does not"),
        ("no address", "expected a to know the address of node-b, it does not"),
    ],
)
def test_what_cannot_be_reached_is_one_line(said: str, told: str) -> None:
    with pytest.raises(PreflightError, match=f"b: {told}.*set `address:` of b"):
        asked(said)


@pytest.mark.parametrize(
    ("first", "said", "expected"),
    [
        ("fd00::1", "10.0.0.7 fd00::7\n", {"a": "fd00::1", "b": "fd00::7"}),
        ("fe80::1%eth0", "fd00::7 fe80::7\n", {"a": "fe80::1%eth0", "b": "fd00::7"}),
        ("10.0.0.1", "fd00::7 10.0.0.7\n", {"a": "10.0.0.1", "b": "10.0.0.7"}),
    ],
)
def test_all_nodes_are_reached_by_one_family(first: str, said: str, expected: dict[str, str]) -> None:
    """IPv4 where each node has it, else IPv6; a node's link-local address is no address elsewhere unless given."""
    assert asked(said, first=first) == expected


def test_nodes_without_a_family_in_common_are_one_line() -> None:
    told = r"addresses: expected all nodes to have one of IPv4, or all one of IPv6, got a 127\.0\.93\.1, b fd00::7; set"
    with pytest.raises(PreflightError, match=told):
        asked("fd00::7")


FAKE = """
import socket
KNOWN = {KNOWN!r}
def getaddrinfo(host, port, family, kind):
    if not KNOWN.get(family):
        raise socket.gaierror(socket.EAI_NONAME, "not known")
    return [(family, kind, 17, "", (address, port)) for address in KNOWN[family]]
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({2: ["127.0.1.1", "10.0.0.7"], 10: ["fe80::7"]}, "127.0.1.1 10.0.0.7 fe80::7"),
        ({10: ["fe80::7"]}, "fe80::7"),
        ({}, ""),
    ],
)
def test_what_the_node_is_asked_prints_all_addresses(known: dict[int, list[str]], said: str) -> None:
    script = FAKE.replace("{KNOWN!r}", repr(known)) + addresses._RESOLVE
    done = subprocess.run([sys.executable, "-c", script, "node-b"], capture_output=True, text=True, check=True)
    assert answer(done.stdout) == said
    assert done.stderr == ""


def test_what_the_node_is_asked_prints_its_own_addresses() -> None:
    """192.0.2.7 and 2001:db8::7 are for documentation: no machine has them (RFC 5737, RFC 3849)."""
    command = [sys.executable, "-c", addresses._OWN, "192.0.2.7", "127.0.93.1", "2001:db8::7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (answer(done.stdout), done.stderr) == ("127.0.93.1", "")
