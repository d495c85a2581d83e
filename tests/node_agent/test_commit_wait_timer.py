"""One thread re-measures every event at every delay, in order, and records how late it was."""

from __future__ import annotations

import csv
import io
import threading
import time
import tracemalloc

import pytest

from node_agent.after_events.commit_wait import CommitWait
from node_agent.contract.records import (
    COMMIT_WAIT_COLUMNS,
    NOT_CONFIGURED,
    PROBABILISTIC,
    STALE,
    Available,
    Unavailable,
)
from node_agent.local.instants import ClockPair

S = 1_000_000_000
MS = 1_000_000
WALL_NS = 5_000 * S
DEADLINE_S = 20.0


class Clock:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now_ns = 0

    def raw_ns(self):
        return self.now_ns

    def pair(self):
        return ClockPair(self.now_ns, WALL_NS + self.now_ns, self.now_ns)


class Sampler:
    def snapshot(self):
        return None


class Readings:
    """ChronoTick says 0.25 ms, NTP is stale, and a third source is not configured."""

    configured = ("chronotick",)

    def __init__(self):
        self.threads = set()

    def by_source(self, stamp, _snapshot):
        self.threads.add(threading.get_ident())
        est = stamp.wall_ns + 2 * MS
        return {
            "chronotick": Available(est, est - 9, est + 9, PROBABILISTIC, 0.9, "server:x", 250_000, 0, "ct7"),
            "ntp": Unavailable(STALE),
            "chrony": Unavailable(NOT_CONFIGURED),
        }


class Lines:
    """A journal in memory."""

    def __init__(self):
        self.lines = []

    def write(self, lines):
        self.lines.extend(lines)

    def rows(self, source="chronotick"):
        text = "\n".join([",".join(COMMIT_WAIT_COLUMNS), *self.lines])
        return [row for row in csv.DictReader(io.StringIO(text), strict=True) if row["source"] == source]


@pytest.fixture
def made():
    timers = []

    def make(*delays_s, share=0.0):
        clock, readings, lines = Clock(), Readings(), Lines()
        timers.append(CommitWait(delays_s, share, clock, Sampler(), readings, lines))
        timers[-1].start()
        return timers[-1], clock, readings, lines

    yield make
    for timer in timers:
        timer.stop()


