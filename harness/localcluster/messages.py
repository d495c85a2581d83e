"""What the parent and the supervisor of an embedded cluster tell each other: an order, and a report; one line each.

Where there are relays, more lines may follow: the parent's questions to them, and their answers.
What the supervisor says begins with a mark, for what starts with Python there (a ``sitecustomize``) may have spoken
before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARK: Final = "embedded cluster: "


@dataclass(frozen=True)
class HostOrder:
    """One host to serve: SSH on ``address`` (port 0: a free one) for the node ``node_id``."""

    node_id: str
    address: str
    port: int


@dataclass(frozen=True)
class ServiceOrder:
    """One time service to start: its name in this cluster, its kind, and its address (host:port, port 0: a free one).

    ``error_ms``: by how much an NTP server is to be ahead of the truth.
    """

    name: str
    kind: str
    address: str
    error_ms: float = 0.0


@dataclass(frozen=True)
class Order:
    """What the parent asks for."""

    hosts: list[HostOrder]
    services: list[ServiceOrder]
    deadline_s: float
    relays: bool = False  # whether a process for relays is wanted, which is told later what to relay


@dataclass(frozen=True)
class Service:
    """A running time service: its ``address`` (host:port) and the id of its own process."""

    address: str
    pid: int


@dataclass(frozen=True)
class Host:
    """A running host: where its SSH server listens, and its home folder."""

    node_id: str
    address: str
    port: int
    home: str


@dataclass(frozen=True)
class Ready:
    """What runs, once all of it does. ``epoch_ns`` is the true time (CLOCK_REALTIME) at the start."""

    root: str
    epoch_ns: int
    user: str
    identity_file: str
    known_hosts_file: str
    hosts: list[Host]
    services: dict[str, Service]
    relays_pid: int | None = None


@dataclass(frozen=True)
class Report:
    """What came of the start: what runs, or in one line the ``problem`` that kept the cluster from it."""

    ready: Ready | None
    problem: str = ""
