"""With a query for every event, each event has its own answer, and no event's reading waits for it or looks ahead."""

from __future__ import annotations

import pytest
from agents import Crew, service

from node_agent.contract import records
from node_agent.contract.plan import PER_EVENT, ChronoTickPlan, ClocksPlan, NtpPlan

EVENTS = 40


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with service("time_services.ntp_server") as (_, ntp), service("time_services.chronotick_server") as (_, tick):
        clocks = ClocksPlan(
            ntp=NtpPlan((ntp,), query_interval_s=0.5),
            chronotick=ChronoTickPlan(f"http://{tick}", 0.5, mode=PER_EVENT),
            required=("ntp", "chronotick"),
        )
        crew = Crew(tmp_path_factory.mktemp("per_event"), clocks)
        try:
            made = crew.worker("comp11", "127.0.66.61", commit_wait_delays_s=(0.3,))
            crew.coordinator([made], EVENTS, (10.0,))
            crew.start()
            status = made.await_end()
            assert (status.outcome, status.counts["received"]) == (records.FINISHED_OK, EVENTS)
            assert status.counts["per_event_skipped"] == 0
            yield made
        finally:
            crew.end()


def answers(worker):
    rows = worker.rows(records.COMMIT_WAIT_FILE)
    return {row["event_id"]: row for row in rows if row["kind"] == records.PER_EVENT}


def test_every_event_has_its_own_query_with_its_own_latency(worker):
    found = answers(worker)
    raws = {row["event_id"]: int(row["receive_raw_ns"]) for row in worker.stamped()}
    assert set(found) == set(raws)
    assert len({row["sample_id"] for row in found.values()}) == len(found)
    for event_id, row in found.items():
        assert row["status"] == records.OK
        assert int(row["due_raw_ns"]) == raws[event_id] < int(row["done_raw_ns"])
        assert float(row["delay_s"]) * 1e9 == pytest.approx(int(row["done_raw_ns"]) - raws[event_id], abs=1)


def test_no_event_is_read_by_the_answer_to_its_own_query(worker):
    published = {row["sample_id"]: int(row["published_raw_ns"]) for row in worker.rows(records.SAMPLES_FILE)}
    found = answers(worker)
    for row in worker.stamped():
        assert published[row["ct_sample_id"]] <= int(row["receive_raw_ns"])
        assert row["ct_sample_id"] != found[row["event_id"]]["sample_id"]


def test_later_events_are_read_by_the_answers_to_earlier_ones(worker):
    asked = {row["sample_id"] for row in answers(worker).values()}
    assert sum(row["ct_sample_id"] in asked for row in worker.stamped()) > EVENTS / 2
