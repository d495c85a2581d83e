"""The NTP proxy between real clients and upstreams that misbehave: what it may pass, and to whom."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import ntplib
import pytest

from time_services import proxy_maps
from time_services.ntp_proxy import CAPACITY, PER_CLIENT, NtpProxy, connected_socket

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.81.1"
UPSTREAM = "127.0.81.2"


def request(transmit: bytes, first: int = 0x23) -> bytes:
    return bytes([first]) + bytes(39) + transmit


def answer(asked: bytes, first: int = 0x24) -> bytes:
    """Return what a server says to the request ``asked``: its transmit timestamp as origin."""
    return bytes([first, 1]) + bytes(22) + asked[40:48] + struct.pack("!QQ", 7, 8)


def udp(host: str = HOST) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(10)
    made.bind((host, 0))
    return made


class Bench:
    """A proxy in this process with an upstream that the test plays, both ends real sockets."""

    def __init__(self, **options: float) -> None:
        self.upstream = udp(UPSTREAM)
        self.front = udp()
        self.address = self.front.getsockname()
        self.back = connected_socket(*self.upstream.getsockname())
        self.proxy = NtpProxy(self.front, self.back, **options)
        self.selector = selectors.DefaultSelector()
        self.proxy.register(self.selector)

    def turn(self) -> None:
        """Let the proxy handle what has arrived."""
        for key, _ in self.selector.select(10):
            key.data()
        self.proxy.expire()

    def ask(self, client: socket.socket, transmit: bytes) -> tuple[bytes, tuple]:
        """Send a request; return it as the upstream sees it, and whom to answer."""
        client.sendto(request(transmit), self.address)
        self.turn()
        return self.upstream.recvfrom(2048)

    def say(self, datagram: bytes, to: tuple) -> None:
        """Let the upstream say something."""
        self.upstream.sendto(datagram, to)
        self.turn()

    def close(self) -> None:
        for end in (self.selector, self.front, self.back, self.upstream):
            end.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    made = [udp(), udp()]
    yield made
    for client in made:
        client.close()


def silent(client: socket.socket) -> bool:
    """Return whether nothing has arrived; the proxy has had its turn already."""
    client.setblocking(False)
    try:
        client.recv(2048)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_an_answer_arrives_with_the_clients_own_timestamp_and_is_else_untouched(bench, clients):
    """The upstream sees a random token; the client gets the upstream's bytes with its own timestamp as origin."""
    transmit = os.urandom(8)
    seen, back = bench.ask(clients[0], transmit)
    assert len(seen) == 48
    assert seen[40:48] != transmit
    said = answer(seen)
    bench.say(said, back)
    got, source = clients[0].recvfrom(2048)
    assert got == said[:24] + transmit + said[32:]
    assert source == bench.address


def test_two_clients_with_the_same_timestamp_get_their_own_answers(bench, clients):
    """Answers in the wrong order, to requests that look alike, still find who asked."""
    transmit = bytes(8)
    asked = [bench.ask(client, transmit) for client in clients]
    for number in (1, 0):
        seen, back = asked[number]
        bench.say(answer(seen)[:-1] + bytes([number]), back)
    assert [client.recv(2048)[-1] for client in clients] == [0, 1]


def test_a_late_answer_reaches_nobody(clients):
    """What comes after the deadline is dropped, though the next client asks with the very same timestamp."""
    bench = Bench(deadline_s=0.05)
    try:
        first, back = bench.ask(clients[0], bytes(8))
        while len(bench.proxy):
            bench.proxy.expire()
        second, _ = bench.ask(clients[1], bytes(8))
        bench.say(answer(first), back)
        assert silent(clients[0])
        assert silent(clients[1])
        assert (bench.proxy.counts.expired, bench.proxy.counts.unmatched) == (1, 1)
        assert first[40:48] != second[40:48]
    finally:
        bench.close()


