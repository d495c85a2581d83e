"""A transmit stamp belongs to the datagram it was taken of, or to none: numbers that are uncertain give no stamp."""

from __future__ import annotations

import socket

import pytest

from node_agent.datagrams import kernel_stamps, mmsg
from node_agent.datagrams.transmit_stamps import TransmitStamps

TARGET = mmsg.socket_address("127.0.0.1", 9)


@pytest.fixture
def sock():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        yield made


class Kernel:
    """Stamps what it is told to, numbering sends as the kernel does where a failed send takes a number (before 6.7)."""

    def __init__(self, monkeypatch):
        self.next = 0
        self.failures: list[OSError] = []
        self.held: list[tuple[int, int]] = []  # numbers and times of datagrams that wait to leave
        self.stamps: list[tuple[int, int]] = []
        self.now = 1_000
        monkeypatch.setattr(mmsg, "send", self.send)
        monkeypatch.setattr(kernel_stamps, "renumber_departures", self.renumber)
        monkeypatch.setattr(kernel_stamps.DepartureStamps, "take", lambda _self: self.take())

    def send(self, _sock, _datagram, _target):
        number, self.next = self.next, self.next + 1
        if self.failures:
            raise self.failures.pop()
        self.now += 10
        self.held.append((number, self.now))

    def renumber(self, _sock):
        self.next = 0
        return True

    def leave(self):
        self.stamps += self.held
        self.held = []

    def take(self):
        taken, self.stamps = self.stamps, []
        return taken


def test_a_full_buffer_does_not_shift_the_stamps_to_the_next_send(monkeypatch, sock):
    """The try that found the buffer full took a number: the stamps that follow are still each send's own."""
    kernel = Kernel(monkeypatch)
    departures = TransmitStamps(sock)
    kernel.failures = [BlockingIOError()]
    departures.send(b"x", TARGET, "first")
    departures.send(b"x", TARGET, "second")
    kernel.leave()
    assert departures.collect() == [("first", 1_010), ("second", 1_020)]


def test_a_stamp_from_before_a_failed_send_is_not_given_to_a_later_one(monkeypatch, sock):
    """Two datagrams still wait to leave when a send fails; their late stamps bear the numbers of two later sends.

    Which of the two stamps of a number is whose is anyone's guess, so neither gets one.
    """
    kernel = Kernel(monkeypatch)
    departures = TransmitStamps(sock)
    departures.send(b"x", TARGET)  # one without a token, as a hello is
    departures.send(b"x", TARGET, "old")
    kernel.failures = [OSError(105, "No buffer space available")]
    with pytest.raises(OSError, match="No buffer space"):
        departures.send(b"x", TARGET, "failed")
    assert [departures.send(b"x", TARGET, token) for token in ("new 0", "new 1", "new 2")] == [False, False, True]
    kernel.leave()
    assert departures.collect() == [("new 2", 1_050)]


def fail(kernel, departures):
    kernel.failures = [OSError(101, "Network is unreachable")]
    with pytest.raises(OSError, match="unreachable"):
        departures.send(b"x", TARGET, "failed")


def test_a_number_owed_twice_gives_no_stamp(monkeypatch, sock):
    kernel = Kernel(monkeypatch)
    departures = TransmitStamps(sock)
    for token in ("first", "second"):
        departures.send(b"x", TARGET, token)
        fail(kernel, departures)
    departures.send(b"x", TARGET, "third")
    kernel.leave()
    assert departures.collect() == []


def test_a_later_datagram_that_leaves_first_gets_no_stamp_of_an_earlier_one(monkeypatch, sock):
    """The earlier one waits for its neighbour's address; its stamp comes long after the later one's, same number."""
    kernel = Kernel(monkeypatch)
    departures = TransmitStamps(sock)
    departures.send(b"x", TARGET, "held")
    held, kernel.held = kernel.held, []
    fail(kernel, departures)
    departures.send(b"x", TARGET, "new")
    kernel.leave()
    assert departures.collect() == []
    kernel.held = held
    kernel.leave()
    assert departures.collect() == []
    departures.send(b"x", TARGET, "next")  # nothing is owed any more, and numbers go on
    kernel.leave()
    assert departures.collect() == [("next", 1_030)]


def test_a_stamp_that_nobody_waits_for_any_more_is_not_given_to_a_later_send(monkeypatch, sock):
    kernel = Kernel(monkeypatch)
    departures = TransmitStamps(sock)
    departures.send(b"x", TARGET, "forgotten")
    departures.forget("forgotten")
    fail(kernel, departures)
    departures.send(b"x", TARGET, "new")
    kernel.leave()
    assert departures.collect() == []


def test_what_is_forgotten_stays_out_of_the_way_and_is_bounded(monkeypatch, sock):
    """Where no stamp ever comes, giving up the oldest token is one step, and memory does not grow."""
    monkeypatch.setattr("node_agent.datagrams.transmit_stamps._MOST_FORGOTTEN", 10)
    Kernel(monkeypatch)
    departures = TransmitStamps(sock)
    for token in range(100):
        departures.send(b"x", TARGET, token)
        departures.forget(token)
        assert not departures._waiting
    assert list(departures._forgotten) == list(range(90, 100))


def test_without_transmit_stamps_no_ticket_is_kept(monkeypatch, sock):
    monkeypatch.setattr(kernel_stamps, "stamp_departures", lambda _sock: False)
    departures = TransmitStamps(sock)
    for number in range(10):
        departures.send(b"x", TARGET, number)
    assert departures._waiting == {}
