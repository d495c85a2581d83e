"""A short run on the testbed that something happens to, and what must hold afterwards whatever it was."""

from __future__ import annotations

import csv
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from analysis.checks.validate import validate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from project_folder import Project

    from harness.testbed.namespace_host import NamespaceHost
    from harness.testbed.testbed import Testbed

HOSTS: Final = {"comp18": "ares-comp-18", "comp11": "ares-comp-11", "comp12": "ares-comp-12"}
COORDINATOR, WORKERS = "comp18", ("comp11", "comp12")
FLUSHED_S: Final = 0.5  # what an agent has in hand is journaled that often, whatever becomes of it
APART_S: Final = 0.05  # between two events
AGENT_FILES: Final = ("events.csv", "samples.csv", "commit_wait.csv", "clock_pairs.csv", "probes.csv", "sends.csv")


# A killed agent's last status is up to half a second older than its rows, and the last of its rows are missing.
ITS_LAST_WORDS: Final = (
    "the agent counted", "the coordinator did not send here", "are not in coordinator.csv", "are not in it",
)  # fmt: skip


def until(holds: Callable[[], object], what: str, deadline_s: float = 60.0) -> None:
    """Return once a condition holds; fail, saying what was awaited, if it does not in time."""
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.02)


class BrokenRun:
    """One experiment of a few seconds, an event every 50 ms, on the shipped ares cluster file.

    ``lasting_s`` is how long its broadcast takes; every other number is made as small as the house allows, but for how
    long a sample is valid. With ``goes_stale`` that is short as well, and few readings without one degrade the run.
    """

    def __init__(self, project: Project, testbed: Testbed, lasting_s: float = 3.0, *, goes_stale: bool = False) -> None:
        self.project, self.testbed = project, testbed
        self.name = f"broken-{secrets.token_hex(3)}"  # the hosts remember every run of this session
        self.events = round(lasting_s / APART_S)
        self.hosts: dict[str, NamespaceHost] = {node: testbed.hosts[host] for node, host in HOSTS.items()}
        project.edit(
            "configs/coordinator_config.yaml",
            experiment={"num_events": self.events, "duration_minutes": None},
            broadcast_pattern={"pattern": ["fast"], "fast_stream": APART_S},
            broadcast={"hello_timeout_s": 3, "drain_s": 0.3},
            probes={"rate_hz": 20, "lead_s": 0.5, "trail_s": 0.5},
        )
        timing = {"ntp_query_interval": 0.2, "chronotick_query_interval": 0.2, "commit_wait_delays": [0.3]}
        project.edit("configs/worker_config.yaml", timing=timing, agent={"lease_margin_s": 60})
        if goes_stale:
            soon = {source: {"timeout_s": 1, "valid_for_s": None} for source in ("ntp", "chronotick")}
            project.edit("configs/worker_config.yaml", clocks={**soon, "min_available_share": 0.98})
        self.process: subprocess.Popen[str] | None = None
        self.kept: dict[str, dict[str, bytes]] = {}

    # --- on the way

    def start(self, *arguments: str) -> BrokenRun:
        """Start ``fab ares run``, or what is given."""
        self.process = self.project.start(*(arguments or ("ares", "run")), "--experiment", self.name, COLUMNS="220")
        return self

    def folder(self, node: str) -> Path:
        """Return a node's run folder, as this process sees it."""
        return self.hosts[node].home / "chronotick-harness/runs" / self.name / node

    def rows(self, node: str, file: str = "events.csv") -> int:
        """Return how many rows are journaled on a node."""
        try:
            return max(0, (self.folder(node) / file).read_bytes().count(b"\n") - 1)
        except FileNotFoundError:
            return 0

    def await_rows(self, at_least: int = 10, nodes: tuple[str, ...] = ("comp18", "comp11", "comp12")) -> BrokenRun:
        """Return once so many events are journaled on every one of ``nodes``; ``fab`` must still run."""
        self._until(lambda: all(self.rows(node) >= at_least for node in nodes), f"{at_least} events on {nodes}")
        return self

    def await_phase(self, node: str, phase: str) -> BrokenRun:
        """Return once the agent of a node says that it is in a phase."""
        self._until(lambda: self.status(node).get("phase") == phase, f"{node} in phase {phase}")
        return self

    def status(self, node: str) -> dict[str, Any]:
        """Return what the agent of a node last wrote of itself, {} before."""
        try:
            found: dict[str, Any] = json.loads((self.folder(node) / "status.json").read_bytes())
        except FileNotFoundError:
            found = {}
        return found

    def _until(self, holds: Callable[[], object], what: str) -> None:
        def holds_or_over() -> bool:
            if holds():
                return True
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"fab ended before {what}: {self.process.communicate()[0]}")
            return False

        until(holds_or_over, what)

    def agent(self, node: str) -> int:
        """Return the process id of a node's agent."""
        (pid,) = self.hosts[node].agents()
        return pid

    def keep(self) -> int:
        """Take down what is journaled on every node, which no fault may lose; return the wall clock in ns."""
        now_ns = time.time_ns()
        for node in HOSTS:
            files = {name: self.folder(node) / name for name in AGENT_FILES}
            whole = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
            self.kept[node] = {name: text[: text.rfind(b"\n") + 1] for name, text in whole.items()}
        return now_ns

    # --- afterwards

    def end(self, timeout_s: float = 250) -> tuple[int, str]:
        """Wait for ``fab``; return its exit code and everything it printed."""
        assert self.process is not None
        printed, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, printed

    @property
    def results(self) -> Path:
        """Return the run folder at home."""
        return self.project.path / "results" / self.name

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the manifest as it is now."""
        found: dict[str, Any] = json.loads((self.results / "manifest.json").read_text())
        return found

    def collected(self, node: str) -> list[dict[str, str]]:
        """Return a node's assembled rows."""
        name = "coordinator.csv" if node == COORDINATOR else f"worker_{node}.csv"
        with (self.results / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def lost(self, worker: str, from_ns: int = 0, until_ns: int | None = None) -> list[int]:
        """Return which events sent in this time of the wall clock are not in a worker's collected rows."""
        got = {row["event_id"] for row in self.collected(worker)}
        last_ns = time.time_ns() if until_ns is None else until_ns
        sent = [row for row in self.collected(COORDINATOR) if from_ns <= int(row["send_time_ns"]) < last_ns]
        return [int(row["event_id"]) for row in sent if row["event_id"] not in got]

    def check_kept(self, *nodes: str) -> None:
        """Fail unless every row that ``keep`` saw on these nodes (default: all) is in the collected files."""
        assert self.kept, "nothing was taken down"
        for node in nodes or HOSTS:
            for name, text in self.kept[node].items():
                home = self.results / "raw" / node / name
                assert home.is_file(), f"{node}: {name} was not collected"
                assert home.read_bytes().startswith(text), f"{node}: rows of {name} are lost"

    def check_degraded(self, *reasons: str) -> None:
        """Fail unless the manifest says degraded, and each of ``reasons`` in its problems."""
        manifest = self.manifest
        assert manifest["outcome"] == "degraded", manifest["problems"]
        self.check_says(*reasons)

    def check_says(self, *reasons: str) -> None:
        """Fail unless each of ``reasons`` is in the manifest's problems."""
        said = "\n".join(self.manifest["problems"])
        for reason in reasons:
            assert reason in said, said

    def check_nothing_invented(self, *known: str) -> None:
        """Fail if the run folder holds a number that the journals do not: each reading is computed once more.

        ``known`` are the errors that the fault itself explains.
        """
        found = [problem.line for problem in validate(self.results) if problem.breaks_contract]
        unexplained = [line for line in found if not any(words in line for words in known)]
        assert not unexplained, "\n".join(unexplained)

    def check_nothing_left(self) -> None:
        """Fail if an agent, a key or a half-written file is left on any host, or a half-collected folder at home.

        What another test's run left behind is that test's failure.
        """
        for host in self.testbed.hosts.values():
            assert host.agents() == [], f"{host.name}: agents are left"
            base = host.home / "chronotick-harness"
            others = {path for path in base.glob("runs/*") if path.name != self.name}
            mine = [path for path in base.rglob("*") if others.isdisjoint(path.parents)]
            left = [str(path) for path in mine if path.name == "run.key" or path.name.startswith(".")]
            assert left == [], f"{host.name}: {left}"
        assert list(self.results.rglob(".*")) == []


def healthy(project: Project, testbed: Testbed) -> None:
    """Fail unless a run without any fault is ok on the same hosts, with the same project folder."""
    run = BrokenRun(project, testbed, lasting_s=0.5)
    code, printed = run.start().end()
    assert code == 0, printed
    assert run.manifest["outcome"] == "ok"
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    run.check_nothing_left()
