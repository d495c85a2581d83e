"""The real services, each in its own process on a loopback address that no other test uses."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.77.1"


@contextmanager
def running(module: str, *options: str, listen: str = f"{HOST}:0") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a service; yield its process and the address it says it listens on."""
    with subprocess.Popen(
        [sys.executable, "-m", module, "--listen", listen, "--die-with-parent", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        try:
            line = service.stdout.readline()
            assert line.startswith("listening "), line or service.stderr.read()
            yield service, line.split()[2]
        finally:
            service.terminate()


@pytest.fixture
def run_service():
    """Return the context manager that runs a service."""
    return running


@pytest.fixture(scope="module")
def ntp_address() -> Iterator[tuple[str, int]]:
    """Return host and port of a running NTP server."""
    with running("time_services.ntp_server") as (_, address):
        host, _, port = address.rpartition(":")
        yield host, int(port)


@pytest.fixture(scope="module")
def chronotick_url() -> Iterator[str]:
    """Return the base URL of a running ChronoTick server."""
    with running("time_services.chronotick_server") as (_, address):
        yield f"http://{address}"
