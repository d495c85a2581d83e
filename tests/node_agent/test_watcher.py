"""A watch reads every source on a schedule that does not drift; what was held up is missed, not made up for."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from node_agent import waits, watcher
from node_agent.contract import plan as plans
from node_agent.contract import records
from node_agent.contract.plan import BroadcastPlan, NodePlan, PlanError, WatchPlan, WorkerAddress
from node_agent.local.instants import LocalClock
from node_agent.readings import Readings
from node_agent.watcher import Watcher

MS = 1_000_000


class World:
    """Time that passes only in waits, each of which may take longer than asked for; the event that ends them."""

    def __init__(self, late_ns=lambda _now_ns: 0):
        self.now_ns = 5_000 * MS
        self._late_ns = late_ns
        self._stopped = threading.Event()
        self.stop_at_ns = None

    def monotonic_ns(self):
        return self.now_ns

    def wait(self, seconds):
        self.now_ns += round(seconds * 1e9) + self._late_ns(self.now_ns)
        if self.stop_at_ns is not None and self.now_ns >= self.stop_at_ns:
            self._stopped.set()

    def is_set(self):
        return self._stopped.is_set()


def carry_out(monkeypatch, world, watch):
    """Take the readings of a watch in this world; return when each was taken (ns, from the begin), and the counts."""
    lines, begin_ns = [], world.now_ns
    taken = {}

    def write(rows):
        lines.extend(rows)
        (row,) = rows
        taken[int(row.split(",")[0])] = world.now_ns - begin_ns

    node = SimpleNamespace(
        plan=SimpleNamespace(watch=watch, node_id="comp11", probes=None),
        clock=LocalClock(),
        sampler=SimpleNamespace(snapshot=lambda: SimpleNamespace(samples={})),
        readings=Readings({}),
        rows=SimpleNamespace(write=write),
        keep_pair=lambda _pair: None,
    )
    monkeypatch.setattr(watcher, "time", world)
    monkeypatch.setattr(waits, "time", world)
    made = Watcher(node)
    made._stopping = made._waits._stopping = world
    made._read_all()
    return taken, made.counts(), lines


def test_every_reading_is_due_a_whole_number_of_intervals_after_the_first(monkeypatch):
    """Each wait ends 3 ms late, and yet the hundredth reading is no later than the second."""
    taken, counts, _lines = carry_out(monkeypatch, World(lambda _now_ns: 3 * MS), WatchPlan(10.0, 0.1))
    assert counts == {"planned": 101, "readings": 101, "missed": 0}
    assert list(taken) == list(range(101))
    assert all(0 <= at_ns - number * 100 * MS <= 3 * MS for number, at_ns in taken.items())


def test_readings_that_were_held_up_are_missed_and_not_bunched_up(monkeypatch):
    """The process stands still once for 3.5 intervals; the newest of the readings due is taken, then all goes on."""
    held = iter([3_500 * MS])
    world = World(lambda now_ns: next(held, 0) if now_ns >= 7_000 * MS else 0)
    taken, counts, _lines = carry_out(monkeypatch, world, WatchPlan(10.0, 1.0))
    assert list(taken) == [0, 1, 2, 5, 6, 7, 8, 9, 10]
    assert counts == {"planned": 11, "readings": 9, "missed": 2}
    assert taken[6] == 6_000 * MS


def test_a_watch_held_up_beyond_its_end_takes_its_last_reading_and_ends(monkeypatch):
    held = iter([60_000 * MS])
    taken, counts, _lines = carry_out(monkeypatch, World(lambda _now_ns: next(held, 0)), WatchPlan(10.0, 1.0))
    assert list(taken) == [0, 10]
    assert counts == {"planned": 11, "readings": 2, "missed": 9}


def test_a_node_that_is_to_stop_takes_no_more_readings(monkeypatch):
    world = World()
    world.stop_at_ns = world.now_ns + 4_500 * MS
    taken, counts, _lines = carry_out(monkeypatch, world, WatchPlan(10.0, 1.0))
    assert list(taken) == [0, 1, 2, 3, 4]
    assert counts == {"planned": 11, "readings": 5, "missed": 0}


def test_a_row_has_exactly_the_columns_of_the_records(monkeypatch):
    _taken, _counts, lines = carry_out(monkeypatch, World(), WatchPlan(1.0, 1.0))
    columns = records.readings_columns()
    assert columns[: len(records.READINGS_COLUMNS)] == records.READINGS_COLUMNS
    for line in lines:
        row = dict(zip(columns, line.split(",")))
        assert len(line.split(",")) == len(columns)
        assert (row["node_id"], row["ntp_status"], row["ct_status"]) == ("comp11", *["not_configured"] * 2)
        assert int(row["raw_error_ns"]) >= 0


@pytest.mark.parametrize(
    ("duration_s", "every_s", "readings"), [(28_800.0, 10.0, 2881), (10.0, 10.0, 2), (9.99, 5.0, 2), (0.3, 0.1, 4)]
)
def test_the_last_reading_is_not_after_the_end(duration_s, every_s, readings):
    assert WatchPlan(duration_s, every_s).readings == readings


@pytest.mark.parametrize(
    ("duration_s", "every_s", "told"),
    [
        (10.0, 0.0, "watch: every_s: expected 0.1 or more, got 0.0"),
        (10.0, float("nan"), "watch: every_s: expected 0.1 or more, got nan"),
        (5.0, 10.0, "watch: duration_s: expected at least every_s, 10, got 5.0"),
        (float("nan"), 1.0, "watch: duration_s: expected at least every_s, 1, got nan"),
    ],
)
def test_a_watch_that_cannot_be_is_refused(duration_s, every_s, told):
    with pytest.raises(PlanError) as refused:
        WatchPlan(duration_s, every_s)
    assert str(refused.value) == told


def node_plan(role, **changes):
    return NodePlan("x", "ab" * 16, "n", role, "/nowhere", "127.0.0.1", **changes)


def test_in_a_watch_nobody_sends_or_awaits_events():
    watch = WatchPlan(10.0, 1.0)
    assert [node_plan(role, watch=watch).events_port for role in (plans.WORKER, plans.COORDINATOR)] == [0, 0]
    assert node_plan(plans.WORKER).events_port == 9000
    broadcast = BroadcastPlan((WorkerAddress("w", "127.0.0.1", 9000),), 1, (0.0,))
    with pytest.raises(PlanError, match="broadcast: expected for the coordinator of a run with events and nobody else"):
        node_plan(plans.COORDINATOR, watch=watch, broadcast=broadcast)


def test_a_plan_with_a_watch_survives_json():
    plan = node_plan(plans.COORDINATOR, watch=WatchPlan(28_800.0))
    assert plans.from_json(plans.to_json(plan)) == plan
