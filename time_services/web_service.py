"""How an HTTP service listens and serves: one process, its clients held to their limits, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from time_services.client_limits import Limits, RateLimit, limited_protocol
from time_services.listening import announce, bound_socket, format_address, give_up

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

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


def serve(program: str, address: tuple[str, int], application: Starlette, limits: Limits) -> None:
    """Serve ``application`` at ``address``; where that cannot be had, end the program with one line."""
    try:
        bound = bound_socket(*address, socket.SOCK_STREAM)
        bound.listen(BACKLOG)
    except OSError as error:
        give_up(program, f"cannot listen on tcp {format_address(*address)}: {error.strerror}")
    config = uvicorn.Config(
        RateLimit(application, limits),
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
    said = {"status": "refused", "detail": error.detail}
    return JSONResponse(said, status_code=error.status_code, headers=error.headers)
