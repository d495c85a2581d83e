"""The ChronoTick server's HTTP side: paths, methods, sizes, rates. A plain ASGI application, for its speed.

*Rates.* An address has a budget. A node that its run's key names (a tag) has one of its own in its place, so that many
nodes behind one address keep their answers; but only once it has ``PROVEN_AFTER`` good requests behind it, paid for by
its address, and only where the address has at most ``nodes_per_address`` of them; one with more is counted as one
again. So an invented tag has to be paid for, and there is an end to what an address can take: its own rate and that of
so many nodes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from time_services.chronotick import metrics
from time_services.chronotick.request import RequestError, read_request
from time_services.web_service import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from time_services.chronotick.answer import Service
    from time_services.chronotick.node_states import NodeState
    from time_services.client_limits import Rates

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

PATHS = {"/health": "GET", "/metrics": "GET", "/get_time": "POST"}
CLOSE = ((b"connection", b"close"),)


class RefusedError(Exception):
    """A request that is not answered: its HTTP status, why, and more headers."""

    def __init__(self, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


def application(service: Service, rates: Rates) -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """Return the web application over ``service``, for clients that keep to their rates."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        address = client[0] if client else ""
        said: dict[str, Any] | str
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            if PATHS.get(scope["path"]) == "POST" == scope["method"]:
                status, said = await _get_time(service, rates, address, receive)
            else:
                status, said = 200, _look(service, rates, address, scope)
        except RequestError as error:
            status, said = 400, {"status": "bad_request", "detail": str(error)}
        except RefusedError as error:
            status, said, headers = error.status, {"status": "refused", "detail": str(error)}, error.headers
        service.statuses[status] += 1
        if isinstance(said, str):
            kind, body = metrics.CONTENT_TYPE.encode(), said.encode()
        else:
            kind = b"application/json"
            body = json.dumps(said, separators=(",", ":")).encode()
        lead = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": lead})
        await send({"type": "http.response.body", "body": body})

    return app


async def _get_time(service: Service, rates: Rates, address: str, receive: Receive) -> tuple[int, dict[str, Any]]:
    try:
        asked = read_request(await _body(receive))
        state = service.known(asked, address) if asked is not None else None
    except (RequestError, RefusedError):
        _pay(rates.allow(address))
        raise
    if state is not None and _has_own_rate(service, rates, state, address):
        _pay(rates.allow_node(state.key))
    else:
        _pay(rates.allow(address))
    return service.answer(asked, address)


def _has_own_rate(service: Service, rates: Rates, state: NodeState, address: str) -> bool:
    """Tell whether a node pays for itself: a tagged, proven one of an address that has not too many of them."""
    tagged = service.nodes.tagged
    proven = state.proven and state.address == address and tagged.known(state.key) is state
    return proven and tagged.proven_of(address) <= rates.limits.nodes_per_address


def _pay(allowed: bool) -> None:
    if not allowed:
        raise RefusedError(429, "expected fewer requests a second", ((b"retry-after", b"1"), *CLOSE))


def _look(service: Service, rates: Rates, address: str, scope: Any) -> dict[str, Any] | str:
    _pay(rates.allow(address))
    method = PATHS.get(scope["path"])
    if method is None:
        raise RefusedError(404, f"expected one of {', '.join(PATHS)}")
    if scope["method"] != method:
        raise RefusedError(405, f"expected {method}", ((b"allow", method.encode()),))
    return service.metrics() if scope["path"] == "/metrics" else service.health()


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "body: expected all of it, got the connection's end")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise RefusedError(413, f"body: expected at most {MAX_BODY_BYTES} bytes", CLOSE)
        if not message.get("more_body", False):
            return bytes(body)
