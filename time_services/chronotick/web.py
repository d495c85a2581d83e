"""The ChronoTick server's HTTP side: paths, methods, sizes, rates.

*Rates.* An address has a budget. A node that its run's key names (a tag) has one of its own in its place, so that many
nodes behind one address keep their answers; but only once it has ``PROVEN_AFTER`` good requests behind it, paid for by
its address, and only where the address has at most ``nodes_per_address`` of them; one with more is counted as one
again. So an invented tag has to be paid for, and there is an end to what an address can take: its own rate and that of
so many nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from time_services.chronotick import metrics
from time_services.chronotick.request import RequestError, read_request
from time_services.http_messages import RefusedError, Request, Response, check_method, json_response, pay, whole_body

if TYPE_CHECKING:
    from time_services.chronotick.answer import Service
    from time_services.chronotick.node_states import NodeState
    from time_services.client_limits import Rates
    from time_services.http_messages import Answering

METHODS = {"/health": "GET", "/metrics": "GET", "/get_time": "POST"}


def application(service: Service, rates: Rates) -> Answering:
    """Return the HTTP service over ``service``, for clients that keep to their rates."""

    def answer(request: Request) -> Response:
        try:
            if METHODS.get(request.path) == "POST" == request.method:
                response = _get_time(service, rates, request)
            else:
                response = _look(service, rates, request)
        except RequestError as error:
            response = json_response(400, {"status": "bad_request", "detail": str(error)})
        except RefusedError as error:
            response = error.response
        service.statuses[response.status] += 1
        return response

    return answer


def _get_time(service: Service, rates: Rates, request: Request) -> Response:
    address = request.address
    try:
        asked = read_request(whole_body(request))
        state = service.known(asked, address) if asked is not None else None
    except (RequestError, RefusedError):
        pay(rates.allow(address))
        raise
    if state is not None and _has_own_rate(service, rates, state, address):
        pay(rates.allow_node(state.key))
    else:
        pay(rates.allow(address))
    return json_response(*service.answer(asked, address))


def _has_own_rate(service: Service, rates: Rates, state: NodeState, address: str) -> bool:
    """Tell whether a node pays for itself: a tagged, proven one of an address that has not too many of them."""
    tagged = service.nodes.tagged
    proven = state.proven and state.address == address and tagged.known(state.key) is state
    return proven and tagged.proven_of(address) <= rates.limits.nodes_per_address


def _look(service: Service, rates: Rates, request: Request) -> Response:
    pay(rates.allow(request.address))
    check_method(request, METHODS)
    if request.path == "/metrics":
        return Response(200, service.metrics().encode(), metrics.CONTENT_TYPE.encode())
    return json_response(200, service.health())
