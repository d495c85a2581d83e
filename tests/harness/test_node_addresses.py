"""Where nodes reach each other: every address of a name counts, and an IPv6 one alone is a plain no."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.check import addresses
from harness.errors import PreflightError
from harness.remote import Result
from harness.shell import answer


def asked(said: str, code: int = 0, *, name: str = "node-b", own: str = "") -> dict[str, str]:
    """Resolve two nodes, where the other's name service says this and the node has these addresses."""
    nodes = [
        SimpleNamespace(id="a", host="127.0.93.1", address=None),
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
        ("ipv6", "a knows IPv6 addresses of node-b alone: IPv6 is not supported yet"),
        ("", "expected a to know the address of node-b, it does not"),
        ("no address", "expected a to know the address of node-b, it does not"),
    ],
)
def test_what_cannot_be_reached_is_one_line(said: str, told: str) -> None:
    with pytest.raises(PreflightError, match=f"b: {told}.*set `address:` of b"):
        asked(said)


def test_an_ipv6_host_without_an_address_is_a_plain_no() -> None:
    with pytest.raises(PreflightError, match=r"b: IPv6 is not supported yet: expected an IPv4 .*set `address:`"):
        asked("", name="fe80::7")


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
        ({2: ["127.0.1.1", "10.0.0.7"], 10: ["fe80::7"]}, "127.0.1.1 10.0.0.7"),
        ({10: ["fe80::7"]}, "ipv6"),
        ({}, ""),
    ],
)
def test_what_the_node_is_asked_prints_all_addresses(known: dict[int, list[str]], said: str) -> None:
    script = FAKE.replace("{KNOWN!r}", repr(known)) + addresses._RESOLVE
    done = subprocess.run([sys.executable, "-c", script, "node-b"], capture_output=True, text=True, check=True)
    assert answer(done.stdout) == said
    assert done.stderr == ""


def test_what_the_node_is_asked_prints_its_own_addresses() -> None:
    """192.0.2.7 is for documentation: no machine has it (RFC 5737)."""
    command = [sys.executable, "-c", addresses._OWN, "192.0.2.7", "127.0.93.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (answer(done.stdout), done.stderr) == ("127.0.93.1", "")
