"""A ChronoTick server: ``python -m time_services.chronotick_server --listen HOST:PORT``.

``GET /health`` says that it lives; ``POST /get_time`` predicts the asking node's offset with its one sigma. Everything
it knows of a node is in that node's requests: the NTP samples the node took itself. With too few of them it has no
answer (503, ``warming_up``) rather than a number. What one client can take is limited: the size and time of a request,
requests a second (429), connections at once (503), so that none can keep the others from their answers.
"""

from __future__ import annotations

import argparse
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from time_services.chronotick_request import RequestError, TimeRequest, read_request
from time_services.client_limits import Limits, RateLimit, limited_protocol
from time_services.drift_filter import DriftFilter, Prediction
from time_services.listening import (
    add_arguments,
    announce,
    bound_socket,
    die_with_parent,
    format_address,
    give_up,
    open_streams,
    positive,
)
from time_services.misbehaviour import Misbehaviour, misbehaviour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

MAX_BODY_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_NODES = 1024
KEEP_ALIVE_S = 120  # longer than any query interval, so that a node's connection survives from one query to the next
GRACE_S = 2
BACKLOG = 128
MODEL = "two_state_kalman"


class Nodes:
    """One filter per node, the least recently asking forgotten first."""

    def __init__(self, limit: int = MAX_NODES) -> None:
        self.limit = limit
        self._filters: OrderedDict[str, DriftFilter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._filters)

    def of(self, node_id: str) -> DriftFilter:
        """Return the node's filter, a new one if it never asked (or was forgotten)."""
        found = self._filters.setdefault(node_id, DriftFilter())
        self._filters.move_to_end(node_id)
        while len(self._filters) > self.limit:
            self._filters.popitem(last=False)
        return found


def application(nodes: Nodes, wrong: Misbehaviour | None = None) -> Starlette:
    """Return the web application over ``nodes``, honest unless told to be ``wrong``."""

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "healthy", "model": MODEL, "nodes": len(nodes)})

    async def get_time(request: Request) -> JSONResponse:
        return answer(nodes, read_request(await _body(request)), wrong)

    async def bad_request(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"status": "bad_request", "detail": str(error)}, status_code=400)

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        body = {"status": "refused", "detail": error.detail}
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    return Starlette(
        routes=[Route("/health", health, methods=["GET"]), Route("/get_time", get_time, methods=["POST"])],
        exception_handlers={RequestError: bad_request, HTTPException: refused},
    )


def answer(nodes: Nodes, asked: TimeRequest, wrong: Misbehaviour | None = None) -> JSONResponse:
    """Learn from the request's samples and predict the node's offset (reference - local wall) at its instant."""
    drift_filter = nodes.of(asked.node_id)
    new = drift_filter.feed(asked.instant_ns, asked.raw_ns, asked.samples)
    said = drift_filter.predict(asked.raw_ns)
    if not isinstance(said, Prediction):
        body = {"status": "warming_up", "detail": said.detail, "node_id": asked.node_id, "samples": said.samples}
        return JSONResponse(body, status_code=503)
    answered = {
        "offset_ms": said.offset_s * 1e3,
        "uncertainty_ms": said.sigma_s * 1e3,
        "node_id": asked.node_id,
        "prediction_time_ns": asked.instant_ns,
        "drift_ppm": said.drift * 1e6,
        "model": MODEL,
        "samples": said.samples,
        "new_samples": new,
        "newest_sample_age_ms": said.newest_age_s * 1e3,
        "restarts": drift_filter.restarts,
    }
    return JSONResponse(answered if wrong is None else wrong.bend(answered))


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            detail = f"body: expected at most {MAX_BODY_BYTES} bytes"
            raise HTTPException(413, detail, headers={"Connection": "close"})
    return bytes(body)


class _AnnouncingServer(uvicorn.Server):
    """A server that says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or []:
            announce("http", bound)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    open_streams()
    parser = argparse.ArgumentParser(prog="chronotick_server", description="Predict nodes' clocks from their samples.")
    add_arguments(parser)
    usual = Limits()
    for name, value, text in (
        ("--client-connections", usual.connections_per_client, "connections one client may have at once"),
        ("--client-rate", usual.requests_per_s, "requests a second one client may make; twice as many in a burst"),
        ("--request-seconds", usual.request_s, "how long one request may take to come in and be answered"),
    ):
        parser.add_argument(name, type=positive(type(value)), default=value, help=f"{text} (default {value:g})")
    wrong_help = "answer wrongly on purpose, to test a judge: KIND:AMOUNT, like overconfident:100 (see misbehaviour.py)"
    parser.add_argument("--misbehave", type=misbehaviour, metavar="KIND:AMOUNT", help=wrong_help)
    options = parser.parse_args(argv)
    if options.die_with_parent:
        die_with_parent()
    host, port = options.listen
    try:
        bound = bound_socket(host, port, socket.SOCK_STREAM)
        bound.listen(BACKLOG)
    except OSError as error:
        give_up("chronotick_server", f"cannot listen on tcp {format_address(host, port)}: {error.strerror}")
    limits = Limits(
        connections_per_client=options.client_connections,
        requests_per_s=options.client_rate,
        burst=max(1, int(2 * options.client_rate)),
        request_s=options.request_seconds,
    )
    config = uvicorn.Config(
        RateLimit(application(Nodes(), options.misbehave), limits),
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


if __name__ == "__main__":
    main()
