"""The two time services of an embedded cluster, each a process of its own, so that either can be killed alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import time_services
from harness.localcluster.messages import Service

if TYPE_CHECKING:
    from harness.localcluster.processes import Children

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
    root = str(Path(time_services.__file__).parent.parent)
    with log.open("wb") as errors:
        child = children.spawn(
            [sys.executable, "-m", MODULES[name], "--listen", address, "--die-with-parent"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    line = await _first_line(child.popen)
    words = line.split()
    if len(words) != 3 or words[0] != "listening":
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ServiceError(said[-1] if said else f"{name}: expected 'listening KIND HOST:PORT', got {line!r}")
    return Service(words[2], child.pid)


async def _first_line(popen: subprocess.Popen[bytes]) -> str:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), popen.stdout)
    return (await reader.readline()).decode(errors="replace").strip()
