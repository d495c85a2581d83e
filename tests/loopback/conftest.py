"""Crews of agents that are gone when their test is over."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from agents import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def crew(tmp_path) -> Iterator[Crew]:
    """Return a maker of agents without clock sources."""
    made = Crew(tmp_path / "runs")
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """Return a UDP socket to send with, on an address of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.66.2", 0))
        sock.settimeout(10)
        yield sock
