"""The two time services of an embedded cluster, each a process of its own, so that either can be killed alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from harness.errors import last_line
from harness.invocation.environment import known_environment
from harness.localcluster.messages import Service
from harness.localcluster.processes import Children, output_of

if TYPE_CHECKING:
    from pathlib import Path


NTP = "ntp"
CHRONOTICK = "chronotick"
MODULES = {NTP: "time_services.ntp_server", CHRONOTICK: "time_services.chronotick_server"}


class ServiceError(RuntimeError):
    """A service that did not start: which, and what it said."""


async def start_service(name: str, address: str, folder: Path, children: Children) -> Service:
    """Start a service on ``address`` (host:port, port 0: a free one) and wait until it listens. Raises ServiceError.

    It is never restarted: what happens to a run when a service dies is something to see, not to hide.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as errors:
        child = children.spawn(
            [sys.executable, "-m", MODULES[name], "--listen", address, "--die-with-parent"],
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
        silent = f"{name}: expected 'listening KIND HOST:PORT', got {line!r}"
        raise ServiceError(last_line(log.read_text(encoding="utf-8", errors="replace"), silent))
    return Service(words[2], child.pid)


async def _announcement(popen: subprocess.Popen[bytes]) -> str:
    """Return the line in which a service says where it listens, or its last one; others may have come with Python."""
    reader = await output_of(popen)
    line = ""
    while not line.startswith("listening ") and (data := await reader.readline()):
        line = data.decode(errors="replace").strip()
    return line
