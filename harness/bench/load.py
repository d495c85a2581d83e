"""How many questions a ChronoTick server answers, and how fast: nodes behind one address, over kept connections.

The server is one thread, so it has one core at most. What it used of that is in the table as CPU time per answer. For
a machine that does other things besides, there is how long the server could have run while others had the CPUs
("waited"), and what the load itself took ("of load"): where that nears a core, it is the load that was measured. Nodes
ask at even intervals, each from an instant that chance chose, as nodes do that were started one after another. A
question is due at its own time, whatever became of those before: a slow answer makes the ones behind it late, and that
counts as their latency.
"""

from __future__ import annotations

import heapq
import os
import random
import secrets
import select
import time
from array import array
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from harness.bench import crew, figures
from harness.bench.asking_node import AskingNode
from harness.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NODES: Final = 64
PIECES: Final = 10  # memory is read that often
QUESTIONS_PER_SAMPLE: Final = 10  # as in configs/worker_config.yaml: ChronoTick every second, NTP every ten
OWN_MODEL: Final = "kalman_bank"  # of the server, for nodes that do not ask for the dual one
_SILENCE_S: Final = 30.0  # without any answer
_MEGABYTE: Final = 1e6


@dataclass(frozen=True)
class Load:
    """What is asked: questions a second of all nodes together, how many, by nodes that are so configured."""

    rate_hz: float
    requests: int
    questions_per_sample: int = QUESTIONS_PER_SAMPLE
    dual_model: bool = True

    @property
    def described(self) -> str:
        """Return it as a sentence."""
        model = "dual" if self.dual_model else OWN_MODEL
        return (
            f"{NODES} nodes behind one address, {self.rate_hz:,.0f} questions/s, {self.requests:,} in {PIECES} parts; "
            f"model {model}, a new NTP sample in every {self.questions_per_sample} questions of a node"
        )


@dataclass(frozen=True)
class Piece:
    """A part of the load: answers a second, latencies (us), answers without a number, the server's memory after it.

    Per answer: ``server_cpu_us`` the server's CPU time, ``server_waited_us`` how long it could have run while others
    had the CPUs, ``load_cpu_us`` the load's own CPU time.
    """

    answers_per_s: float
    latency: figures.Distribution
    refused: int
    rss_mb: float
    server_cpu_us: float
    server_waited_us: float
    load_cpu_us: float


HEADING: Final = (
    f"{'answers/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99.9 ms':>8} {'max ms':>8} {'refused':>8} {'RSS MB':>8} "
    f"{'CPU us':>7} {'waited':>7} {'of load':>7} {'load avg':>8}"
)


def row(piece: Piece) -> str:
    """Return a piece as a line of the table, with the machine's load average of now."""
    latency = piece.latency
    times = " ".join(f"{value / 1e3:8.2f}" for value in (latency.p50, latency.p99, latency.p999, latency.max))
    costs = f"{piece.refused:8} {piece.rss_mb:8.1f} {piece.server_cpu_us:7.0f} "
    costs += f"{piece.server_waited_us:7.0f} {piece.load_cpu_us:7.0f}"
    return f"{piece.answers_per_s:10,.0f} {times} {costs} {os.getloadavg()[0]:8.2f}"


def measure(load: Load, say: Callable[[str], None]) -> list[Piece]:
    """Load a server; say the table. Raises RunError."""
    if load.requests < NODES * PIECES:
        raise RunError(f"--requests: expected at least {NODES * PIECES}, got {load.requests}")
    key = secrets.token_bytes(32)
    new_node = partial(AskingNode, dual_model=load.dual_model, questions_per_sample=load.questions_per_sample)
    with crew.server("chronotick_server", "--model", OWN_MODEL) as (address, pid):
        host, _, port = address.rpartition(":")
        nodes = [new_node(number, key) for number in range(NODES)]
        connected = []
        try:
            for node in nodes:
                node.connect(host, int(port))
                connected.append(node)
            say(load.described)
            say(HEADING)
            pieces = []
            for _ in range(PIECES):
                pieces.append(_piece(nodes, load, pid))
                say(row(pieces[-1]))
        except OSError as error:
            raise RunError(f"chronotick_server: expected an answer to every question, got {error}") from error
        finally:
            for node in connected:
                node.close()
    return pieces


def _piece(nodes: Sequence[AskingNode], load: Load, pid: int) -> Piece:
    every_s = NODES / load.rate_hz
    server_cpu_ns, server_waited_ns = crew.cpu_ns(pid), crew.waited_ns(pid)
    load_cpu_ns, begun_s = time.process_time_ns(), time.monotonic()
    for node in nodes:
        node.left = load.requests // PIECES // NODES
        node.due_s = begun_s + random.random() * every_s
    latencies_us, refused = _ask_all(nodes, every_s)
    took_s = time.monotonic() - begun_s
    answers = len(latencies_us)
    usage = crew.Usage()
    usage.look(pid)
    latency = figures.distribution(latencies_us)
    if latency is None:
        raise RunError("chronotick_server: expected answers, got none")
    return Piece(
        answers / took_s,
        latency,
        refused,
        usage.rss_bytes / _MEGABYTE,
        (crew.cpu_ns(pid) - server_cpu_ns) / 1e3 / answers,
        (crew.waited_ns(pid) - server_waited_ns) / 1e3 / answers,
        (time.process_time_ns() - load_cpu_ns) / 1e3 / answers,
    )


def _ask_all(nodes: Sequence[AskingNode], every_s: float) -> tuple[array[float], int]:
    """Let every node ask what it has left, at its times; return the latencies in us, and how many were refused."""
    latencies_us = array("d")
    refused = 0
    idle = [(node.due_s, number) for number, node in enumerate(nodes)]
    heapq.heapify(idle)
    waiting: dict[int, AskingNode] = {}  # by the number of their socket
    while idle or waiting:
        while idle and idle[0][0] <= time.monotonic():
            node = nodes[heapq.heappop(idle)[1]]
            node.ask()
            waiting[node.socket.fileno()] = node
        pause_s = max(idle[0][0] - time.monotonic(), 0.0) if idle else _SILENCE_S
        ready, _, _ = select.select(waiting, (), (), pause_s)  # epoll counts in whole ms
        if not ready and not idle:
            raise TimeoutError(f"no answer for {_SILENCE_S:g} s")
        for number in ready:
            node = waiting[number]
            status = node.answered()
            if status is None:
                continue
            del waiting[number]
            latencies_us.append((time.monotonic() - node.due_s) * 1e6)
            refused += status != 200
            node.left -= 1
            if node.left:
                node.due_s += every_s
                heapq.heappush(idle, (node.due_s, nodes.index(node)))
    return latencies_us, refused
