"""The options of an agent started by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node_agent.clocks.sources import KINDS
from node_agent.contract.plan import WORKER

if TYPE_CHECKING:
    import argparse

EVERYWHERE = "0.0.0.0"  # noqa: S104 - started by hand, an agent is told by no one which of its addresses to use
OF_BOTH_FAMILIES = "::"


def add(command: argparse.ArgumentParser, role: str) -> None:
    """Add the options of a hand-started agent."""
    command.add_argument("--output", help="CSV file to write; its journals go to a folder beside it")
    command.add_argument("--node-id", default=role, help="name of this node in the rows (default: the role)")
    command.add_argument("--listen-host", help="address to bind (default: every one of IPv4); :: is every one")
    for kind in KINDS:
        way = kind.by_hand
        text: dict[str, Any] = {} if way.takes_text else {"action": "store_const", "const": ""}
        command.add_argument(way.option, dest=f"source_{kind.name}", help=way.help, **text)
    command.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    if role == WORKER:
        command.add_argument("--listen-port", type=int, default=9000, help="UDP port (default 9000)")
    else:
        command.add_argument("--workers", help="H:P,H:P")
        command.add_argument("--num-events", type=int, default=10, help="how many events to send (default 10)")
        command.add_argument("--delay-ms", type=float, default=100.0, help="time between two events (default 100)")
