"""A service serves on when nobody reads what it says, or the disk below that is full; it ends when it is told to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import httpx
import ntplib
import pytest

HOST = "127.0.77.1"

PATIENCE_S = 60.0


def answers_ntp(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        return ntplib.NTPClient().request(host, port=int(port), timeout=1).mode == 4
    except (ntplib.NTPException, OSError):
        return False


def answers_http(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/health", timeout=1).json()["status"] == "healthy"
    except httpx.HTTPError:
        return False


SERVICES = {
    "ntp_server": (socket.SOCK_DGRAM, "--listen={address}", answers_ntp),
    "ntp_proxy": (socket.SOCK_DGRAM, "--map={address}={server}", answers_ntp),
    "chronotick_server": (socket.SOCK_STREAM, "--listen={address}", answers_http),
}


def free_address(kind: socket.SocketKind) -> str:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HOST, 0))
        return f"{HOST}:{sock.getsockname()[1]}"


def output_to(place: str) -> int:
    """Return a file that takes no line: a full disk, or a pipe whose reader has gone."""
    if place == "full disk":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("place", ["full disk", "no reader", "closed"])
@pytest.mark.parametrize("service", list(SERVICES))
def test_it_serves_on(service: str, place: str, ntp_address: tuple[str, int]) -> None:
    kind, option, answers = SERVICES[service]
    address = free_address(kind)
    server = "{}:{}".format(*ntp_address)
    command = [sys.executable, "-m", f"time_services.{service}", option.format(address=address, server=server)]
    if place == "closed":
        command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    output = output_to(place)
    with subprocess.Popen(command, stdout=output, stderr=output) as process:
        os.close(output)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not answers(address):
                assert process.poll() is None, f"it ended with {process.returncode}"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            process.terminate()
        assert process.wait(PATIENCE_S) == 0
