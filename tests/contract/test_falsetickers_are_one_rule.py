"""The agent's NTP source and the ChronoTick server leave out the same servers: one rule, written twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks import ntp
from time_services.models import selection

INTERVALS = st.lists(st.tuples(st.integers(-20, 20), st.integers(-5, 20)), min_size=1, max_size=7)


@given(INTERVALS)
def test_both_find_the_same_joint_interval_and_falsetickers(drawn: list[tuple[int, int]]):
    """Whatever the intervals, empty ones too, both name the same joint interval and the same falsetickers."""
    intervals = {f"s{number}": (low, low + width) for number, (low, width) in enumerate(drawn)}
    assert selection.joint_interval(intervals.values()) == ntp.marzullo(intervals.values())
    assert selection.falsetickers(intervals) == ntp.falsetickers(intervals)
