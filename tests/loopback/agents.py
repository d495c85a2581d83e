"""Real agents in processes of their own on 127.0.66.x, from real plans, ended by their own pid."""

from __future__ import annotations

import csv
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awaiting import until

from node_agent import lifecycle
from node_agent.contract import records
from node_agent.contract.plan import (
    COORDINATOR,
    KEY_FILE,
    PLAN_FILE,
    WORKER,
    BroadcastPlan,
    ClocksPlan,
    NodePlan,
    VirtualClock,
    WorkerAddress,
    to_json,
)
from node_agent.contract.servers import join_address
from node_agent.datagrams import mmsg
from tests import stamped_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HOST = "127.0.66.1"
RUN_ID = "ab" * 16


def run_agent(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one short agent command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node_agent", *arguments],
        input=stdin, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


def free_port(host: str = HOST) -> int:
    """Return a UDP port that is free just now; no other test uses these hosts."""
    with socket.socket(mmsg.family_of(host), socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


@contextmanager
def service(
    module: str, host: str = HOST, arguments: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a time service; yield its process and the address it says it listens on."""
    argv = [sys.executable, "-m", module, "--listen", join_address(host, 0), "--die-with-parent", *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("listening "), line
            yield process, line.split()[2]
        finally:
            process.kill()


@dataclass
class Agent:
    """One agent of a test: its plan, its run folder and, once started, its pid."""

    plan: NodePlan
    run_dir: Path
    key: str
    started: dict[str, Any] | None = None

    @property
    def node_id(self) -> str:
        return self.plan.node_id

    def deploy(self) -> None:
        """Put plan and key into the run folder, as the controller does."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / PLAN_FILE).write_text(to_json(self.plan))
        (self.run_dir / KEY_FILE).write_text(self.key)

    def start(self) -> subprocess.CompletedProcess[str]:
        """Start it detached; return what the starting command said."""
        said = run_agent(self.plan.role, "--plan", str(self.run_dir / PLAN_FILE), "--detach")
        if said.returncode == 0:
            self.started = json.loads(said.stdout)
        return said

    @property
    def alive(self) -> bool:
        return lifecycle.alive_pid(self.run_dir) is not None

    @property
    def status(self) -> records.NodeStatus | None:
        try:
            return records.NodeStatus.from_json((self.run_dir / records.STATUS_FILE).read_text())
        except FileNotFoundError:
            return None

    def await_phase(self, *phases: str) -> records.NodeStatus:
        """Wait until its status names one of the phases."""
        return until(
            lambda: status if (status := self.status) is not None and status.phase in phases else None,
            f"{self.node_id} in phase {phases}, got {self.status}",
        )

    def await_end(self) -> records.NodeStatus:
        """Wait until its process has ended; return its last status."""
        until(lambda: not self.alive, f"the end of {self.node_id}, got {self.status}")
        status = self.status
        assert status is not None
        return status

    def signal(self, number: int) -> None:
        assert self.started is not None
        os.kill(self.started["pid"], number)

    def end(self) -> None:
        """End it, whatever it does."""
        if self.started is not None and lifecycle.alive_pid(self.run_dir) == self.started["pid"]:
            self.signal(signal.SIGKILL)
            until(lambda: not self.alive, f"the death of {self.node_id}")

    def rows(self, name: str = records.EVENTS_FILE) -> list[dict[str, str]]:
        """Read one of its journals."""
        with (self.run_dir / name).open(newline="") as stream:
            return list(csv.DictReader(stream, strict=True))

    def stamped(self) -> list[dict[str, str]]:
        """Read the events whose stamp reached the raw oscillator."""
        return stamped_rows.stamped(self.rows())

    def columns(self, name: str) -> tuple[str, ...]:
        with (self.run_dir / name).open() as stream:
            return tuple(stream.readline().rstrip("\n").split(","))

    @property
    def log(self) -> str:
        return (self.run_dir / records.LOG_FILE).read_text()


@dataclass
class Crew:
    """The agents of one run: made here, ended here."""

    folder: Path
    clocks: ClocksPlan = field(default_factory=ClocksPlan)
    key: str = field(default_factory=lambda: secrets.token_hex(32))
    agents: list[Agent] = field(default_factory=list)

    def add(self, node_id: str, role: str, host: str, **changes: Any) -> Agent:
        plan = NodePlan(
            **{
                "experiment": "loopback", "run_id": RUN_ID, "node_id": node_id, "role": role,
                "run_dir": str(self.folder / node_id), "listen_host": host, "clocks": self.clocks,
                "commit_wait_delays_s": (0.3, 0.6), "lease_s": 60.0, **changes,
            }
        )  # fmt: skip
        agent = Agent(plan, self.folder / node_id, self.key)
        agent.deploy()
        self.agents.append(agent)
        return agent

    def worker(self, node_id: str = "comp11", host: str = "127.0.66.11", **changes: Any) -> Agent:
        return self.add(node_id, WORKER, host, **{"listen_port": free_port(host), **changes})

    def coordinator(self, workers: list[Agent], num_events: int, delays_ms: tuple[float, ...], **changes: Any) -> Agent:
        addresses = tuple(WorkerAddress(w.node_id, w.plan.listen_host, w.plan.listen_port) for w in workers)
        timeout_s = changes.pop("hello_timeout_s", 20.0)
        broadcast = BroadcastPlan(addresses, num_events, delays_ms, hello_timeout_s=timeout_s)
        return self.add("comp18", COORDINATOR, "127.0.66.18", broadcast=broadcast, **changes)

    def start(self) -> None:
        """Start all of them, in order; the coordinator is the last."""
        for agent in self.agents:
            said = agent.start()
            assert said.returncode == 0, said.stderr

    def end(self) -> None:
        for agent in self.agents:
            agent.end()


__all__ = ["HOST", "RUN_ID", "Agent", "Crew", "VirtualClock", "free_port", "run_agent", "service"]
