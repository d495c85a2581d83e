"""The clock pair that a wake-up calls ``before`` was read before every one of its datagrams arrived."""

from __future__ import annotations

import queue
import socket
import threading
from types import SimpleNamespace

import pytest

from node_agent import worker as workers
from node_agent.local.instants import ClockPair
from node_agent.worker import Worker


class Clock:
    """A clock that is a nanosecond later whenever it is looked at; datagrams arrive in the same count."""

    def __init__(self):
        self.now_ns = 10**9

    def tick(self):
        self.now_ns += 1
        return self.now_ns

    def raw_ns(self):
        return self.tick()

    def pair(self):
        now = self.tick()
        return ClockPair(now, now, now)


def script(clock, arrivals):
    """Return an inbox whose network delivers ``arrivals[i]`` datagrams before take i and as many just after it."""
    waiting = []

    class Inbox:
        def __init__(self, _sock, _size, count):
            self.count = count

        def take(self):
            if not arrivals:
                stopping.set()
                return []
            number = arrivals.pop(0)
            waiting.extend(clock.tick() for _ in range(number))
            taken, waiting[:] = waiting[: self.count], waiting[self.count :]
            clock.tick()
            waiting.extend(clock.tick() for _ in range(number))
            return taken

    stopping = threading.Event()
    return Inbox, stopping


@pytest.mark.parametrize("arrivals", [[1] * 6, [0, 3, 0, 1], [1_000, 0, 0, 0, 0, 5, 5], [300, 300, 0, 0, 0, 2]])
def test_it_is_older_than_they_are_even_behind_a_backlog(monkeypatch, arrivals):
    clock = Clock()
    inbox, stopping = script(clock, list(arrivals))
    monkeypatch.setattr(workers.mmsg, "Inbox", inbox)
    monkeypatch.setattr(workers, "_WAKE_UP_MS", 0)
    monkeypatch.setattr(workers.time, "sleep", lambda _s: None)
    bare = Worker.__new__(Worker)
    bare._node = SimpleNamespace(clock=clock, plan=SimpleNamespace(buffer_size=64))
    bare._queue = queue.SimpleQueue()
    bare._stopping = stopping
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bare._sock:
        bare._receive()
    seen = 0
    while not bare._queue.empty():
        wake_up = bare._queue.get()
        seen += len(wake_up.datagrams)
        assert all(wake_up.before.wall_ns < arrived < wake_up.pair.wall_ns for arrived in wake_up.datagrams)
    assert seen >= sum(arrivals)
