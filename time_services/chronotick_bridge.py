"""The ChronoTick daemon's record over HTTP: ``python -m time_services.chronotick_bridge --listen 127.0.0.1:PORT``.

``POST /get_time`` answers with what the daemon wrote into this node's shared memory, and ``GET /health`` says whether
there is something to answer with. It predicts the clock of this very node, whoever asks, so the ``node_id`` of a
request is echoed where that came from this node; usually a bridge listens on the loopback alone. What may not be
believed is no answer (503) but a reason.
"""

from __future__ import annotations

import ipaddress
import json
import time
from typing import TYPE_CHECKING, Any

from time_services import kernel_clock
from time_services.chronotick_record import PATH, Refused, look
from time_services.client_limits import Limits, Rates
from time_services.http_messages import RefusedError, Request, Response, check_method, json_response, whole_body
from time_services.listening import OneLineParser, add_arguments, die_with_parent, open_streams
from time_services.web_service import limited, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from time_services.http_messages import Answering

MODEL = "chronotick_daemon"
METHODS = {"/health": "GET", "/get_time": "POST"}


def answer(path: str) -> dict[str, Any] | Refused:
    """Return what the record at ``path`` says now, in the words of an answer to ``POST /get_time``, or why nothing.

    Offset and sigma hold at the record's prediction time. The record's drift is against the wall clock; an answer's is
    against the raw oscillator, so what the kernel lets the wall clock run faster is added. ``asymmetry_ms`` is what a
    reader is off by for that until now, and a float's rounding. Where nobody knows the kernel's frequency there is no
    drift, and a reader falls back to its own limit.
    """
    record = look(path)
    if isinstance(record, Refused):
        return record
    wall_ns = time.time_ns()
    if outcome := record.outcome(wall_ns):
        return Refused(outcome)
    frequency_ppm = kernel_clock.frequency_ppm()
    carried_s = abs(wall_ns - record.when_ns) / 1e9 * abs(frequency_ppm or 0.0) * 1e-6
    claims = {} if frequency_ppm is None else {
        "drift_ppm": ((1 + record.drift) * (1 + frequency_ppm * 1e-6) - 1) * 1e6,
        "drift_uncertainty_ppm": record.drift_sigma * 1e6,
    }  # fmt: skip
    return {
        "offset_ms": record.offset_s * 1e3,
        "uncertainty_ms": record.sigma_s * 1e3,
        "asymmetry_ms": (carried_s + record.quantum_s) * 1e3,
        "prediction_time_ns": record.when_ns,
        "valid_until_ns": record.until_ns,
        "model": MODEL,
        **claims,
    }


def application(path: str) -> Answering:
    """Return the HTTP service over the record at ``path``."""

    def answer_request(request: Request) -> Response:
        try:
            check_method(request, METHODS)
            return _get_time(path, request) if request.path == "/get_time" else _health(path)
        except RefusedError as error:
            return error.response

    return answer_request


def _health(path: str) -> Response:
    said = answer(path)
    if isinstance(said, Refused):
        return json_response(503, {"status": said.outcome, "model": MODEL})
    return json_response(200, {"status": "healthy", "model": MODEL})


def _get_time(path: str, request: Request) -> Response:
    try:
        asked = json.loads(whole_body(request) or b"{}")
        node_id = asked.get("node_id")
    except (ValueError, AttributeError, RecursionError):
        return json_response(400, {"status": "bad_request", "detail": "expected a JSON object"})
    echo = {"node_id": node_id} if node_id is not None and _is_of_this_node(request) else {}
    said = answer(path)
    if isinstance(said, Refused):
        return json_response(503, {"status": said.outcome, **echo})
    return json_response(200, {**said, **echo})


def _is_of_this_node(request: Request) -> bool:
    """Tell whether a request came over the loopback, or from the address that it went to: from one's own host."""
    address = request.address
    return bool(address) and (address == request.asked_address or ipaddress.ip_address(address).is_loopback)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    open_streams()
    parser = OneLineParser(prog="chronotick_bridge", description="Serve the ChronoTick daemon's record.")
    add_arguments(parser)
    parser.add_argument("--shm", default=PATH, metavar="PATH", help=f"the daemon's record (default {PATH})")
    options = parser.parse_args(argv)
    if options.die_with_parent:
        die_with_parent()
    limits = Limits()
    serve("chronotick_bridge", options.listen, limited(application(options.shm), Rates(limits)), limits)


if __name__ == "__main__":
    main()
