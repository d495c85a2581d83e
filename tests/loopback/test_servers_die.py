"""When a time service dies during a run, readings become unavailable by reason, and nothing else changes."""

from __future__ import annotations

from collections import Counter

import pytest
from agents import Crew, service
from awaiting import until

from node_agent.contract import records
from node_agent.contract.plan import ChronoTickPlan, ClocksPlan, NtpPlan

EVENTS = 300
DELAYS_MS = (10.0,)
VALID_FOR_S = 0.8
S = 1_000_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Kill both services when a third of the events is in; return the worker and its last status."""
    with (
        service("time_services.ntp_server") as (ntp_process, ntp),
        service("time_services.chronotick_server") as (
            tick_process,
            tick,
        ),
    ):
        plan = ClocksPlan(
            ntp=NtpPlan((ntp,), query_interval_s=0.2, timeout_s=0.2, valid_for_s=VALID_FOR_S),
            chronotick=ChronoTickPlan(f"http://{tick}", 0.2, timeout_s=0.2, valid_for_s=VALID_FOR_S),
            required=("ntp", "chronotick"),
        )
        crew = Crew(tmp_path_factory.mktemp("dying"), plan)
        try:
            worker = crew.worker("comp11", "127.0.66.21")
            crew.coordinator([worker], EVENTS, DELAYS_MS)
            crew.start()
            until(lambda: worker.status and worker.status.counts["received"] > EVENTS // 3, "a third of the events")
            ntp_process.kill()
            tick_process.kill()
            yield worker, worker.await_end()
        finally:
            crew.end()


@pytest.mark.parametrize("prefix", ["ntp", "ct"])
def test_rows_after_the_validity_are_stale_and_have_no_number(run, prefix):
    worker, _status = run
    rows = worker.stamped()
    statuses = [row[f"{prefix}_status"] for row in rows]
    assert set(statuses) == {records.OK, records.STALE}
    first = statuses.index(records.STALE)
    assert set(statuses[first:]) == {records.STALE}
    for row in rows[first:]:
        numbers = [row[column] for column in records.source_columns(prefix) if column != f"{prefix}_status"]
        assert numbers == [""] * len(numbers)


@pytest.mark.parametrize("prefix", ["ntp", "ct"])
def test_no_row_is_served_by_a_sample_beyond_its_validity(run, prefix):
    worker, _status = run
    ages = [float(row[f"{prefix}_age_ms"]) for row in worker.rows() if row[f"{prefix}_status"] == records.OK]
    assert max(ages) <= VALID_FOR_S * 1_000


def test_no_event_is_lost_and_the_run_ends_well(run):
    worker, status = run
    assert (status.outcome, status.counts["received"], status.counts["lost"]) == (records.FINISHED_OK, EVENTS, 0)
    assert len(worker.rows()) == EVENTS


def test_unavailable_readings_are_counted_as_they_stand_in_the_rows(run):
    worker, status = run
    for prefix in ("ntp", "ct"):
        unavailable = EVENTS - Counter(row[f"{prefix}_status"] for row in worker.rows())[records.OK]
        assert status.counts[f"{prefix}_unavailable"] == unavailable > 0


def test_failed_queries_are_samples_with_their_reason(run):
    worker, status = run
    outcomes = Counter((row["source"], row["outcome"]) for row in worker.rows(records.SAMPLES_FILE))
    assert outcomes["ntp", "timeout"] > 0
    assert outcomes["chronotick", "no_connection"] > 0
    assert status.sources["ntp"].last_outcome == "timeout"
    assert status.sources["chronotick"].status == records.STALE
    assert status.sources["chronotick"].offset_ms is None
    for row in worker.rows(records.SAMPLES_FILE):
        if row["outcome"] != records.OK:
            assert [row["offset_ns"], row["bound_ns"], row["sigma_ns"], row["reference_at_ns"]] == [""] * 4


def test_remeasurements_after_the_end_of_a_service_say_so_too(run):
    worker, _status = run
    rows = [
        row
        for row in worker.rows(records.COMMIT_WAIT_FILE)
        if (row["source"], row["kind"]) == ("chronotick", records.REMEASURE)
    ]
    stale = [row for row in rows if row["status"] == records.STALE]
    assert stale
    assert all(row["uncertainty_ms"] == row["offset_ms"] == "" for row in stale)
    assert len(rows) == 2 * len(worker.stamped())


def test_stamps_keep_coming_from_the_kernel(run):
    worker, status = run
    assert {row["receive_origin"] for row in worker.rows()} == {records.KERNEL_RX}
    assert status.counts["unusable_stamps"] == EVENTS - len(worker.stamped())
