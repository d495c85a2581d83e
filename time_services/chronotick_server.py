"""A ChronoTick server: ``python -m time_services.chronotick_server --listen HOST:PORT``.

``GET /health`` says that it lives, ``GET /metrics`` what it did so far; ``POST /get_time`` predicts the asking node's
offset with its one sigma (see ``chronotick.answer``). What one client can take is limited: the size and time of a
request, requests a second (429), connections at once (503), so that none can keep the others from their answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from time_services.chronotick.answer import Service
from time_services.chronotick.own_clock import INTERVAL_S, OwnClock
from time_services.chronotick.web import application
from time_services.client_limits import Limits, Rates
from time_services.listening import (
    OneLineParser,
    add_arguments,
    die_with_parent,
    format_address,
    open_streams,
    parse_address,
    positive,
)
from time_services.misbehaviour import misbehaviour
from time_services.models import DEFAULT, MODELS
from time_services.ntp_packet import BELIEVED_STRATUM
from time_services.ntp_server import stratum
from time_services.web_service import serve

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    open_streams()
    parser = OneLineParser(prog="chronotick_server", description="Predict nodes' clocks from their samples.")
    add_arguments(parser)
    usual = Limits()
    for name, value, text in (
        ("--client-connections", usual.connections_per_client, "connections one client may have at once"),
        ("--client-rate", usual.requests_per_s, "requests a second one address may make; twice as many in a burst"),
        ("--node-rate", usual.node_requests_per_s, "the same for one node of a run with a key, beside its address's"),
        ("--request-seconds", usual.request_s, "how long one request may take to come in and be answered"),
    ):
        parser.add_argument(name, type=positive(type(value)), default=value, help=f"{text} (default {value:g})")
    parser.add_argument("--model", choices=sorted(MODELS), default=DEFAULT, help=f"how to predict ({DEFAULT})")
    ntp_help = "an NTP server to ask for this machine's own clock, which a request {} is about; may be repeated"
    parser.add_argument(
        "--ntp-server", type=parse_address, action="append", default=[], metavar="HOST:PORT", help=ntp_help
    )
    parser.add_argument(
        "--ntp-interval", type=positive(float), help=f"s between questions to it (default {INTERVAL_S:g})"
    )
    parser.add_argument(
        "--max-stratum", type=stratum, help=f"beyond it an NTP server is not believed (default {BELIEVED_STRATUM})"
    )
    wrong_help = (
        "answer wrongly on purpose, to test a judge: KIND:AMOUNT, as overconfident:100 (misbehaviour.py); not to {}"
    )
    parser.add_argument("--misbehave", type=misbehaviour, metavar="KIND:AMOUNT", help=wrong_help)
    options = parser.parse_args(argv)
    for name, value in (("--ntp-interval", options.ntp_interval), ("--max-stratum", options.max_stratum)):
        if value is not None and not options.ntp_server:
            parser.error(f"{name}: expected --ntp-server beside it, got none")
    if twice := [server for server in options.ntp_server if options.ntp_server.count(server) > 1]:
        parser.error(f"--ntp-server: expected each one once, got {format_address(*twice[0])} twice")
    if options.die_with_parent:
        die_with_parent()
    limits = Limits(
        connections_per_client=options.client_connections,
        requests_per_s=options.client_rate,
        burst=max(1, int(2 * options.client_rate)),
        node_requests_per_s=options.node_rate,
        request_s=options.request_seconds,
    )
    own = None
    if options.ntp_server:
        interval_s, max_stratum = options.ntp_interval or INTERVAL_S, options.max_stratum or BELIEVED_STRATUM
        own = OwnClock(options.ntp_server, MODELS[options.model](), interval_s, max_stratum)
        own.start()
    service = Service(options.model, own, options.misbehave)
    serve("chronotick_server", options.listen, application(service, Rates(limits)), limits)
    if own is not None:
        own.stop()


if __name__ == "__main__":
    main()
