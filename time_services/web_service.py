"""How an HTTP service listens and serves: one process, its clients held to their limits, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

from time_services.client_limits import Connections, Limits, Rates
from time_services.http_connection import HttpConnection
from time_services.http_messages import RefusedError, Request, Response, pay
from time_services.listening import announce, bound_socket, format_address, give_up

if TYPE_CHECKING:
    from time_services.http_messages import Answering

GRACE_S = 2.0
BACKLOG = 128


def limited(answer: Answering, rates: Rates) -> Answering:
    """Return the service ``answer`` for clients whose address keeps to its rate; the others are refused with 429."""

    def answer_or_refuse(request: Request) -> Response:
        try:
            pay(rates.allow(request.address))
        except RefusedError as error:
            return error.response
        return answer(request)

    return answer_or_refuse


def serve(program: str, address: tuple[str, int], answer: Answering, limits: Limits) -> None:
    """Serve ``answer`` at ``address``; where that cannot be had, end the program with one line."""
    try:
        bound = bound_socket(*address, socket.SOCK_STREAM)
        bound.listen(BACKLOG)
    except OSError as error:
        give_up(program, f"cannot listen on tcp {format_address(*address)}: {error.strerror}")
    with bound:
        asyncio.run(_serve_until_told(bound, answer, limits))


async def _serve_until_told(bound: socket.socket, answer: Answering, limits: Limits) -> None:
    loop = asyncio.get_running_loop()
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    connections = Connections(limits)
    server = await loop.create_server(lambda: HttpConnection(answer, connections), sock=bound, backlog=BACKLOG)
    announce("http", bound)
    await told_to_end.wait()
    server.close()
    await connections.end(GRACE_S)
