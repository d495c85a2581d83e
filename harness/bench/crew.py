"""Two workers and a coordinator as processes of this machine, with their time services; nobody outlives the bench."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Final

from harness.errors import RunError
from node_agent.contract import plan as plans
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from node_agent.contract.plan import ClocksPlan, NodePlan, VirtualClock

SERVICES_HOST: Final = "127.0.78.1"
HOSTS: Final = {"comp11": "127.0.78.11", "comp12": "127.0.78.12", "comp18": "127.0.78.18"}
WORKERS: Final = ("comp11", "comp12")
COORDINATOR: Final = "comp18"
AGENT: Final = (sys.executable, "-m", "node_agent")

_START_DEADLINE_S: Final = 20.0
_END_DEADLINE_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.25


@dataclass(frozen=True)
class Services:
    """Where the time services listen."""

    ntp: str
    chronotick: str


def all_clocks(services: Services, ntp_every_s: float) -> ClocksPlan:
    """Return the clocks of a node that asks both services and is not ready without them."""
    return plans.ClocksPlan(
        ntp=plans.NtpPlan((services.ntp,), ntp_every_s),
        chronotick=plans.ChronoTickPlan(f"http://{services.chronotick}", 1.0),
        required=(records.NTP, records.CHRONOTICK),
    )


@contextlib.contextmanager
def services() -> Iterator[Services]:
    """Run an NTP and a ChronoTick server. Raises RunError if one does not say where it listens."""
    with contextlib.ExitStack() as stack:
        yield Services(*(stack.enter_context(server(name))[0] for name in ("ntp_server", "chronotick_server")))


@contextlib.contextmanager
def server(name: str, *options: str) -> Iterator[tuple[str, int]]:
    """Run one service, with more options; yield its address and process id.

    Raises RunError if it does not say where it listens.
    """
    listen = ["--listen", f"{SERVICES_HOST}:0", "--die-with-parent"]
    command = [sys.executable, "-m", f"time_services.{name}", *listen, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        out: IO[str] | None = process.stdout
        if out is None or not select.select([out], [], [], _START_DEADLINE_S)[0] or not (line := out.readline()):
            raise RunError(f"{name}: expected a line within {_START_DEADLINE_S:g} s of its start, got none")
        yield line.split()[-1], process.pid
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a process of ours: SIGTERM, and SIGKILL if it does not heed it."""
    process.terminate()
    try:
        process.wait(_END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@dataclass
class Usage:
    """What a process has used so far: CPU time in ns over all its threads, the most memory seen in bytes, threads."""

    cpu_ns: int = 0
    rss_bytes: int = 0
    pss_bytes: int = 0
    threads: int = 0

    def look(self, pid: int) -> None:
        """Look at a process; one that has just ended keeps what was seen last."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            self.cpu_ns = max(self.cpu_ns, cpu_ns(pid))
            memory = dict(_memory_lines(f"/proc/{pid}/smaps_rollup"))
            self.rss_bytes = max(self.rss_bytes, memory["Rss"])
            self.pss_bytes = max(self.pss_bytes, memory["Pss"])
            self.threads = max(self.threads, len(os.listdir(f"/proc/{pid}/task")))  # noqa: PTH208 - /proc, names alone


def cpu_ns(pid: int) -> int:
    """Return the CPU time of a process over all its living threads, in ns."""
    return _scheduled(pid, 0)


def waited_ns(pid: int) -> int:
    """Return how long a process's living threads could have run while others had the CPUs, in ns."""
    return _scheduled(pid, 1)


def _scheduled(pid: int, place: int) -> int:
    """Return the sum of one number of schedstat (proc_schedstat(5)) over the living threads of a process."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - /proc, names alone
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{thread}/schedstat") as stream:  # noqa: PTH123 - /proc
            total += int(stream.read().split()[place])
    return total


def _memory_lines(path: str) -> Iterator[tuple[str, int]]:
    with open(path) as stream:  # noqa: PTH123 - /proc
        for line in stream:
            words = line.split()
            if words[-1] == "kB":
                yield words[0].rstrip(":"), int(words[1]) * 1024


@dataclass(frozen=True)
class Outcome:
    """How one run went: per node its run folder, its last status and what it used. ``problem`` says what went wrong."""

    folders: Mapping[str, Path]
    statuses: Mapping[str, records.NodeStatus]
    usages: Mapping[str, Usage]
    problem: str


@dataclass(frozen=True)
class Crew:
    """What to run: how many events at which rate, with which clocks."""

    folder: Path
    clocks: ClocksPlan
    num_events: int
    rate_hz: float
    delays_s: tuple[float, ...]
    virtual: Mapping[str, VirtualClock] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=lambda: HOSTS)
    kernel_buffer: bool = False  # the kernel's default receive buffer, not the one agents ask for
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # where it is not the agent itself

    def plans(self) -> dict[str, NodePlan]:
        """Write a plan and a key into a new run folder per node; return the plans, workers first."""
        key = secrets.token_hex(32)
        addresses = tuple(plans.WorkerAddress(node_id, self.hosts[node_id], 9000) for node_id in WORKERS)
        broadcast = plans.BroadcastPlan(addresses, self.num_events, (1_000 / self.rate_hz,))
        made = {}
        for node_id, host in self.hosts.items():
            run_dir = self.folder / node_id
            run_dir.mkdir(parents=True)
            made[node_id] = plans.NodePlan(
                experiment="bench",
                run_id="be" * 16,
                node_id=node_id,
                role=plans.COORDINATOR if node_id == COORDINATOR else plans.WORKER,
                run_dir=str(run_dir),
                listen_host=host,
                clocks=self.clocks,
                commit_wait_delays_s=self.delays_s,
                lease_s=self.deadline_s,
                virtual_clock=self.virtual.get(node_id),
                broadcast=broadcast if node_id == COORDINATOR else None,
            )
            if self.kernel_buffer:
                made[node_id] = replace(made[node_id], receive_buffer_bytes=0)
            (run_dir / plans.PLAN_FILE).write_text(plans.to_json(made[node_id]), encoding="utf-8")
            (run_dir / plans.KEY_FILE).write_text(key, encoding="ascii")
        return made

    @property
    def deadline_s(self) -> float:
        """Return how long the run may take, in s: three times its plan, its tail, and the time to start."""
        return 3 * self.num_events / self.rate_hz + max(self.delays_s, default=0.0) + 30.0

    def run(self) -> Outcome:
        """Run to the end or to the deadline; every process started here has ended when this returns."""
        made = self.plans()
        processes: dict[str, subprocess.Popen[str]] = {}
        usages = {node_id: Usage() for node_id in made}
        deadline = time.monotonic() + self.deadline_s
        try:
            for node_id, plan in made.items():
                processes[node_id] = start_agent(plan.role, self.folder / node_id, self.programs.get(node_id, AGENT))
            while any(process.poll() is None for process in processes.values()):
                for node_id, process in processes.items():
                    if process.poll() is None:
                        usages[node_id].look(process.pid)
                if time.monotonic() > deadline or any(process.poll() for process in processes.values()):
                    break
                time.sleep(_LOOK_EVERY_S)
        finally:
            for process in processes.values():
                end(process)
        folders = {node_id: self.folder / node_id for node_id in made}
        statuses = {node_id: status for node_id, path in folders.items() if (status := _status(path)) is not None}
        return Outcome(folders, statuses, usages, _problem(statuses, made))


def start_agent(role: str, run_dir: Path, program: tuple[str, ...] = AGENT) -> subprocess.Popen[str]:
    """Start an agent from the plan in its run folder, in the foreground."""
    command = [*program, role, "--plan", str(run_dir / plans.PLAN_FILE)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def detached_start_s(role: str, run_dir: Path) -> float:
    """Start an agent detached, as the harness does; return the s until it says that it is bound, and stop it.

    Raises RunError if it does not start.
    """
    begun = time.monotonic()
    said = subprocess.run(
        [*AGENT, role, "--plan", str(run_dir / plans.PLAN_FILE), "--detach"],
        capture_output=True, text=True, timeout=_START_DEADLINE_S, check=False,
    )  # fmt: skip
    took_s = time.monotonic() - begun
    stop = [*AGENT, "stop", "--run-dir", str(run_dir)]
    subprocess.run(stop, capture_output=True, timeout=2 * _START_DEADLINE_S, check=False)
    if said.returncode:
        raise RunError(f"agent: expected it to start, got {said.stderr.strip() or said.returncode}")
    json.loads(said.stdout)
    return took_s


def count_samples(run_dir: Path) -> int:
    """Return how many samples an agent has journaled, to the last flush."""
    try:
        return (run_dir / records.SAMPLES_FILE).read_bytes().count(b"\n") - 1
    except FileNotFoundError:
        return 0


def await_samples(run_dir: Path, count: int) -> None:
    """Wait until an agent has journaled ``count`` samples. Raises RunError at the deadline."""
    deadline = time.monotonic() + _START_DEADLINE_S
    while (found := count_samples(run_dir)) < count:
        if time.monotonic() > deadline:
            raise RunError(f"{run_dir.name}: expected {count} samples within {_START_DEADLINE_S:g} s, got {found}")
        time.sleep(0.05)


def _status(run_dir: Path) -> records.NodeStatus | None:
    try:
        return records.NodeStatus.from_json((run_dir / records.STATUS_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _problem(statuses: Mapping[str, records.NodeStatus], made: Mapping[str, NodePlan]) -> str:
    for node_id in made:
        status = statuses.get(node_id)
        if status is None:
            return f"{node_id}: wrote no status"
        if status.outcome != records.FINISHED_OK:
            return f"{node_id}: {status.outcome or 'did not end in time'}: {status.detail or status.phase}"
    return ""
