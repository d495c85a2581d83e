"""What the kernel says about datagrams: when they came, when each left, and how many it had to drop."""

from __future__ import annotations

import errno
import socket
import time

import pytest
from awaiting import until

from node_agent.datagrams import kernel_stamps, mmsg
from node_agent.datagrams.transmit_stamps import TransmitStamps

HOST = "127.0.66.41"


@pytest.fixture
def pair():
    """Return a receiving and a sending socket, both non-blocking."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        for sock in (here, there):
            sock.setblocking(False)
            sock.bind((HOST, 0))
        yield here, there


def target(sock):
    return mmsg.socket_address(*sock.getsockname())


def take(inbox, count):
    found = []
    until(lambda: found.extend(inbox.take()) or len(found) >= count, f"{count} datagrams")
    return [kernel_stamps.parse(raw) for raw in found]


def test_arrivals_are_stamped_between_sending_and_receiving(pair):
    here, there = pair
    assert kernel_stamps.stamp_arrivals(here)
    before = time.time_ns()
    for i in range(50):
        there.sendto(bytes([i]), here.getsockname())
    got = take(mmsg.Inbox(here, 16, 64), 50)
    after = time.time_ns()
    assert [datagram.data for datagram in got] == [bytes([i]) for i in range(50)]
    stamps = [datagram.kernel_ns for datagram in got]
    assert [before, *stamps, after] == sorted([before, *stamps, after])
    assert {datagram.sender for datagram in got} == {there.getsockname()}
    assert not any(datagram.truncated for datagram in got)


def test_many_at_once_says_what_one_by_one_says(pair):
    here, there = pair
    kernel_stamps.stamp_arrivals(here)
    there.sendto(b"one", here.getsockname())
    first = until(lambda: kernel_stamps.receive(here, 16), "a datagram")
    there.sendto(b"one", here.getsockname())
    (second,) = take(mmsg.Inbox(here, 16, 4), 1)
    assert (first.data, first.sender, first.drops, first.truncated) == (
        second.data, second.sender, second.drops, second.truncated,
    )  # fmt: skip
    assert first.kernel_ns < second.kernel_ns


def test_an_empty_socket_gives_nothing(pair):
    here, _there = pair
    assert mmsg.Inbox(here, 16, 4).take() == []
    assert kernel_stamps.receive(here, 16) is None


def test_no_more_than_asked_for_is_taken_at_once_and_nothing_is_lost(pair):
    here, there = pair
    for i in range(10):
        there.sendto(bytes([i]), here.getsockname())
    inbox = mmsg.Inbox(here, 16, 4)
    sizes = []
    got = []
    until(lambda: sizes.append(len(batch := inbox.take())) or got.extend(batch) or len(got) == 10, "ten datagrams")
    assert max(sizes) <= 4
    assert [raw[0] for raw in got] == [bytes([i]) for i in range(10)]


@pytest.mark.parametrize(("size", "truncated"), [(16, False), (17, True), (4_000, True)])
def test_a_datagram_that_does_not_fit_is_marked(pair, size, truncated):
    here, there = pair
    there.sendto(bytes(size), here.getsockname())
    (got,) = take(mmsg.Inbox(here, 16, 4), 1)
    assert (got.truncated, len(got.data)) == (truncated, min(size, 16))


def test_an_empty_datagram_is_a_datagram(pair):
    here, there = pair
    there.sendto(b"", here.getsockname())
    (got,) = take(mmsg.Inbox(here, 16, 4), 1)
    assert (got.data, got.truncated) == (b"", False)


def test_departures_are_stamped_each_with_its_own_ticket(pair):
    here, there = pair
    departures = TransmitStamps(there)
    assert departures.stamped
    before = time.time_ns()
    for i in range(100):
        departures.send(b"x", target(here), f"token {i}")
    after = time.time_ns()
    stamps = {}
    until(lambda: stamps.update(departures.collect()) or len(stamps) == 100, "a hundred stamps")
    ordered = [stamps[f"token {i}"] for i in range(100)]
    assert [before, *ordered, after] == sorted([before, *ordered, after])


def test_sends_without_a_ticket_take_a_number_but_give_no_stamp(pair):
    here, there = pair
    departures = TransmitStamps(there)
    departures.send(b"x", target(here))
    departures.send(b"x", target(here), "second")
    stamps = []
    until(lambda: stamps.extend(departures.collect()) or stamps, "a stamp")
    assert [token for token, _ in stamps] == ["second"]


def test_after_a_send_that_failed_tickets_still_match(pair):
    here, there = pair
    departures = TransmitStamps(there)
    departures.send(b"x", target(here), "first")
    departures.collect()
    with pytest.raises(OSError) as failure:  # noqa: PT011 - any refusal of a datagram that is too large will do
        departures.send(bytes(70_000), target(here), "too large")
    assert failure.value.errno == errno.EMSGSIZE
    before = time.time_ns()
    departures.send(b"x", target(here), "after")
    stamps = {}
    until(lambda: stamps.update(departures.collect()) or "after" in stamps, "the stamp of the send after")
    assert "too large" not in stamps
    assert stamps["after"] >= before


def test_what_the_kernel_drops_is_counted_on_the_next_arrival(pair):
    here, there = pair
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    kernel_stamps.stamp_arrivals(here)
    sent = 500
    for _ in range(sent):
        there.sendto(bytes(64), here.getsockname())
    inbox = mmsg.Inbox(here, 64, 512)
    kept = len(take(inbox, 1))
    there.sendto(b"last", here.getsockname())
    (last,) = take(inbox, 1)
    assert last.drops == sent - kept > 0


def test_the_granted_receive_buffer_is_told(pair):
    here, _there = pair
    granted = kernel_stamps.ask_receive_buffer(here, 1 << 18)
    assert granted == here.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 0


def test_an_address_survives_both_ways():
    assert mmsg.address(mmsg.socket_address("127.0.66.41", 54_321)) == ("127.0.66.41", 54_321)
