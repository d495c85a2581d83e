"""50,000 foreign datagrams a second beside a run of 500 events a second: every event the kernel delivered is a row."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench.crew import COORDINATOR, WORKERS, Crew
from node_agent.contract import records
from node_agent.contract.plan import ClocksPlan
from node_agent.datagrams import wire

HOSTS = {"comp11": "127.0.91.11", "comp12": "127.0.91.12", "comp18": "127.0.91.18"}
FLOOD_FROM = "127.0.91.66"
EVENTS, EVENTS_HZ = 3_000, 500.0
FLOOD_HZ = 50_000.0
REFUSED = (wire.MALFORMED, wire.FOREIGN, wire.BAD_TAG, wire.OVERSIZED)


@pytest.fixture(scope="module")
def flooded(tmp_path_factory):
    """Run with one of the two workers under a flood; return the outcome, and how many it was sent."""
    command = [sys.executable, str(Path(__file__).with_name("flood.py"))]
    command += [FLOOD_FROM, HOSTS["comp11"], "9000", str(FLOOD_HZ)]
    crew = Crew(tmp_path_factory.mktemp("flood"), ClocksPlan(), EVENTS, EVENTS_HZ, (), hosts=HOSTS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        try:
            outcome = crew.run()
            flood.terminate()
            sent, seconds = flood.communicate(timeout=250)[0].split()
        finally:
            flood.kill()
    assert not outcome.problem
    sys.stdout.write(f"{sent} foreign datagrams in {seconds} s; {outcome.statuses['comp11'].counts}\n")  # shown by -s
    return outcome, int(sent)


def rows(outcome, node_id):
    with (outcome.folders[node_id] / records.EVENTS_FILE).open(newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_no_event_is_lost_but_those_the_kernel_says_it_dropped(flooded):
    outcome, _sent = flooded
    assert outcome.statuses[COORDINATOR].counts["sent"] == EVENTS
    for node_id in WORKERS:
        counts = outcome.statuses[node_id].counts
        assert len({row["event_id"] for row in rows(outcome, node_id)}) == counts["received"]
        assert EVENTS - counts["kernel_dropped"] <= counts["received"] <= EVENTS
        assert counts["lost"] == EVENTS - counts["received"]
        assert counts["duplicate"] == 0
    assert outcome.statuses["comp12"].counts["received"] == EVENTS


def test_what_was_foreign_is_counted_by_its_reason_and_none_of_it_is_a_row(flooded):
    """The flooded worker counts all that reached its socket while it was open; the other one saw nothing of it."""
    outcome, sent = flooded
    counts = outcome.statuses["comp11"].counts
    refused = sum(counts[reason] for reason in REFUSED)
    assert 0 < refused <= sent
    assert counts[wire.BAD_TAG] > 0
    assert counts[wire.MALFORMED] > 0
    assert sum(outcome.statuses["comp12"].counts[reason] for reason in REFUSED) == 0
    assert {row["coordinator_send_time_ns"] for row in rows(outcome, "comp11")}.isdisjoint({"2"})


def test_the_flooded_worker_has_a_stamp_of_the_kernel_for_nearly_every_event(flooded):
    outcome, _sent = flooded
    found = rows(outcome, "comp11")
    stamped = sum(row["receive_origin"] == records.KERNEL_RX for row in found)
    assert stamped >= 0.8 * len(found)
