"""How an HTTP service listens and serves: one process, its clients held to their limits, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from time_services.client_limits import Limits, Rates, limited_protocol
from time_services.listening import announce, bound_socket, format_address, give_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
KEEP_ALIVE_S = 120  # longer than any query interval, so that a node's connection survives from one query to the next
GRACE_S = 2
BACKLOG = 128


class _AnnouncingServer(uvicorn.Server):
    """A server that says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or []:
            announce("http", bound)


class RateLimit:
    """The web application ``app``, for clients whose address keeps to its rate."""

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app, self._rates = app, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse with 429."""
        client = scope.get("client")
        if client is None or self._rates.allow(client[0]):
            await self._app(scope, receive, send)
            return
        content = {"status": "refused", "detail": "expected fewer requests a second"}
        refusal = JSONResponse(content, status_code=429, headers={"Retry-After": "1", "Connection": "close"})
        await refusal(scope, receive, send)


def serve(
    program: str, address: tuple[str, int], application: Callable[[Any, Any, Any], Awaitable[None]], limits: Limits
) -> None:
    """Serve ``application`` at ``address``; where that cannot be had, end the program with one line."""
    try:
        bound = bound_socket(*address, socket.SOCK_STREAM)
        bound.listen(BACKLOG)
    except OSError as error:
        give_up(program, f"cannot listen on tcp {format_address(*address)}: {error.strerror}")
    config = uvicorn.Config(
        application,
        http=limited_protocol(limits),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    with bound:
        _AnnouncingServer(config).run(sockets=[bound])


async def body(request: Request) -> bytes:
    """Return a request's body. Raises HTTPException where it is too long."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            detail = f"body: expected at most {MAX_BODY_BYTES} bytes"
            raise HTTPException(413, detail, headers={"Connection": "close"})
    return bytes(content)


async def refused(_request: Request, error: Exception) -> JSONResponse:
    """Answer an HTTPException in JSON, as everything else is answered."""
    if not isinstance(error, HTTPException):
        raise error
    content = {"status": "refused", "detail": error.detail}
    return JSONResponse(content, status_code=error.status_code, headers=error.headers)
