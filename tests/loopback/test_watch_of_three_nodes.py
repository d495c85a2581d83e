"""Three nodes watch their clocks beside a real time server: no events, every source read on schedule, probes."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from agents import Agent, Crew, VirtualClock, free_port, service
from awaiting import until

from node_agent.clocks.virtual import true_from_wall
from node_agent.contract import records
from node_agent.contract.plan import COORDINATOR, WORKER, ClocksPlan, NtpPlan, ProbePeer, ProbesPlan, WatchPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = {"comp18": "127.0.93.18", "comp11": "127.0.93.11", "comp12": "127.0.93.12"}
ERRORS = {"comp11": (12.5, 18.0), "comp12": (-7.25, -11.0), "comp18": (3.0, 4.0)}
WATCH = WatchPlan(2.0, 0.1)


@dataclass
class Watched:
    """What a watch left behind."""

    agents: dict[str, Agent]
    statuses: dict[str, records.NodeStatus]
    clocks: dict[str, VirtualClock]


def watchers(folder, ntp: str, watch: WatchPlan) -> tuple[Crew, dict[str, VirtualClock]]:
    """Make the agents of a watch."""
    epoch, port = time.time_ns(), free_port(HOSTS["comp18"])
    clocks = {name: VirtualClock(epoch, error, drift) for name, (error, drift) in ERRORS.items()}
    crew = Crew(folder, ClocksPlan(ntp=NtpPlan((ntp,), query_interval_s=0.5), required=("ntp",)))
    for index, (name, host) in enumerate(HOSTS.items()):
        peers = tuple(ProbePeer(peer, HOSTS[peer], port, i) for i, peer in enumerate(HOSTS) if peer != name)
        role = WORKER if index else COORDINATOR
        probes = ProbesPlan(index, peers, port, lead_s=1.5, trail_s=0.3)
        crew.add(name, role, host, virtual_clock=clocks[name], probes=probes, watch=watch)
    return crew, clocks


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[Watched]:
    with service("time_services.ntp_server") as (_, ntp):
        crew, clocks = watchers(tmp_path_factory.mktemp("watch"), ntp, WATCH)
        try:
            with ThreadPoolExecutor() as starting:  # as the harness does
                said = list(starting.map(Agent.start, crew.agents))
            assert [done.returncode for done in said] == [0] * len(HOSTS), said
            statuses = {agent.node_id: agent.await_end() for agent in crew.agents}
            yield Watched({agent.node_id: agent for agent in crew.agents}, statuses, clocks)
        finally:
            crew.end()


def test_every_node_ends_by_itself_with_every_reading_that_was_due(watched):
    for name, agent in watched.agents.items():
        status = watched.statuses[name]
        assert (status.phase, status.outcome) == (records.FINISHED, records.FINISHED_OK), status.detail
        assert status.counts["planned"] == WATCH.readings
        assert status.counts["readings"] + status.counts["missed"] == WATCH.readings
        numbers = [int(row["reading_id"]) for row in agent.rows(records.READINGS_FILE)]
        assert numbers[0] == 0
        assert numbers == sorted(set(numbers))
        assert len(numbers) == status.counts["readings"]


def test_the_journals_are_those_of_a_watch(watched):
    for agent in watched.agents.values():
        assert agent.columns(records.READINGS_FILE) == records.readings_columns()
        assert {path.name for path in agent.run_dir.glob("*.csv")} == {
            records.READINGS_FILE, records.SAMPLES_FILE, records.CLOCK_PAIRS_FILE, records.PROBES_FILE,
        }  # fmt: skip
        raws = [int(row["raw_before_ns"]) for row in agent.rows(records.CLOCK_PAIRS_FILE)]
        assert raws == sorted(raws)


def test_every_reading_is_there_and_contains_the_truth(watched):
    for name, agent in watched.agents.items():
        for row in agent.rows(records.READINGS_FILE):
            true_ns = true_from_wall(watched.clocks[name], int(row["wall_ns"]))
            assert row["ntp_status"] == records.OK
            assert int(row["ntp_lower_bound_ns"]) <= true_ns + 1
            assert true_ns <= int(row["ntp_upper_bound_ns"])
            assert row["ct_status"] == records.NOT_CONFIGURED


def test_every_reading_rests_on_a_good_sample_published_before_it(watched):
    for agent in watched.agents.values():
        samples = {row["sample_id"]: row for row in agent.rows(records.SAMPLES_FILE)}
        for row in agent.rows(records.READINGS_FILE):
            assert int(samples[row["ntp_sample_id"]]["published_raw_ns"]) <= int(row["raw_ns"])


def test_the_nodes_probe_each_other_from_before_the_first_reading_to_after_the_last(watched):
    for name, agent in watched.agents.items():
        readings = [int(row["raw_ns"]) for row in agent.rows(records.READINGS_FILE)]
        for peer in set(HOSTS) - {name}:
            probes = [row for row in agent.rows(records.PROBES_FILE) if row["peer"] == peer]
            sent = [int(row["raw_ns"]) for row in probes if row["direction"] == records.PROBE_TX and row["raw_ns"]]
            assert min(sent) < readings[0]
            assert max(sent) > readings[-1]
            assert watched.statuses[name].counts["probe_received"] > 0


def test_a_node_of_a_watch_that_is_stopped_keeps_what_it_has_read(tmp_path):
    with service("time_services.ntp_server") as (_, ntp):
        crew, _clocks = watchers(tmp_path, ntp, WatchPlan(3600.0, 0.1))
        try:
            (agent, *_rest) = crew.agents
            assert agent.start().returncode == 0
            until(lambda: agent.status and agent.status.counts.get("readings", 0) >= 3, "three readings")
            agent.signal(signal.SIGTERM)
            status = agent.await_end()
            assert (status.outcome, status.detail) == (records.FINISHED_STOPPED, "SIGTERM")
            assert len(agent.rows(records.READINGS_FILE)) == status.counts["readings"] >= 3
        finally:
            crew.end()
