"""What one client of an HTTP service may take: connections at once, requests a second, time for one request.

A client is an IP address, and a node that its run's key names is one more, beside its address (``chronotick.web`` says
when). One that takes more is told so (503, 429) or cut off, and the others keep their answers.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    Buckets = OrderedDict[Hashable, tuple[float, float]]  # tokens left, as of when (s)

MAX_CLIENTS = 4096  # remembered at once
_BUSY = b'{"status": "refused", "detail": "expected fewer connections at once"}'
BUSY_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BUSY), _BUSY)
)


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


def limited_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits on connections and on the time a request may take."""
    open_by_client: dict[str, int] = {}

    class LimitedProtocol(H11Protocol):
        _client = ""
        _refused = False
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            self._client = (transport.get_extra_info("peername") or ("",))[0]
            held = open_by_client.get(self._client, 0)
            if held >= limits.connections_per_client or sum(open_by_client.values()) >= limits.connections:
                self._refused = True
                transport.write(BUSY_RESPONSE)
                transport.close()
                return
            open_by_client[self._client] = held + 1
            super().connection_made(transport)
            self._expect_request()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            self._expect_request()
            super().data_received(data)

        def eof_received(self) -> None:
            if not self._refused:
                super().eof_received()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._refused:
                return
            self._forget_request()
            left = open_by_client[self._client] - 1
            if left:
                open_by_client[self._client] = left
            else:
                del open_by_client[self._client]
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self._forget_request()
            super().on_response_complete()

        def pause_writing(self) -> None:
            if not self._refused:
                super().pause_writing()

        def resume_writing(self) -> None:
            if not self._refused:
                super().resume_writing()

        def _expect_request(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(limits.request_s, self._cut_off)

        def _forget_request(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _cut_off(self) -> None:
            transport: Any = self.transport
            transport.abort()

    return LimitedProtocol
