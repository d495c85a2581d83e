"""The time services and the relays of an embedded cluster: processes of their own, so that any can be killed alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from harness.errors import last_line
from harness.localcluster.messages import Service, ServiceOrder
from harness.localcluster.processes import Child, Children, known_environment, piped, reader_of
from harness.localcluster.relays.messages import LONGEST_LINE, Answer
from node_agent.contract import json_objects

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from pathlib import Path


NTP = "ntp"
CHRONOTICK = "chronotick"
MODULES = {NTP: "time_services.ntp_server", CHRONOTICK: "time_services.chronotick_server"}


class StartError(RuntimeError):
    """The cluster, or a service of it, cannot start: one line that says why."""


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
    """Start a service and wait until it listens. Raises StartError.

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
        raise StartError(last_line(log.read_text(encoding="utf-8", errors="replace"), silent))
    return Service(words[2], child.pid)


async def _announcement(popen: subprocess.Popen[bytes]) -> str:
    """Return the line in which a service says where it listens, or its last one; others may have come with Python."""
    reader = await reader_of(popen.stdout)
    line = ""
    while not line.startswith("listening ") and (data := await reader.readline()):
        line = data.decode(errors="replace").strip()
    return line


class RelayProcess:
    """The running relays: a process that answers one line with one."""

    def __init__(self, child: Child, answers: asyncio.StreamReader, log: Path) -> None:
        self.pid = child.pid
        self._questions = child.popen.stdin
        self._answers = answers
        self._log = log

    async def ask(self, line: bytes) -> str:
        """Return the answer to one line; that the relays ended is one, too."""
        with contextlib.suppress(BrokenPipeError):  # they ended; their log says why
            piped(self._questions).write(line)
        answer = (await self._answers.readline()).decode()
        if not answer.endswith("\n"):
            words = last_line(self._log.read_text(encoding="utf-8", errors="replace"), "they ended")
            return json_objects.write(Answer(problem=words))
        return answer.rstrip("\n")


async def start_relays(folder: Path, children: Children) -> RelayProcess:
    """Start the process, which ends with its standard input; it is asked later what to relay."""
    log = folder / "relays.log"
    with log.open("wb") as errors:
        child = children.spawn(
            [sys.executable, "-m", "harness.localcluster.relays"],
            env=known_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    return RelayProcess(child, await reader_of(child.popen.stdout, LONGEST_LINE), log)
