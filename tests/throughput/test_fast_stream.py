"""A fast stream loses nothing, has every clock on every row, and its readings are those of the journals."""

from __future__ import annotations

import csv

import pytest

from harness.bench.crew import COORDINATOR, WORKERS, Crew, all_clocks, services
from node_agent.clocks.base import evaluate
from node_agent.clocks.sources import configured
from node_agent.contract import records
from node_agent.contract.cells import reading_cells
from node_agent.contract.records import COLUMN_PREFIX, OK, STAMP_GAP, Sample, Stamp, source_columns

HOSTS = {"comp11": "127.0.80.11", "comp12": "127.0.80.12", "comp18": "127.0.80.18"}
RATE_HZ = 4_000.0
EVENTS = 6_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Broadcast 4,000 events a second to two workers, with NTP sampled often so that samples come between stamps."""
    with services() as running:
        clocks = all_clocks(running, 0.05)
        outcome = Crew(tmp_path_factory.mktemp("fast"), clocks, EVENTS, RATE_HZ, (0.2, 0.4), hosts=HOSTS).run()
    assert not outcome.problem
    return clocks, outcome


def rows(outcome, node_id, name=records.EVENTS_FILE):
    with (outcome.folders[node_id] / name).open(newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def a_sample(row):
    """Read a sample's line back."""
    texts = {"sample_id", "source", "server", "address", "outcome", "scope", "payload"}
    return Sample(**{name: cell if name in texts else int(cell) if cell else None for name, cell in row.items()})


def test_every_event_arrives_once_at_every_worker(run):
    _clocks, outcome = run
    assert outcome.statuses[COORDINATOR].counts["sent"] == EVENTS
    for node_id in WORKERS:
        counts = outcome.statuses[node_id].counts
        assert (counts["received"], counts["lost"], counts["kernel_dropped"], counts["duplicate"]) == (EVENTS, 0, 0, 0)
        assert len({row["event_id"] for row in rows(outcome, node_id)}) == EVENTS


def test_every_row_has_every_clock(run):
    """Only a stamp that came more than 50 ms after its packet, on a machine busy with something else, has none."""
    _clocks, outcome = run
    for node_id in (*WORKERS, COORDINATOR):
        statuses = {(row["ntp_status"], row["ct_status"]) for row in rows(outcome, node_id)}
        assert (OK, OK) in statuses
        assert statuses <= {(OK, OK), (STAMP_GAP, STAMP_GAP)}


def test_every_reading_is_that_of_the_samples_published_before_its_stamp(run):
    clocks, outcome = run
    sources = configured(clocks)
    for node_id in (*WORKERS, COORDINATOR):
        kind = "send" if node_id == COORDINATOR else "receive"
        samples = [a_sample(row) for row in rows(outcome, node_id, records.SAMPLES_FILE) if row["outcome"] == OK]
        for row in rows(outcome, node_id)[:: 1 + EVENTS // 500]:
            if not row[f"{kind}_raw_ns"]:
                continue
            numbers = [int(row[f"{kind}_{name}"]) for name in ("time_ns", "raw_ns", "raw_error_ns")]
            stamp = Stamp(*numbers, row[f"{kind}_origin"])
            for name, source in sources.items():
                prior = [s for s in samples if s.source == name and s.published_raw_ns <= stamp.raw_ns]
                recorded = [row[column] for column in source_columns(COLUMN_PREFIX[name])]
                assert reading_cells(evaluate(source, prior, stamp), stamp.wall_ns).split(",") == recorded


def test_every_send_is_stamped_by_the_kernel_and_before_its_receipt(run):
    _clocks, outcome = run
    received = {
        (row["event_id"], node_id): int(row["receive_time_ns"]) for node_id in WORKERS for row in rows(outcome, node_id)
    }
    sends = rows(outcome, COORDINATOR, records.SENDS_FILE)
    assert len(sends) == 2 * EVENTS
    for row in sends:
        if row["send_origin"] == records.KERNEL_TX:
            assert int(row["send_time_ns"]) <= received[row["event_id"], row["worker_id"]]
    stamped = sum(row["send_origin"] == records.KERNEL_TX for row in sends)
    assert stamped >= 0.8 * len(sends)
