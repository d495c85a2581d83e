"""The probe mesh of a whole run: both ends of every probe are kept, and in true time none arrives before it left."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from agents import RUN_ID, Agent, Crew, VirtualClock, free_port
from awaiting import until

from node_agent.clocks.virtual import true_from_wall
from node_agent.contract import records
from node_agent.contract.plan import (
    COORDINATOR,
    KERNEL_STAMPS,
    PLAN_FILE,
    USER_STAMPS,
    BroadcastPlan,
    ProbePeer,
    ProbesPlan,
    WorkerAddress,
)
from node_agent.datagrams.probe import ProbeWire

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = {"comp18": "127.0.90.18", "comp11": "127.0.90.11", "comp12": "127.0.90.12"}
ERRORS = {"comp11": (12.5, 18.0), "comp12": (-7.25, -11.0), "comp18": (3.0, 4.0)}
INDEX = {node_id: index for index, node_id in enumerate(HOSTS)}
LEAD_S, TRAIL_S = 1.5, 1.5
EVENTS = 20
NOISE = 3


def probes(node_id: str, star: bool = False, **changes) -> ProbesPlan:
    """Return a node's part in the mesh of the three."""
    hub = "comp18"
    peers = [peer for peer in HOSTS if peer != node_id and (not star or hub in {peer, node_id})]
    made = {"port": PORT, "rate_hz": 50.0, "lead_s": LEAD_S, "trail_s": TRAIL_S, **changes}
    return ProbesPlan(INDEX[node_id], tuple(ProbePeer(peer, HOSTS[peer], PORT, INDEX[peer]) for peer in peers), **made)


PORT = free_port(HOSTS["comp18"])


@dataclass
class Run:
    """What a run left behind; ``joined`` maps (sender, receiver) to the (tx, rx) rows of each probe."""

    agents: dict[str, Agent]
    statuses: dict[str, records.NodeStatus]
    clocks: dict[str, VirtualClock]
    awaited: list[str]

    @property
    def joined(self) -> dict[tuple[str, str], list[tuple[dict[str, str], dict[str, str]]]]:
        kept = {node_id: agent.rows(records.PROBES_FILE) for node_id, agent in self.agents.items()}
        found = {}
        for here, there in permutations(HOSTS, 2):
            left = {r["sequence"]: r for r in kept[here] if (r["peer"], r["direction"]) == (there, records.PROBE_TX)}
            came = {r["sequence"]: r for r in kept[there] if (r["peer"], r["direction"]) == (here, records.PROBE_RX)}
            if left:
                found[here, there] = [(left[sequence], came[sequence]) for sequence in left if sequence in came]
        return found

    def true_ns(self, node_id: str, row: dict[str, str]) -> int:
        return true_from_wall(self.clocks[node_id], int(row["wall_ns"]))


