"""A run in the middle, on nodes that Slurm lends; and what is to hold once it is over, whatever ended it."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from harness.localcluster.processes import descendants, kill_all
from harness.run.collect import verify_checksums
from node_agent.contract.records import EVENTS_FILE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

CLUSTER = "ares_slurm"
NODES = ("ares-comp-11", "ares-comp-12", "ares-comp-18")
GONE_WITHIN_S = 10
SOME = 20  # lines of a table of events: the run is in its middle


def await_true(reached: Callable[[], bool], what: str, timeout_s: float = 250) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


class LentRun:
    """One experiment of a project on the testbed, by its name."""

    def __init__(self, project: Any, name: str) -> None:
        self.project, self.name = project, name
        self.testbed = project.testbed
        self.process: subprocess.Popen[str] | None = None

    @property
    def home(self):
        """Return its folder at home."""
        return self.project.path / "results" / self.name

    @property
    def manifest(self) -> dict[str, Any]:
        """Return its manifest."""
        return json.loads((self.home / "manifest.json").read_text())

    @property
    def job_id(self) -> str:
        """Return the job's id."""
        return self.manifest["job"]["id"]

    def on_node(self, node: str):
        """Return a node's run folder on the shared file system."""
        return self.testbed.gateway.home / "chronotick-harness/runs" / self.name / node

    def received(self, node: str = NODES[1]) -> int:
        """Return how many events a worker has."""
        try:
            return json.loads((self.on_node(node) / "status.json").read_text())["counts"]["received"]
        except FileNotFoundError:
            return 0

    def rows(self, node: str) -> int:
        """Return how many lines a node's table of events has by now."""
        try:
            return (self.on_node(node) / EVENTS_FILE).read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def long(self, minutes: float) -> None:
        """Let it take so many minutes of events."""
        experiment = {"num_events": round(600 * minutes), "duration_minutes": minutes}
        self.project.edit("configs/coordinator_config.yaml", experiment=experiment, probes={"lead_s": 1, "trail_s": 1})

    def begin(self, *arguments: str, minutes: float = 1.0) -> None:
        """Start it from the login node and return in the middle of it."""
        self.long(minutes)
        self.process = self.project.start(CLUSTER, "--direct", "run", "--experiment", self.name, *arguments)
        self.await_middle()

    def await_middle(self) -> None:
        """Return once every node has written some events down; on a busy machine one is behind the others."""
        await_true(lambda: min(map(self.rows, NODES)) > SOME or self.is_over(), "events are written down")
        assert not self.is_over(), self.process.communicate()[0]

    def is_over(self) -> bool:
        """Return whether the controller that we started ended."""
        return self.process is not None and self.process.poll() is not None

    def kill_controller(self) -> None:
        """Kill the controller that we started, without warning."""
        kill_all(descendants(self.process.pid), signal.SIGKILL)
        self.process.wait(100)

    def slurm(self, *words: str) -> str:
        """Run one of Slurm's commands as root."""
        return self.testbed.gateway.run(list(words)).stdout

    def end(self, timeout_s: float = 250) -> tuple[int, str]:
        """Wait for the controller."""
        printed, _ = self.process.communicate(timeout=timeout_s)
        sys.stdout.write(printed)
        return self.process.returncode, printed

    def demand_whole(self) -> None:
        """Demand that every row that a node had journaled is at home, verified."""
        manifest = self.manifest
        assert manifest["phase"] == "collected", manifest["problems"]
        for node in manifest["nodes"]:
            verify_checksums(self.home / "raw" / node)
            there = (self.on_node(node) / EVENTS_FILE).read_bytes()
            assert (self.home / "raw" / node / EVENTS_FILE).read_bytes() == there
            assert there.count(b"\n") > SOME

    def await_job_over(self) -> None:
        """Return once Slurm has begun to end the job; it looks at time limits twice a minute."""
        alive = {"RUNNING", "SUSPENDED"}
        await_true(lambda: self.testbed.slurm.jobs().get(self.job_id) not in alive, "end of the job")

    def demand_no_agents(self) -> None:
        """Demand that no node has an agent, ten seconds after the job at the latest."""
        hosts = [self.testbed.hosts[name] for name in NODES]
        await_true(lambda: not any(host.agents() for host in hosts), "no agents", GONE_WITHIN_S)

    def demand_healthy_next(self) -> None:
        """Demand that a run afterwards is as any other."""
        self.testbed.slurm.repair()
        short = {"num_events": 20, "duration_minutes": None}
        self.project.edit("configs/coordinator_config.yaml", experiment=short)
        code, printed = self.project.fab(CLUSTER, "--direct", "run", "--experiment", f"{self.name}.after")
        assert code == 0, printed
        assert LentRun(self.project, f"{self.name}.after").manifest["outcome"] == "ok"
