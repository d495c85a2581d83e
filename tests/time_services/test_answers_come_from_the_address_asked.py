"""On a host with several addresses an answer comes from the one that was asked; and a name's addresses are tried."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from node_agent.contract.records import OK
from node_agent.exchange import ntp as ntp_exchange
from node_agent.local.instants import LocalClock
from time_services import listening
from time_services.listening import bound_socket
from time_services.ntp_proxy import SILENT, NtpProxy, connected_sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESSES = ("127.0.0.1", "127.0.82.7", "127.200.3.4", "127.255.255.254")


def request() -> bytes:
    return bytes([0x23]) + bytes(39) + os.urandom(8)


def answer(asked: bytes) -> bytes:
    return bytes([0x24, 1]) + bytes(22) + asked[40:48] + struct.pack("!QQ", 7, 8)


def asked_at(host: str, port: int) -> tuple[bytes, tuple[str, int]]:
    """Ask from a socket that hears everybody, and return the answer and who sent it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(request(), (host, port))
        said, sender = client.recvfrom(2_048)
        return said, sender[:2]


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextmanager
def proxy(listen: str, upstream: str) -> Iterator[str]:
    """Run a proxy; yield the address it says it listens on."""
    argv = [sys.executable, "-m", "time_services.ntp_proxy", "--map", f"{listen}={upstream}", "--die-with-parent"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("listening udp "), process.stderr.read()
            yield line.split()[2]
        finally:
            process.terminate()
            assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "127.0.82.7:0"])
def test_the_server_answers_from_the_address_asked(run_service, listen):
    with run_service("time_services.ntp_server", listen=listen) as (_, address):
        for host in ADDRESSES if listen.startswith("0.") else ["127.0.82.7"]:
            _said, sender = asked_at(host, port_of(address))
            assert sender == (host, port_of(address))


def test_the_agent_believes_a_server_on_every_address_of_its_host(run_service):
    """Not `wrong_address` for ever, at all addresses but the first."""
    with run_service("time_services.ntp_server", listen="0.0.0.0:0") as (_, address):
        for host in ADDRESSES:
            place = f"{host}:{port_of(address)}"
            sample = ntp_exchange.NtpServer(place, LocalClock(), 100.0, 10.0).ask(lambda: "ntp1")[-1]
            assert (sample.outcome, sample.address) == (OK, place)


@pytest.mark.parametrize("host", ["::1", "127.0.82.7"])
def test_a_wildcard_of_both_families_too(run_service, host):
    with run_service("time_services.ntp_server", listen="[::]:0") as (_, address):
        try:
            mapped = host if ":" in host else f"::ffff:{host}"
            _said, sender = asked_at(mapped, port_of(address))
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine's loopback: {error}")
        assert sender == (mapped, port_of(address))


def test_the_proxy_answers_from_the_address_asked(run_service):
    """Several clients at once, each at another address: none gets the other's way back."""
    with (
        run_service("time_services.ntp_server", listen="127.0.82.2:0") as (_, upstream),
        proxy("0.0.0.0:0", upstream) as front,
    ):
        for host in ADDRESSES:
            _said, sender = asked_at(host, port_of(front))
            assert sender == (host, port_of(front))


def test_an_answer_to_a_multicast_or_broken_question_has_a_source_all_the_same():
    pack = listening.IN_PKTINFO.pack
    own, group = socket.inet_aton("127.0.82.7"), socket.inet_aton("224.0.1.1")
    here = (socket.IPPROTO_IP, listening.IP_PKTINFO)
    assert listening.from_asked_address([(*here, pack(3, own, group))]) == [(*here, pack(0, own, bytes(4)))]
    assert listening.from_asked_address([(*here, b"short"), (socket.SOL_SOCKET, 35, bytes(16))]) == []


# --- the upstream's and the own name's addresses ---------------------------------------------------------------------


def known(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_service_is_bound_to_the_address_of_its_name_that_is_here(monkeypatch):
    known(monkeypatch, ("192.0.2.1", 0), ("127.0.82.9", 0))
    with bound_socket("service.example", 0, socket.SOCK_DGRAM) as bound:
        assert bound.getsockname()[0] == "127.0.82.9"


@pytest.mark.parametrize("dead", ["refuses", "silent"])
def test_the_proxy_goes_on_to_the_next_address_of_its_upstream(monkeypatch, dead):
    """One that refuses at once, one that says nothing after a few requests; the one that answers is kept."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as front,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        selectors.DefaultSelector() as selector,
    ):
        for sock in (first, second, front):
            sock.bind(("127.0.82.3", 0))
        for sock in (first, second, client):
            sock.settimeout(0.2)
        client.connect(front.getsockname())
        known(monkeypatch, first.getsockname(), second.getsockname())
        backs = connected_sockets("upstream.example", 123)
        monkeypatch.undo()
        if dead == "refuses":
            first.close()
        bridge = NtpProxy(front, backs, deadline_s=0.05)
        bridge.register(selector)
        answered = []
        for _ in range(SILENT + 4):
            client.send(request())
            for key, _mask in selector.select(5):
                key.data()
            try:
                asked, sender = second.recvfrom(2_048)
            except TimeoutError:  # it went to the first
                bridge.expire()
                continue
            second.sendto(answer(asked), sender)
            for key, _mask in selector.select(5):
                key.data()
            answered.append(client.recv(2_048))
        for back in backs:
            back.close()
    assert len(answered) >= 3
    assert bridge.counts.answered == len(answered)
