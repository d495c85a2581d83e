"""A ChronoTick that stalls and an NTP server that is silent hold up neither a stamp nor an event."""

from __future__ import annotations

import socket
from collections import Counter

import pytest
from agents import HOST, Crew

from node_agent.contract import records
from node_agent.contract.plan import ChronoTickPlan, ClocksPlan, NtpPlan

EVENTS = 1_000
STALL_S = 2.5  # longer than the broadcast


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Send 1,000 events at 1,000 a second while every query waits for an answer that never comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket() as stalled:
        silent.bind((HOST, 0))
        stalled.bind((HOST, 0))
        stalled.listen(16)  # the kernel takes the connections and the questions; nobody ever answers
        ntp, tick = ("{}:{}".format(*sock.getsockname()) for sock in (silent, stalled))
        clocks = ClocksPlan(
            ntp=NtpPlan((ntp,), 0.5, timeout_s=STALL_S), chronotick=ChronoTickPlan(f"http://{tick}", 0.5, STALL_S)
        )
        crew = Crew(tmp_path_factory.mktemp("stalled"), clocks)
        try:
            workers = [crew.worker(name, f"127.0.66.{last}") for name, last in (("comp11", 51), ("comp12", 52))]
            coordinator = crew.coordinator(workers, EVENTS, (1.0,))
            crew.start()
            yield workers, coordinator, {agent.node_id: agent.await_end() for agent in crew.agents}
        finally:
            crew.end()


def test_no_event_is_lost(run):
    workers, _coordinator, statuses = run
    assert statuses["comp18"].counts["sent"] == EVENTS
    for worker in workers:
        counts = statuses[worker.node_id].counts
        assert (counts["received"], counts["lost"], counts["kernel_dropped"]) == (EVENTS, 0, 0)


def test_every_stamp_is_the_kernels(run):
    workers, _coordinator, _statuses = run
    for worker in workers:
        assert Counter(row["receive_origin"] for row in worker.stamped()) == {records.KERNEL_RX: len(worker.stamped())}


def test_no_reading_has_a_number(run):
    workers, _coordinator, statuses = run
    for worker in workers:
        for prefix in ("ntp", "ct"):
            assert {row[f"{prefix}_status"] for row in worker.stamped()} == {records.NEVER_SAMPLED}
            assert {row[f"{prefix}_offset_ms"] for row in worker.rows()} == {""}
        assert statuses[worker.node_id].counts["ct_unavailable"] == EVENTS
