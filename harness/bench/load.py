"""How many questions a ChronoTick server answers, and how fast: nodes behind one address, over kept connections.

The server is one thread, so it has one core at most; what it used of it is in the table, as CPU time per question, for
machines that do other things besides. Every question holds one new NTP
sample, which is what a node asks that samples NTP as often as ChronoTick. Questions leave at their own times, whatever
became of those before: a slow answer makes the ones behind it late, and that counts as their latency.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.bench import crew, figures
from harness.errors import RunError
from node_agent.clocks import chronotick
from node_agent.contract.records import NTP, OK, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

NODES: Final = 64
PIECES: Final = 5  # memory is read that often
_RUN_ID: Final = "bench"


@dataclass(frozen=True)
class Piece:
    """A part of the load: answers a second, latencies (us), what was no answer, the server's memory after it."""

    answers_per_s: float
    latency: figures.Distribution | None
    refused: int
    rss_mb: float
    cpu_us: float  # of the server, per answer


class _Node:
    """One node: its connection and its clock."""

    def __init__(self, number: int, key: bytes) -> None:
        self._id = f"node{number}"
        self._tag = chronotick.tag(key, _RUN_ID, self._id)
        self.latencies_us: list[float] = []
        self.refused = 0

    async def connect(self, host: str, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection(host, port)

    async def ask(self, due_s: float) -> None:
        """Ask once; a question is due at ``due_s`` of the loop's clock."""
        raw_ns = time.monotonic_ns()
        sample = Sample(
            "n", NTP, "ntp:123", "", OK, raw_ns, raw_ns, 0, raw_at_ns=raw_ns - 50_000_000, offset_ns=12_500_000,
            delay_ns=150_000 + secrets.randbelow(60_000), bound_ns=110_000,
        )  # fmt: skip
        asked = chronotick.question(
            self._id, time.time_ns(), raw_ns, [sample], dual_model=True, run_id=_RUN_ID, tag=self._tag
        )
        body = json.dumps(asked, separators=(",", ":")).encode()
        self._writer.write(b"POST /get_time HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        self.latencies_us.append((asyncio.get_running_loop().time() - due_s) * 1e6)
        self.refused += not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))

    def close(self) -> None:
        self._writer.close()


async def _keep_asking(node: _Node, first_s: float, every_s: float, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count):
        due_s = first_s + number * every_s
        await asyncio.sleep(due_s - loop.time())  # a negative time is none
        await node.ask(due_s)


async def _load(address: str, pid: int, rate_hz: float, requests: int, say: Callable[[str], None]) -> list[Piece]:
    host, _, port = address.rpartition(":")
    key = secrets.token_bytes(32)
    nodes = [_Node(number, key) for number in range(NODES)]
    every_s = NODES / rate_hz
    loop = asyncio.get_running_loop()
    try:
        for node in nodes:
            await node.connect(host, int(port))
        pieces = []
        for _ in range(PIECES):
            begun_s, cpu_ns = loop.time(), crew.cpu_ns(pid)
            each = requests // PIECES // NODES
            starts = [begun_s + number * every_s / NODES for number in range(NODES)]
            await asyncio.gather(*map(_keep_asking, nodes, starts, [every_s] * NODES, [each] * NODES))
            took_s = loop.time() - begun_s
            usage = crew.Usage()
            usage.look(pid)
            latencies = [latency for node in nodes for latency in node.latencies_us]
            refused = sum(node.refused for node in nodes)
            cpu_us = (crew.cpu_ns(pid) - cpu_ns) / 1e3 / len(latencies)
            piece = Piece(
                len(latencies) / took_s, figures.distribution(latencies), refused, usage.rss_bytes / 1e6, cpu_us
            )
            pieces.append(piece)
            say(row(piece))
            for node in nodes:
                node.latencies_us.clear()
                node.refused = 0
        return pieces
    finally:
        for node in nodes:
            node.close()


HEADING: Final = (
    f"{'answers/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'refused':>8} {'RSS MB':>8} {'CPU us':>7}"
)


def row(piece: Piece) -> str:
    """Return a piece as a line of the table."""
    found = piece.latency
    times = [f"{value / 1e3:8.2f}" for value in (found.p50, found.p99, found.max)] if found else ["-".rjust(8)] * 3
    ends = f"{piece.refused:8} {piece.rss_mb:8.1f} {piece.cpu_us:7.0f}"
    return f"{piece.answers_per_s:10,.0f} {' '.join(times)} {ends}"


def measure(rate_hz: float, requests: int, say: Callable[[str], None]) -> list[Piece]:
    """Load a server with ``requests`` at ``rate_hz`` of all nodes together; say the table. Raises RunError."""
    if requests < NODES * PIECES:
        raise RunError(f"--requests: expected at least {NODES * PIECES}, got {requests}")
    with crew.server("chronotick_server") as (address, pid):
        try:
            say(f"{NODES} nodes behind one address, {rate_hz:,.0f} questions/s, {requests:,} in {PIECES} parts")
            say(HEADING)
            return asyncio.run(_load(address, pid, rate_hz, requests, say))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise RunError(f"chronotick_server: expected an answer to every question, got {error}") from error