def test_an_answer_counts_once(bench, clients):
    """A repeated answer is dropped."""
    seen, back = bench.ask(clients[0], os.urandom(8))
    bench.say(answer(seen), back)
    bench.say(answer(seen), back)
    assert len(clients[0].recv(2048)) == 48
    assert silent(clients[0])
    assert bench.proxy.counts.unmatched == 1


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"junk",
        bytes(47),
        bytes(48),
        lambda _asked: answer(request(os.urandom(8))),
        lambda asked: answer(asked, first=0x23),
        lambda asked: answer(asked) + bytes(4),
        lambda asked: answer(asked)[:47],
        lambda _asked: os.urandom(1400),
    ],
)
def test_garbage_from_the_upstream_is_counted_and_passed_to_nobody(bench, clients, said):
    """A wrong origin, another mode, other lengths: no answer; the true one still arrives."""
    seen, back = bench.ask(clients[0], os.urandom(8))
    bench.say(said(seen) if callable(said) else said, back)
    assert silent(clients[0])
    assert bench.proxy.counts.not_an_answer + bench.proxy.counts.unmatched == 1
    bench.say(answer(seen), back)
    assert len(clients[0].recv(2048)) == 48


def test_only_the_upstream_itself_is_heard(bench, clients):
    """An answer with the right token from another address does not even reach the proxy."""
    seen, back = bench.ask(clients[0], os.urandom(8))
    with udp(UPSTREAM) as stranger:
        stranger.sendto(answer(seen), back)
    bench.say(answer(seen), back)
    assert bench.proxy.counts.answered == 1
    assert bench.proxy.counts.unmatched == 0


def test_what_is_no_request_never_goes_up(bench, clients):
    """Junk, other modes and torn packets end here; a MAC is taken off."""
    for junk in (b"", b"TEST", request(bytes(8))[:47], request(bytes(8), 0x24), request(bytes(8), 0x23 | 7)):
        clients[0].sendto(junk, bench.address)
        bench.turn()
    clients[0].sendto(request(bytes(8)) + bytes(20), bench.address)
    bench.turn()
    assert len(bench.upstream.recv(2048)) == 48
    assert bench.proxy.counts.not_a_request == 5


def test_a_flooding_client_neither_fills_the_memory_nor_locks_out_others(clients):
    """One client keeps at most its share of the memory; another is served meanwhile."""
    bench = Bench()
    try:
        for _ in range(3 * PER_CLIENT):
            clients[0].sendto(request(os.urandom(8)), bench.address)
        while bench.proxy.counts.forwarded + bench.proxy.counts.too_many < 3 * PER_CLIENT:
            bench.turn()
        assert len(bench.proxy) == PER_CLIENT
        assert bench.proxy.counts.too_many == 2 * PER_CLIENT
        with udp("127.0.81.3") as other:
            other.sendto(request(b"otherone"), bench.address)
            bench.turn()
            for _ in range(PER_CLIENT + 1):
                seen, back = bench.upstream.recvfrom(2048)
            bench.say(answer(seen), back)
            assert other.recv(2048)[24:32] == b"otherone"
    finally:
        bench.close()


def test_the_memory_is_bounded_over_all_clients(clients):
    """Beyond its capacity the proxy takes no more requests until some are answered or given up."""
    bench = Bench(capacity=3, per_client=10)
    try:
        asked = [bench.ask(clients[0], os.urandom(8)) for _ in range(3)]
        clients[1].sendto(request(bytes(8)), bench.address)
        bench.turn()
        assert (len(bench.proxy), bench.proxy.counts.too_many) == (3, 1)
        bench.say(answer(asked[0][0]), asked[0][1])
        bench.ask(clients[1], bytes(8))
        assert len(bench.proxy) == 3
    finally:
        bench.close()
    assert CAPACITY >= PER_CLIENT


