"""A relay delays each direction by what was asked and more, keeps the order, and says what it lost."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.localcluster.relays.datagrams import MOST_PREPARED, PREPARED_AFTER_S
from harness.localcluster.relays.lane import LONGEST_QUEUE, arrival_ns
from harness.localcluster.relays.messages import DATAGRAMS, STREAM, Answer, Question, RelayOrder
from node_agent.contract import json_objects

HOST = "127.0.77.5"
MS = 1_000_000


class Relays:
    """The relays' process, asked as the supervisor asks it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, question: Question) -> Answer:
        self.process.stdin.write(json_objects.write(question) + "\n")
        self.process.stdin.flush()
        return json_objects.read(Answer, self.process.stdout.readline(), "answer")

    def lay(self, kind: str, target: tuple[str, int], there_ms: float, back_ms: float, tail_ms: float = 0.0):
        delays = (round(delay * MS) for delay in (there_ms, back_ms, tail_ms))
        (place,) = self.ask(Question([RelayOrder("lan", kind, HOST, target, *delays)])).laid
        return place

    def counts(self):
        return self.ask(Question()).counts["lan"]


@pytest.fixture(scope="module")
def relays():
    argv = [sys.executable, "-m", "harness.localcluster.relays"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Relays(process)
        process.stdin.close()
        assert process.wait(250) == 0


def udp(host: str = HOST) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((host, 0))
    sock.settimeout(10)
    return sock


def test_each_direction_has_its_own_delay_and_nothing_comes_early(relays):
    """Both ends see each other's own host, the queue only adds, and an answer finds the one who asked."""
    with udp("127.0.77.6") as server, udp("127.0.77.7") as client:
        place = relays.lay(DATAGRAMS, server.getsockname(), 4, 20, tail_ms=1)
        for number in range(20):
            begun_ns = time.monotonic_ns()
            client.sendto(b"%d" % number, place)
            question, sender = server.recvfrom(100)
            there_ns = time.monotonic_ns() - begun_ns
            assert (question, sender[0]) == (b"%d" % number, "127.0.77.7")
            begun_ns = time.monotonic_ns()
            server.sendto(question, sender)
            assert client.recvfrom(100) == (question, place)
            assert there_ns >= 4 * MS
            assert time.monotonic_ns() - begun_ns >= 20 * MS


def test_a_delay_counts_from_the_arrival_and_not_from_when_a_busy_relay_noticed_it():
    """The kernel's stamp says how long a datagram has waited for the relay; one that makes no sense says nothing."""
    for waited_ms, counted_ms in ((0.4, 0.4), (9, 9), (3_600_000, 0), (-3_600_000, 0)):
        before_ns = time.monotonic_ns()
        came_ns = arrival_ns(time.time_ns() - round(waited_ms * MS))
        after_ns = time.monotonic_ns()
        unsure_ns = after_ns - before_ns  # of how the two clocks were read one after the other
        assert before_ns - unsure_ns <= came_ns + counted_ms * MS <= after_ns + unsure_ns
    before_ns = time.monotonic_ns()
    assert before_ns <= arrival_ns(None) <= time.monotonic_ns()


def test_a_relay_held_up_while_it_reads_its_clocks_takes_no_datagram_for_older_than_it_is(monkeypatch):
    """What passes between two readings may lengthen a way, and may not shorten it."""
    held_up_ns = 0

    def held_up(read):
        def reading():
            nonlocal held_up_ns
            held_up_ns += 3 * MS  # before every reading
            return read() + held_up_ns

        return reading

    for clock in ("time_ns", "monotonic_ns"):
        monkeypatch.setattr(time, clock, held_up(getattr(time, clock)))
    came_ns, kernel_ns = time.monotonic_ns() + 3 * MS, time.time_ns()  # by both clocks the same instant
    assert arrival_ns(kernel_ns) >= came_ns


def test_what_is_sent_first_arrives_first_and_all_of_it(relays):
    """A queueing delay of many times the distance of two datagrams reorders none and loses none."""
    with udp() as receiver, udp() as sender:
        place = relays.lay(DATAGRAMS, receiver.getsockname(), 1, 1, tail_ms=5)
        lost = relays.counts().dropped + relays.counts().missed
        for number in range(400):
            sender.sendto(b"%d" % number, place)
            time.sleep(0.0002)
        assert [int(receiver.recv(100)) for _ in range(400)] == list(range(400))
        assert relays.counts().dropped + relays.counts().missed == lost


def test_more_than_fits_under_way_is_dropped_and_counted(relays):
    """Of a burst longer than the queue, what arrives and what is counted as lost are all that was sent."""
    with udp() as receiver, udp() as sender:
        place = relays.lay(DATAGRAMS, receiver.getsockname(), 500, 500)
        before = relays.counts()
        sent = LONGEST_QUEUE + 200
        for number in range(sent):
            sender.sendto(b"%d" % number, place)
            if number % 50 == 0:
                time.sleep(0.002)  # the relay's socket is not what is to overflow
        received = []
        settled = False
        while not settled:
            if select.select([receiver], [], [], 0.2)[0]:
                received.append(int(receiver.recv(100)))
            else:
                after = relays.counts()
                passed, dropped, missed = (getattr(after, name) - getattr(before, name) for name in vars(after))
                settled = passed + dropped + missed == sent
        assert received == sorted(received)
        assert passed == len(received) <= LONGEST_QUEUE
        assert dropped + missed == sent - passed


@contextmanager
def echoing():
    """Serve one TCP connection that says everything back; yield where."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(10)

        def echo() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        yield listener.getsockname()
        thread.join(10)


def test_a_stream_is_delayed_each_way_and_arrives_whole(relays):
    """A question and its echo take both delays; a megabyte comes back as it left, and then the end."""
    content = bytes(range(256)) * 4096
    with echoing() as target, socket.create_connection(relays.lay(STREAM, target, 10, 30), timeout=10) as client:
        begun_ns = time.monotonic_ns()
        client.sendall(b"?")
        assert client.recv(10) == b"?"
        assert time.monotonic_ns() - begun_ns >= 40 * MS
        sending = threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)))
        sending.start()
        echoed = b""
        while data := client.recv(1 << 16):
            echoed += data
        sending.join()
        assert echoed == content


def test_a_stream_to_nobody_ends(relays):
    """Where nothing listens, the client's connection ends instead of hanging."""
    with socket.create_server((HOST, 0)) as gone:
        target = gone.getsockname()
    with (
        socket.create_connection(relays.lay(STREAM, target, 1, 1), timeout=10) as client,
        suppress(ConnectionResetError),
    ):
        assert client.recv(10) == b""


def test_flows_are_prepared_for_some_addresses_and_not_for_all(relays):
    """Clients at ever more addresses are all served, and what is prepared for their next question is bounded."""
    descriptors = Path(f"/proc/{relays.process.pid}/fd")
    clients = MOST_PREPARED + 36
    with udp() as server:
        place = relays.lay(DATAGRAMS, server.getsockname(), 0, 0)
        before = len(list(descriptors.iterdir()))
        for number in range(clients):
            with udp(f"127.0.83.{number + 1}") as client:
                client.sendto(b"%d" % number, place)
                question, sender = server.recvfrom(100)
                server.sendto(question, sender)
                assert client.recv(100) == b"%d" % number
        deadline, grown = time.monotonic() + 250, 0
        while grown < clients + MOST_PREPARED and time.monotonic() < deadline:
            grown = len(list(descriptors.iterdir())) - before
        time.sleep(5 * PREPARED_AFTER_S)  # nothing more is to come
        assert len(list(descriptors.iterdir())) - before == clients + MOST_PREPARED


def test_an_address_that_cannot_be_had_is_said(relays):
    """What cannot be laid is answered in one line, and the relays go on."""
    order = RelayOrder("lan", DATAGRAMS, "192.0.2.1", (HOST, 9), 0, 0, 0)
    assert relays.ask(Question([order])).problem.startswith("cannot lay a path: ")
    with udp() as server, udp() as client:
        client.sendto(b"still here", relays.lay(DATAGRAMS, server.getsockname(), 0, 0))
        assert server.recv(100) == b"still here"