def until(condition):
    """Wait for a condition; the timer looks at the (standing) clock again after each delay, which is short here."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the timer did not come round"
        time.sleep(0.005)


def test_each_event_is_measured_once_per_delay_in_its_order(made):
    timer, clock, _readings, lines = made(0.02, 0.04)
    timer.add([(7, 0), (3, 1 * MS), (9, 2 * MS)])
    clock.now_ns = 21 * MS
    until(lambda: timer.done == 2)
    assert [row["event_id"] for row in lines.rows()] == ["7", "3"]
    clock.now_ns = 90 * MS
    until(lambda: timer.pending == 0)
    assert [(row["event_id"], row["delay_s"]) for row in lines.rows()] == [
        ("7", "0.02"), ("3", "0.02"), ("9", "0.02"), ("7", "0.04"), ("3", "0.04"), ("9", "0.04"),
    ]  # fmt: skip
    assert timer.done == 6


def test_a_row_says_when_it_was_due_when_it_was_done_and_what_the_source_said(made):
    timer, clock, _readings, lines = made(0.02)
    timer.add([(1, 5 * MS)])
    clock.now_ns = 31 * MS
    until(lambda: timer.pending == 0)
    (row,) = lines.rows()
    assert {k: v for k, v in row.items() if v} == {
        "event_id": "1", "source": "chronotick", "kind": "remeasure", "due_raw_ns": str(25 * MS),
        "done_raw_ns": str(31 * MS), "delay_s": "0.02", "status": "ok", "offset_ms": "2.000000",
        "uncertainty_ms": "0.250000", "sample_id": "ct7",
    }  # fmt: skip
    assert timer._remeasurements.latest_ns == 6 * MS


def test_a_source_that_has_no_reading_then_has_a_reason_and_no_number(made):
    timer, clock, _readings, lines = made(0.02)
    timer.add([(1, 0)])
    clock.now_ns = S
    until(lambda: timer.pending == 0)
    (row,) = lines.rows("ntp")
    assert (row["status"], row["offset_ms"], row["uncertainty_ms"], row["sample_id"]) == (STALE, "", "", "")
    assert lines.rows("chrony") == []


def test_nothing_is_measured_early(made):
    timer, clock, _readings, lines = made(0.02)
    timer.add([(1, 0)])
    clock.now_ns = 20 * MS - 1
    time.sleep(0.1)  # nothing to await: the promise is that nothing happens
    assert (timer.done, lines.lines) == (0, [])
    clock.now_ns += 1
    until(lambda: timer.done == 1)


def test_one_thread_does_it_all_and_a_pending_one_costs_sixteen_bytes_or_so(made):
    threads = threading.active_count()
    timer, clock, readings, lines = made(0.02, 0.04)
    count = 100_000
    tracemalloc.start()
    try:
        for start in range(0, count, 1_000):
            timer.add([(event_id, event_id) for event_id in range(start, start + 1_000)])
        held, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert timer.pending == 2 * count
    assert held < 20 * count
    assert threading.active_count() == threads + 1
    clock.now_ns = S
    until(lambda: timer.pending == 0)
    assert len(readings.threads) == 1
    rows = lines.rows()
    assert len(rows) == 2 * count
    for delay in ("0.02", "0.04"):
        assert [int(row["event_id"]) for row in rows if row["delay_s"] == delay] == list(range(count))
    assert len(timer._remeasurements._raws) < 70_000, "what is done is let go"


def test_events_may_come_while_others_are_measured(made):
    timer, clock, _readings, lines = made(0.02)
    for round_ in range(5):
        timer.add([(round_, clock.now_ns)])
        clock.now_ns += 30 * MS
        until(lambda: timer.pending == 0)
    assert [row["event_id"] for row in lines.rows()] == ["0", "1", "2", "3", "4"]


def test_stopping_leaves_the_rest_unmeasured(made):
    timer, _clock, _readings, lines = made(30.0)
    timer.add([(1, 0), (2, 0)])
    timer.stop()
    assert not timer._thread.is_alive()
    assert (timer.pending, timer.done, lines.lines) == (2, 0, [])


def test_without_delays_nothing_is_ever_pending(made):
    timer, _clock, _readings, _lines = made()
    timer.add([(1, 0)])
    assert timer.pending == 0


@pytest.mark.parametrize(
    ("share", "held"), [(0.0, 0), (0.1, 100), (1 / 3, 333), (0.7, 700), (0.999, 999), (1.0, 1_000)]
)
def test_exactly_the_share_of_the_events_is_chosen_and_spread_evenly(made, share, held):
    """Of any stretch of events, those chosen differ from the share by less than one."""
    timer, _clock, _readings, _lines = made(share=share)
    chosen = [timer._choice.chosen(event_id) for event_id in range(1, 1_001)]
    assert sum(chosen) == held
    for begin in range(0, 1_000, 37):
        for end in range(begin, 1_000, 53):
            assert abs(sum(chosen[begin:end]) - share * (end - begin)) < 1


def test_a_share_of_the_events_is_held_until_its_timestamp_has_passed(made):
    timer, clock, _readings, lines = made(share=0.5)
    timer.add([(1, 0), (2, 0), (3, 0), (4, 0)])
    until(lambda: len(lines.lines) >= 2)
    clock.now_ns += MS
    until(lambda: timer.pending == 0)
    released = [row for row in lines.rows() if row["status"] == "ok"]
    assert {row["event_id"] for row in released} == {"2", "4"}
    assert {row["kind"] for row in lines.rows()} == {"commit_wait"}
    assert all(int(row["released_ns"]) > int(row["assigned_ns"]) for row in released)
