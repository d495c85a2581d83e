"""When events are due: bursts spread over the duration, the last one may be short, or all back to back."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from node_agent.contract.plan import BroadcastPlan, WorkerAddress

WORKERS = (WorkerAddress("a", "127.0.0.1", 1),)
MS = 1_000_000


def broadcast(num_events, delays_ms, duration_s=None):
    return BroadcastPlan(WORKERS, num_events, delays_ms, duration_s)


def offsets_ms(plan):
    return [offset / MS for offset, _ in plan.schedule()]


def test_a_burst_starts_at_its_share_of_the_duration():
    plan = broadcast(6, (100.0, 10.0), 30.0)
    assert plan.bursts == 3
    assert offsets_ms(plan) == [0, 100, 10_000, 10_100, 20_000, 20_100]
    assert plan.planned_ns == 20_110 * MS


def test_the_last_burst_may_be_short():
    plan = broadcast(5, (100.0, 10.0), 30.0)
    assert plan.bursts == 3
    assert offsets_ms(plan) == [0, 100, 10_000, 10_100, 20_000]
    assert plan.planned_ns == 20_100 * MS


def test_without_a_duration_bursts_follow_each_other():
    plan = broadcast(5, (100.0, 10.0))
    assert offsets_ms(plan) == [0, 100, 110, 210, 220]
    assert plan.planned_ns == 320 * MS


def test_the_delay_beside_each_event_is_the_one_after_it():
    assert [delay for _, delay in broadcast(5, (100.0, 10.0, 50.0)).schedule()] == [100.0, 10.0, 50.0, 100.0, 10.0]


def test_the_shipped_pattern_spreads_a_hundred_events_over_ten_minutes():
    pattern = (100.0, 10.0, 10.0, 10.0, 10.0, 50.0, 10.0, 10.0, 10.0, 10.0)
    offsets = [offset for offset, _ in broadcast(100, pattern, 600.0).schedule()]
    assert offsets[::10] == [burst * 60_000 * MS for burst in range(10)]
    assert [offset // MS for offset in offsets[:10]] == [0, 100, 110, 120, 130, 140, 190, 200, 210, 220]


@given(
    st.integers(min_value=1, max_value=200),
    st.lists(st.integers(min_value=0, max_value=500), min_size=1, max_size=12),
    st.none() | st.integers(min_value=0, max_value=3_600),
)
def test_every_event_is_due_once_in_its_place(num_events, delays_ms, duration_s):
    plan = broadcast(num_events, tuple(map(float, delays_ms)), None if duration_s is None else float(duration_s))
    schedule = list(plan.schedule())
    size = len(delays_ms)
    assert len(schedule) == num_events
    assert plan.bursts == math.ceil(num_events / size)
    for index, (offset, delay_ms) in enumerate(schedule):
        burst, place = divmod(index, size)
        start = burst * sum(delays_ms) * MS if duration_s is None else burst * duration_s * 10**9 // plan.bursts
        assert offset == start + sum(delays_ms[:place]) * MS
        assert delay_ms == delays_ms[place]
    last_offset, last_delay_ms = schedule[-1]
    assert plan.planned_ns == last_offset + round(last_delay_ms * MS)
