"""A ChronoTick server: ``python -m time_services.chronotick_server --listen HOST:PORT``.

``GET /health`` says that it lives; ``POST /get_time`` predicts the asking node's offset with its one sigma. Everything
it knows of a node is in that node's requests: the NTP samples the node took itself. With too few of them it has no
answer (503, ``warming_up``) rather than a number. What one client can take is limited: the size and time of a request,
requests a second (429), connections at once (503), so that none can keep the others from their answers.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from time_services.chronotick_request import RequestError, TimeRequest, read_request
from time_services.client_limits import Limits
from time_services.drift_filter import DriftFilter, Prediction
from time_services.listening import add_arguments, die_with_parent, open_streams, positive
from time_services.misbehaviour import Misbehaviour, misbehaviour
from time_services.web_service import body, refused, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

MAX_NODES = 1024
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
        return answer(nodes, read_request(await body(request)), wrong)

    async def bad_request(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"status": "bad_request", "detail": str(error)}, status_code=400)

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
        refusal = {"status": "warming_up", "detail": said.detail, "node_id": asked.node_id, "samples": said.samples}
        return JSONResponse(refusal, status_code=503)
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
    limits = Limits(
        connections_per_client=options.client_connections,
        requests_per_s=options.client_rate,
        burst=max(1, int(2 * options.client_rate)),
        request_s=options.request_seconds,
    )
    serve("chronotick_server", options.listen, application(Nodes(), options.misbehave), limits)


if __name__ == "__main__":
    main()
