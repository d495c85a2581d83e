"""The time services of an embedded cluster, each a process of its own, so that any can be killed alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from harness.errors import last_line
from harness.invocation.environment import known_environment
from harness.localcluster.messages import Service, ServiceOrder
from harness.localcluster.processes import output_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.localcluster.processes import Children

NTP = "ntp"
CHRONOTICK = "chronotick"
MODULES = {NTP: "time_services.ntp_server", CHRONOTICK: "time_services.chronotick_server"}


class ServiceError(RuntimeError):
    """A service that did not start: which, and what it said."""


def service_orders(ntp_servers: Sequence[str], error_ms: Sequence[float], chronotick: str | None) -> list[ServiceOrder]:
    """Return which services to start: NTP servers, named ``ntp``, ``ntp2`` and so on, and ChronoTick.

    ``error_ms`` says by how much each NTP server is ahead of the truth; it may be empty, then none is.
    """
    errors = error_ms or [0.0] * len(ntp_servers)
    orders = [
        ServiceOrder(NTP if place == 1 else f"{NTP}{place}", NTP, address, error)
        for place, (address, error) in enumerate(zip(ntp_servers, errors, strict=True), 1)
    ]
    return orders if chronotick is None else [*orders, ServiceOrder(CHRONOTICK, CHRONOTICK, chronotick)]


def kind_of(name: str) -> str:
    """Return the kind of a service from its name in a cluster."""
    return CHRONOTICK if name == CHRONOTICK else NTP


async def start_service(order: ServiceOrder, folder: Path, children: Children) -> Service:
    """Start a service and wait until it listens. Raises ServiceError.

    It is never restarted: what happens to a run when a service dies is something to see, not to hide.
    """
    log = folder / f"{order.name}.log"
    wrong = ["--error-ms", repr(order.error_ms)] if order.error_ms else []
    with log.open("wb") as errors:
        child = children.spawn(
            [sys.executable, "-m", MODULES[order.kind], "--listen", order.address, "--die-with-parent", *wrong],
            cwd=folder,
            env=known_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    line = await _announcement(child.popen)
    words = line.split()
    if len(words) != 3 or words[0] != "listening":
        silent = f"{order.name}: expected 'listening KIND HOST:PORT', got {line!r}"
        raise ServiceError(last_line(log.read_text(encoding="utf-8", errors="replace"), silent))
    return Service(words[2], child.pid)


async def _announcement(popen: subprocess.Popen[bytes]) -> str:
    """Return the line in which a service says where it listens, or its last one; others may have come with Python."""
    reader = await output_of(popen)
    line = ""
    while not line.startswith("listening ") and (data := await reader.readline()):
        line = data.decode(errors="replace").strip()
    return line
