"""What one client of an HTTP service may take: connections at once, requests a second, time for one request.

A client is an IP address, and a node that its run's key names is one more, beside its address (``chronotick.web`` says
when). One that takes more is told so (503, 429) or cut off, and the others keep their answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from time_services.http_connection import HttpConnection

    Buckets = OrderedDict[Hashable, tuple[float, float]]  # tokens left, as of when (s)

MAX_CLIENTS = 4096  # remembered at once


@dataclass(frozen=True)
class Limits:
    """The limits per client (and ``connections`` for all of them together)."""

    connections_per_client: int = 256
    connections: int = 768  # below the usual limit of 1024 open files
    requests_per_s: float = 500.0
    burst: int = 1_000
    node_requests_per_s: float = 100.0
    nodes_per_address: int = 128  # that may have a rate of their own
    request_s: float = 10.0  # from its first byte (or the connection) to its answer


class Rates:
    """A token bucket per client, the least recently asking forgotten first (its bucket had time to fill again)."""

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._now = now
        self._addresses: Buckets = OrderedDict()
        self._nodes: Buckets = OrderedDict()

    def __len__(self) -> int:
        return len(self._addresses)

    def allow(self, client: str) -> bool:
        """Take one request's token of an address; False if it has none left."""
        return self._take(self._addresses, client, self.limits.requests_per_s, self.limits.burst)

    def allow_node(self, node: Hashable) -> bool:
        """Take one request's token of a node that has a bucket of its own; False if it has none left."""
        rate = self.limits.node_requests_per_s
        return self._take(self._nodes, node, rate, max(1, int(2 * rate)))

    def _take(self, buckets: Buckets, client: Hashable, rate: float, burst: int) -> bool:
        now = self._now()
        tokens, since = buckets.pop(client, (float(burst), now))
        tokens = min(float(burst), tokens + (now - since) * rate)
        allowed = tokens >= 1.0
        buckets[client] = (tokens - 1.0 if allowed else tokens, now)
        while len(buckets) > MAX_CLIENTS:
            buckets.popitem(last=False)
        return allowed


class Connections:
    """The open connections of a service, and how many of them each client has."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: set[HttpConnection] = set()
        self._by_client: Counter[str] = Counter()
        self._none_open = asyncio.Event()
        self._none_open.set()

    def take(self, connection: HttpConnection, client: str) -> bool:
        """Take one more connection of a client; False if it, or all clients together, have as many as they may."""
        held = self._by_client.get(client, 0)
        if held >= self.limits.connections_per_client or len(self._open) >= self.limits.connections:
            return False
        self._by_client[client] = held + 1
        self._open.add(connection)
        self._none_open.clear()
        return True

    def give_back(self, connection: HttpConnection, client: str) -> None:
        """Forget a connection that has ended; one that was not taken is none."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
        if not self._open:
            self._none_open.set()

    async def end(self, grace_s: float) -> None:
        """Close all of them; what takes longer than ``grace_s`` is cut off."""
        for connection in list(self._open):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none_open.wait(), grace_s)
        for connection in list(self._open):
            connection.abort()