def test_a_silent_upstream_means_silence(clients):
    """A dead upstream is reported by nobody's made-up answer; when it is back, so are the answers."""
    bench = Bench()
    try:
        address = bench.upstream.getsockname()
        bench.upstream.close()
        for _ in range(3):
            clients[0].sendto(request(os.urandom(8)), bench.address)
            bench.turn()
        bench.upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bench.upstream.settimeout(10)
        bench.upstream.bind(address)
        assert silent(clients[0])
        seen, back = bench.ask(clients[0], b"backback")
        bench.say(answer(seen), back)
        assert clients[0].recv(2048)[24:32] == b"backback"
        assert bench.proxy.counts.upstream_refused >= 1
    finally:
        bench.close()


@contextmanager
def proxy_of(upstream: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """Run the program on a free port; yield it and its address."""
    argv = [
        sys.executable,
        "-m",
        "time_services.ntp_proxy",
        "--map",
        f"{HOST}:0={upstream}",
        "--die-with-parent",
        *options,
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            host, _, port = program.stdout.readline().split()[2].rpartition(":")
            yield program, (host, int(port))
        finally:
            program.terminate()


def test_a_real_client_and_server_agree_through_it(run_service):
    """Ntplib asks the real server through the program; what it counted is told at the end and on SIGUSR1."""
    with run_service("time_services.ntp_server") as (_, upstream), proxy_of(upstream) as (program, (host, port)):
        for _ in range(5):
            said = ntplib.NTPClient().request(host, port=port, version=4, timeout=10)
            assert (said.mode, said.stratum) == (4, 1)
            assert abs(said.offset) <= said.delay / 2 + 1e-6
        told, deadline = "", time.monotonic() + 250
        while "answered=5" not in told:  # an answer is counted after it has left, so the asker may be quicker
            assert time.monotonic() < deadline, told
            program.send_signal(signal.SIGUSR1)
            told = program.stderr.readline()
        assert "forwarded=5 answered=5 expired=0" in told
        program.terminate()
        assert "forwarded=5 answered=5" in program.stderr.read()
        assert program.wait(250) == 0


def test_signals_while_its_log_is_stuck_neither_end_it_nor_cost_a_count(run_service):
    """While nobody reads its log it blocks in writing; whatever signals come then, it tells its counts and goes on."""
    with run_service("time_services.ntp_server") as (_, upstream), proxy_of(upstream) as (program, address):
        log = program.stderr.fileno()
        size = fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
        unread, deadline = 0, time.monotonic() + 250
        while unread < size - 256:  # no room for another line
            assert time.monotonic() < deadline, unread
            program.send_signal(signal.SIGUSR1)
            (unread,) = struct.unpack("i", fcntl.ioctl(log, termios.FIONREAD, bytes(4)))
        for _ in range(1000):
            program.send_signal(signal.SIGUSR1)
        told = program.stderr.readline()  # makes room
        assert told.endswith(" waiting=0\n")
        reader = threading.Thread(target=lambda: lines.extend(program.stderr))
        lines: list[str] = []
        reader.start()
        try:
            assert ntplib.NTPClient().request(address[0], port=address[1], version=4, timeout=10).stratum == 1
        finally:
            program.terminate()
            reader.join(10)
        assert program.wait(250) == 0
        assert " forwarded=1 answered=1 " in lines[-1]
        assert {line.partition(" ")[0] for line in lines} == {"ntp_proxy:"}  # whole lines and nothing else


def test_a_yaml_file_maps_several_ports(run_service, tmp_path):
    """Each line of the file is a port of its own, and a client of either gets its own upstream's answers."""
    with run_service("time_services.ntp_server") as (_, upstream), udp() as silent_one:
        other = "{}:{}".format(*silent_one.getsockname())
        file = tmp_path / "maps.yaml"
        file.write_text(f"{HOST}:0: {upstream}\n127.0.81.2:0: {other}\n")
        argv = [sys.executable, "-m", "time_services.ntp_proxy", "--map", str(file), "--die-with-parent"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            try:
                ports = [program.stdout.readline().split()[2].rpartition(":") for _ in range(2)]
                assert ntplib.NTPClient().request(ports[0][0], port=int(ports[0][2]), timeout=10).stratum == 1
                with udp() as client:
                    client.sendto(request(bytes(8)), (ports[1][0], int(ports[1][2])))
                    assert len(silent_one.recv(2048)) == 48
            finally:
                program.terminate()


def test_a_request_is_given_up_in_time(run_service):
    """With an upstream that says nothing the deadline passes by itself, and memory is free again."""
    with udp(UPSTREAM) as upstream:
        name = "{}:{}".format(*upstream.getsockname())
        with proxy_of(name, "--deadline-s", "0.1") as (program, address), udp() as client:
            client.sendto(request(bytes(8)), address)
            upstream.recv(2048)
            deadline = time.monotonic() + 250
            told = ""
            while "expired=1" not in told:
                assert time.monotonic() < deadline, told
                program.send_signal(signal.SIGUSR1)
                told = program.stderr.readline()
            assert "waiting=0" in told


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (["127.0.81.1:9123=127.0.81.2:123", "127.0.81.1:9123=127.0.81.3:123"], "got 127.0.81.1:9123 twice"),
        (["127.0.81.1:9123=127.0.81.2:0"], "expected a port to ask"),
        (["127.0.81.1:9123=127.0.81.1:9123"], "a circle through 127.0.81.1:9123"),
        (["0.0.0.0:9123=127.0.0.1:9123"], "a circle through 0.0.0.0:9123"),
        (["127.0.0.1:9123=localhost:9123"], "a circle through 127.0.0.1:9123"),
        (["127.0.0.1:9123=127.1:9123"], "a circle through 127.0.0.1:9123"),
        (["0.0.0.0:9123=localhost:9123"], "a circle through 0.0.0.0:9123"),
        (["127.0.81.1:9123=127.0.81.1:9124", "127.0.81.1:9124=127.0.81.1:9123"], "a circle through"),
        (["127.0.81.9:9122=127.0.81.1:9123", "127.0.81.1:9123=127.0.81.1:9123"], "a circle through"),
    ],
)
def test_maps_that_cannot_work_together_are_one_line(maps, words, tmp_path):
    """Also those of a file: a port named twice, none to ask, or requests that would go round for ever."""
    for argv in ([part for pair in maps for part in ("--map", pair)], ["--map", str(tmp_path / "maps.yaml")]):
        lines = (pair.replace("=", ": ") for pair in maps)
        (tmp_path / "maps.yaml").write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "time_services.ntp_proxy", *argv],
            capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert words in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("127.0.81.1:9123: 127.0.81.2:123\n127.0.81.1:9124: nowhere\n", "maps.yaml, line 2: "),
        ("127.0.81.1:9123: [127.0.81.2:123]\n", "maps.yaml, line 1: expected HOST:PORT, got a list or a map"),
        ("- 127.0.81.1:9123\n", "expected a map of LISTEN: UPSTREAM"),
        ("", "expected a map of LISTEN: UPSTREAM, each HOST:PORT, got nothing"),
    ],
)
def test_a_file_that_is_no_map_names_its_line(text, words, tmp_path):
    (tmp_path / "maps.yaml").write_text(text)
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(words)):
        proxy_maps.read(str(tmp_path / "maps.yaml"))


@pytest.mark.parametrize("what", ["", "127.0.81.1:9", __file__, "nonsense=127.0.0.1:123", "127.0.81.1:0=127.0.0.1"])
def test_a_map_that_makes_no_sense_is_one_line(what):
    """A map must name two addresses: exit 2 and one line that says so."""
    argv = [sys.executable, "-m", "time_services.ntp_proxy", "--map", what]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 2
    assert "expected" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