def make_noise(agent: Agent) -> None:
    """Send the node probes that are not of the run."""
    key, index = bytes.fromhex(agent.key), INDEX[agent.node_id]
    foreign = ProbeWire("cd" * 16, key, 7).seal(index, 0)
    forged = ProbeWire(RUN_ID, bytes(32), 7).seal(index, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.90.2", 0))
        for datagram in (foreign, forged, b"malformed", bytes(2_000)):
            for _ in range(NOISE):
                sender.sendto(datagram, (HOSTS[agent.node_id], PORT))


def carry_out(folder, star: bool = False, **changes) -> Iterator[Run]:
    epoch = time.time_ns()
    clocks = {name: VirtualClock(epoch, error, drift) for name, (error, drift) in ERRORS.items()}
    crew = Crew(folder)
    try:
        workers = [
            crew.worker(name, HOSTS[name], virtual_clock=clocks[name], probes=probes(name, star, **changes))
            for name in ("comp11", "comp12")
        ]
        targets = tuple(WorkerAddress(w.node_id, w.plan.listen_host, w.plan.listen_port) for w in workers)
        coordinator = crew.add(
            "comp18", COORDINATOR, HOSTS["comp18"], virtual_clock=clocks["comp18"],
            broadcast=BroadcastPlan(targets, EVENTS, (20.0,)), probes=probes("comp18", star, **changes),
        )  # fmt: skip
        for worker in workers:
            assert worker.start().returncode == 0
        for worker in workers:
            worker.await_phase(records.READY)
            make_noise(worker)
        assert coordinator.start().returncode == 0
        awaited = until(lambda: (status := coordinator.status) and status.waiting_for, "what the coordinator waits for")
        statuses = {agent.node_id: agent.await_end() for agent in crew.agents}
        yield Run({agent.node_id: agent for agent in crew.agents}, statuses, clocks, awaited)
    finally:
        crew.end()


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Iterator[Run]:
    yield from carry_out(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def forced(tmp_path_factory) -> Iterator[Run]:
    yield from carry_out(tmp_path_factory.mktemp("star"), star=True, stamps=USER_STAMPS)


@pytest.fixture(params=["full", "forced"])
def run(request) -> Run:
    """Return a full mesh with the kernel's stamps, and a star with user stamps."""
    found: Run = request.getfixturevalue(request.param)
    return found


def test_every_agent_ends_well(run):
    assert {status.outcome for status in run.statuses.values()} == {records.FINISHED_OK}


def test_the_journal_has_the_columns_of_the_records(run):
    for agent in run.agents.values():
        assert agent.columns(records.PROBES_FILE) == records.PROBES_COLUMNS


def test_nearly_every_probe_is_kept_at_both_ends(run):
    for (here, there), pairs in run.joined.items():
        sent = [row for row in run.agents[here].rows(records.PROBES_FILE) if row["peer"] == there]
        assert len(pairs) >= 0.9 * sum(row["direction"] == records.PROBE_TX for row in sent)
        assert len(pairs) >= 40


def test_in_true_time_no_probe_arrives_before_it_was_sent(run):
    for (here, there), pairs in run.joined.items():
        for left, came in pairs:
            assert run.true_ns(there, came) >= run.true_ns(here, left) - 2  # a virtual clock rounds to 1 ns


def test_the_raw_halves_bound_the_two_oscillators_as_well(run):
    """Forward and backward delays of nearby probes, both in raw time, never add up to less than nothing."""
    pairs = run.joined
    for here, there in pairs:
        forward = [_raw_delay(pair) for pair in pairs[here, there] if _usable(pair)]
        backward = [_raw_delay(pair) for pair in pairs[there, here] if _usable(pair)]
        for (at, delay, error), (_at, other, other_error) in zip(forward, backward):
            assert delay + other >= -(error + other_error) - 40e-6 * abs(at - _at)


def _usable(pair) -> bool:
    return all(row["raw_ns"] for row in pair)


def _raw_delay(pair) -> tuple[int, int, int]:
    left, came = pair
    error = int(left["raw_error_ns"]) + int(came["raw_error_ns"])
    return int(left["raw_ns"]), int(came["raw_ns"]) - int(left["raw_ns"]), error


def test_a_full_mesh_joins_every_pair_and_a_star_only_those_of_the_coordinator(full, forced):
    assert set(full.joined) == set(permutations(HOSTS, 2))
    assert set(forced.joined) == {pair for pair in permutations(HOSTS, 2) if "comp18" in pair}


def test_stamps_are_the_kernels_unless_told_otherwise(full, forced):
    for run, expected in ((full, {records.KERNEL_TX, records.KERNEL_RX}), (forced, {records.USER})):
        for agent in run.agents.values():
            rows = agent.rows(records.PROBES_FILE)
            assert sum(row["origin"] in expected for row in rows) >= 0.8 * len(rows)
    assert {row["origin"] for agent in forced.agents.values() for row in agent.rows(records.PROBES_FILE)} == {"user"}


def test_probes_begin_before_the_first_event_and_end_after_the_last(run):
    for agent in run.agents.values():
        kept = agent.rows(records.PROBES_FILE)
        sent = [run.true_ns(agent.node_id, row) for row in kept if row["direction"] == records.PROBE_TX]
        events = [true_from_wall(run.clocks["comp18"], int(row["send_time_ns"])) for row in run.agents["comp18"].rows()]
        assert min(events) - min(sent) >= 0.9 * LEAD_S * 1e9
        assert max(sent) - max(events) >= 0.9 * TRAIL_S * 1e9
        between = [instant for instant in sent if min(events) <= instant <= max(events)]
        assert len(between) >= 0.3 * 50 * (max(events) - min(events)) / 1e9


def test_the_coordinator_says_what_it_waits_for_during_the_lead(run):
    assert run.awaited == [f"probing for {LEAD_S:g} s before the first event"]
    assert run.statuses["comp18"].waiting_for == []


def test_the_counts_are_those_of_the_rows(run):
    for agent in run.agents.values():
        counts = run.statuses[agent.node_id].counts
        rows = agent.rows(records.PROBES_FILE)
        assert counts["probe_sent"] == sum(row["direction"] == records.PROBE_TX for row in rows)
        assert counts["probe_received"] == sum(row["direction"] == records.PROBE_RX for row in rows)
        assert counts["probe_user_stamps"] == sum(row["origin"] == records.USER for row in rows)
        assert counts["probe_send_errors"] == counts["probe_duplicate"] == 0
        assert counts["probe_cpu_us"] > 0


def test_what_is_not_of_the_run_is_counted_and_makes_no_row(run):
    for worker in ("comp11", "comp12"):
        counts = run.statuses[worker].counts
        seen = {kind: counts[f"probe_{kind}"] for kind in ("foreign", "bad_tag", "malformed")}
        assert seen == {"foreign": NOISE, "bad_tag": NOISE, "malformed": 2 * NOISE}
        assert {row["peer"] for row in run.agents[worker].rows(records.PROBES_FILE)} <= set(HOSTS)


def test_events_come_home_as_without_probes(run):
    for worker in ("comp11", "comp12"):
        assert (run.statuses[worker].counts["received"], run.statuses[worker].counts["lost"]) == (EVENTS, 0)


def test_the_journal_is_checksummed(full):
    agent = full.agents["comp11"]
    command = [sys.executable, "-m", "node_agent", "checksum", "--run-dir", str(agent.run_dir)]
    assert subprocess.run(command, capture_output=True, timeout=250, check=False).returncode == 0
    assert records.PROBES_FILE in (agent.run_dir / records.CHECKSUMS_FILE).read_text()


def test_a_probe_port_in_use_is_one_line_and_no_agent(crew):
    worker = crew.worker("comp11", HOSTS["comp11"], probes=probes("comp11"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HOSTS["comp11"], PORT))
        said = worker.start()
        check = [sys.executable, "-m", "node_agent", "check", "--plan", str(worker.run_dir / PLAN_FILE)]
        checked = subprocess.run(check, capture_output=True, text=True, timeout=250, check=False)
    told = f"UDP port {PORT} on {HOSTS['comp11']} is in use; end the program that holds it or choose another port"
    assert said.returncode == 3
    assert said.stderr == f"worker: {told}\n"
    assert json.loads(checked.stdout)["probes"] == {
        "host": HOSTS["comp11"], "port": PORT, "free": False, "problem": told,
    }  # fmt: skip
    until(lambda: not worker.alive, "the end of an agent that could not bind")


def test_without_a_mesh_there_is_no_journal_and_no_wait(crew):
    worker = crew.worker("comp11", "127.0.90.21")
    assert worker.start().returncode == 0
    worker.await_phase(records.READY)
    assert not (worker.run_dir / records.PROBES_FILE).exists()
    assert not any(name.startswith("probe_") for name in worker.status.counts)


def test_kernel_stamps_are_the_default():
    assert probes("comp11").stamps == KERNEL_STAMPS
