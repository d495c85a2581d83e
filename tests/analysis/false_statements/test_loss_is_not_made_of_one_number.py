"""A worker without a run key says which sequence numbers it saw, and never that what lies between two was lost."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent import duplicates
from node_agent.contract import records
from node_agent.duplicates import SequenceRanges

HOST = "127.0.66.61"
HUGE = 10**15


def run_worker(folder, datagrams, senders=1):
    """Send ``datagrams`` (JSON texts) to a worker started by hand; return its last counts and its summary."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    status = folder / "test.raw" / records.STATUS_FILE
    command = [sys.executable, "-m", "node_agent", "worker", "--node-id", "test", "--listen-host", HOST]
    command += ["--listen-port", str(port), "--output", str(folder / "test.csv")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            await_counts(status, lambda _counts: True)
            sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(senders)]
            for number, text in enumerate(datagrams):
                sockets[number % senders].sendto(text.encode(), (HOST, port))
            for sock in sockets:
                sock.close()
            names = ("received", "duplicate", "malformed")
            await_counts(status, lambda counts: sum(counts[name] for name in names) == len(datagrams))
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=250)[1]
        finally:
            process.kill()
    return json.loads(status.read_text())["counts"], said[said.index("worker test: ") :]


def await_counts(status, condition):
    deadline = time.monotonic() + 250
    while not (status.is_file() and condition(json.loads(status.read_text())["counts"])):
        assert time.monotonic() < deadline, status.read_text() if status.is_file() else "no status"
        select.select([], [], [], 0.02)


def event(event_id, sequence):
    return json.dumps({"event_id": event_id, "coordinator_timestamp_ns": 1, "sequence_number": sequence})


@pytest.mark.parametrize(
    ("numbers", "senders", "told"),
    [
        ([*range(12), HUGE], 1, f"13 distinct, from 0 to {HUGE}, in 2 ranges; what is missing between them was lost"),
        ([(1 << 63) - 1, 0, 1], 1, f"3 distinct, from 0 to {(1 << 63) - 1}, in 2 ranges"),
        ([5, 5, 5, 6], 1, "2 distinct, from 5 to 6, without a gap"),
        ([0, 1, 2, 100, 101, 102], 2, "6 distinct, from 0 to 102, in 2 ranges"),
        ([-1, 1 << 63, 4], 1, "1 distinct, from 4 to 4, without a gap"),
    ],
)
def test_one_number_makes_no_loss(tmp_path, numbers, senders, told):
    counts, summary = run_worker(tmp_path, [event(place, number) for place, number in enumerate(numbers)], senders)
    assert "lost" not in counts
    assert "lost=" not in summary
    assert f"sequence numbers: {told}" in summary
    assert counts["senders"] == senders
    assert ("2 senders, their numbers taken together" in summary) == (senders == 2)
    assert max(value for name, value in counts.items() if name not in {"sequence_first", "sequence_last"}) < 100


def test_without_an_event_nothing_is_said_of_numbers(tmp_path):
    counts, summary = run_worker(tmp_path, ["{}"])
    assert "sequence numbers" not in summary
    assert (counts["sequence_distinct"], "sequence_first" in counts, "lost" in counts) == (0, False, False)


NUMBERS = st.integers(0, 30) | st.integers(0, (1 << 63) - 1)


@given(st.lists(NUMBERS, max_size=60))
def test_ranges_say_what_was_seen_in_any_order(numbers):
    ranges = SequenceRanges()
    for number in numbers:
        ranges.add(number)
    distinct = set(numbers)
    counts = ranges.counts()
    assert counts["sequence_distinct"] == len(distinct)
    assert counts["sequence_repeated"] == len(numbers) - len(distinct)
    assert counts["sequence_ranges"] == sum(number - 1 not in distinct for number in distinct)
    if numbers:
        assert (counts["sequence_first"], counts["sequence_last"]) == (min(numbers), max(numbers))


def test_numbers_that_join_nothing_take_no_memory_without_end():
    ranges = SequenceRanges()
    for number in range(0, 6 * duplicates.MOST_RANGES, 2):
        ranges.add(number)
    counts = ranges.counts()
    assert counts["sequence_ranges"] == counts["sequence_distinct"] == duplicates.MOST_RANGES
    assert counts["sequence_last"] == 6 * duplicates.MOST_RANGES - 2
