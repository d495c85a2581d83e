"""The NTP server over real datagrams: what RFC 5905 asks of an answer, and that its bounds are true."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import ntplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from time_services import ntp_server
from time_services.ntp_packet import NTP_EPOCH_OFFSET_S, short_up, timestamp_down, timestamp_up

CLIENT_V4 = 0x23  # leap 0, version 4, mode 3
ANSWER = struct.Struct("!BBbbII4s8s8sQQ")


@pytest.fixture
def client(ntp_address):
    """Return a UDP socket connected to the server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connected:
        connected.settimeout(10)
        connected.connect(ntp_address)
        yield connected


def request(first: int = CLIENT_V4, transmit: bytes | None = None) -> bytes:
    return bytes([first]) + bytes(39) + (os.urandom(8) if transmit is None else transmit)


def exchange(client: socket.socket, datagram: bytes) -> tuple:
    client.send(datagram)
    return ANSWER.unpack(client.recv(2048))


def test_an_independent_client_agrees(ntp_address):
    """Ntplib reads the answers, and finds the offset of a clock to itself within half the delay."""
    for version in (1, 2, 3, 4):
        answer = ntplib.NTPClient().request(ntp_address[0], port=ntp_address[1], version=version, timeout=10)
        assert (answer.mode, answer.version, answer.leap, answer.stratum) == (4, version, 0, 1)
        assert ntplib.ref_id_to_text(answer.ref_id, 2) != ""
        assert abs(answer.offset) <= answer.delay / 2 + 1e-6  # ntplib computes in float seconds
        assert answer.root_delay == 0
        assert 0 < answer.root_dispersion < 0.001
        assert -30 <= answer.precision <= -10


def test_origin_is_echoed_byte_for_byte(client):
    """Whatever 64 bits a client sends as its transmit time, they come back as origin."""
    for transmit in (b"\x00" * 8, b"\xff" * 8, os.urandom(8)):
        assert exchange(client, request(transmit=transmit))[8] == transmit


def test_an_answer_says_what_the_server_is(client):
    """Version and poll are the client's; mode, leap, stratum and reference id the server's."""
    datagram = bytes([0x1B, 0, 10]) + request()[3:]
    first, stratum, poll, *_, reference_id, _, _, _, _ = exchange(client, datagram)
    assert (first, stratum, poll, reference_id) == (0x1C, 1, 10, b"XHST")


def test_the_truth_lies_between_the_four_timestamps(client):
    """On one clock the offset is 0, and [T3 - T4, T2 - T1] contains it in every exchange, to the last bit."""
    for _ in range(200):
        before_ns = time.time_ns()
        *_, received, transmitted = exchange(client, request())
        after_ns = time.time_ns()
        assert timestamp_down(before_ns) <= received <= transmitted <= timestamp_up(after_ns)


def test_waiting_in_the_server_is_not_path_delay(run_service):
    """T2 is the kernel's stamp: a request that waits for a stopped server was still received before it went on."""
    with run_service("time_services.ntp_server") as (server, address):
        host, _, port = address.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((host, int(port)))
            exchange(client, request())  # the kernel begins to stamp with the first packet
            server.send_signal(signal.SIGSTOP)
            stat = Path(f"/proc/{server.pid}/stat")
            deadline = time.monotonic() + 250
            while stat.read_text().rpartition(")")[2].split()[0] != "T":
                assert time.monotonic() < deadline, "the server does not stop"
            client.send(request())
            go_on_ns = time.time_ns() + 20_000_000
            while time.time_ns() < go_on_ns:
                time.sleep(0.001)
            server.send_signal(signal.SIGCONT)
            *_, received, transmitted = ANSWER.unpack(client.recv(2048))
            assert received < timestamp_down(go_on_ns) <= transmitted


def test_what_is_no_request_is_ignored_and_counted(run_service):
    """Junk, other modes, other versions and torn packets get no answer; the next client does."""
    junk = [b"", b"TEST\n", request()[:47], request() + b"x", *(request(0x20 | mode) for mode in (0, 1, 2, 4, 5, 6, 7))]
    junk += [request(version << 3 | 3) for version in (0, 5, 6, 7)]
    with run_service("time_services.ntp_server") as (server, address):
        host, _, port = address.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((host, int(port)))
            for datagram in junk:
                client.send(datagram)
            wanted = os.urandom(8)
            assert exchange(client, request(transmit=wanted))[8] == wanted
            assert exchange(client, request(transmit=wanted) + bytes(24))[8] == wanted  # a MAC is not ours to check
        server.terminate()
        assert server.stderr.read().strip() == (
            f"ntp_server: ended answered=2 ignored={len(junk)} send_errors=0 user_stamps=0"
        )
        assert server.wait(250) == 0


@pytest.mark.parametrize(
    ("module", "kind"), [("time_services.ntp_server", "udp"), ("time_services.chronotick_server", "tcp")]
)
@pytest.mark.parametrize("listen", ["taken", "192.0.2.1:0", "nonsense", "127.0.77.1:70000", "::1:123"])
def test_an_address_that_cannot_be_served_is_one_line(module, kind, listen):
    """A taken port or a foreign or impossible address: one clear line, exit 2."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.77.2", 0))
        address = f"127.0.77.2:{taken.getsockname()[1]}" if listen == "taken" else listen
        if kind == "tcp":
            taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", module, "--listen", address],
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
    assert done.returncode == 2
    assert address in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_service_dies_with_its_parent():
    """A service started to die with its parent ends when the parent is killed."""
    script = (
        "import subprocess, sys, os, signal\n"
        "service = subprocess.Popen([sys.executable, '-m', 'time_services.ntp_server', '--listen', '127.0.77.3:0',"
        " '--die-with-parent'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "service.stdout.readline()\n"
        "print(service.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == -signal.SIGKILL
    stat = Path(f"/proc/{int(done.stdout)}/stat")
    deadline = time.monotonic() + 250
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the service outlives its parent"
        time.sleep(0.01)


@given(st.integers(0, 2_085_978_496 * 10**9 - 1))
def test_rounding_to_the_grid_is_outward_and_least(unix_ns: int):
    """A timestamp is the nearest one on the 2^-32 s grid that is not after (down) or not before (up) the instant."""
    exact = Fraction(unix_ns, 10**9) + NTP_EPOCH_OFFSET_S
    down, up = Fraction(timestamp_down(unix_ns), 2**32), Fraction(timestamp_up(unix_ns), 2**32)
    grid = Fraction(1, 2**32)
    era = up == 0 and exact > 2**32 - grid  # rounding up may reach the first instant of the next era
    assert exact - grid < down <= exact
    assert era or exact <= up < exact + grid


def test_a_dispersion_is_never_understated():
    """A duration above zero is at least one unit of the short format."""
    assert [short_up(duration) for duration in (0, 1, 15_258, 15_259, 10**9)] == [0, 1, 1, 2, 65_536]


@pytest.mark.parametrize(
    "options",
    [
        ["--error-ms", "nan"], ["--error-ms", "inf"], ["--error-ms", "1e30"], ["--error-ms=-1e13"], ["--error-ms", "x"],
        ["--error-ms", "1", "--error-after", "-3"], ["--error-ms", "1", "--error-after", "nan"], ["--error-after", "3"],
    ],
)  # fmt: skip
def test_an_error_on_purpose_that_cannot_be_is_refused(options, capsys):
    """A number that is none, too large, or without effect: usage, and no server."""
    with pytest.raises(SystemExit) as end:
        ntp_server.main(["--listen", "127.0.0.1:0", *options])
    assert end.value.code == 2
    assert "expected" in capsys.readouterr().err
