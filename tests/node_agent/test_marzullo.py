"""The joint interval of several servers is exactly what counting point by point gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.ntp import falsetickers, marzullo

INTERVALS = st.tuples(st.integers(min_value=-15, max_value=15), st.integers(min_value=-15, max_value=15))


def by_counting(intervals):
    """Try every point: those in at least n - f intervals, f the largest number below half; None without any."""
    needed = len(intervals) - (len(intervals) - 1) // 2
    held = [p for p in range(-15, 16) if sum(low <= p <= high for low, high in intervals) >= needed]
    return (held[0], held[-1]) if held and intervals else None


@given(st.lists(INTERVALS, max_size=9))
def test_it_is_what_counting_every_point_gives(intervals):
    assert marzullo(intervals) == by_counting(intervals)


@given(st.lists(INTERVALS, min_size=1, max_size=9), st.integers(min_value=-15, max_value=15))
def test_it_holds_the_truth_whenever_fewer_than_half_are_wrong(intervals, truth):
    wrong = sum(not low <= truth <= high for low, high in intervals)
    if 2 * wrong < len(intervals):
        low, high = marzullo(intervals)
        assert low <= truth <= high


def test_nothing_is_known_from_no_interval_or_two_apart():
    assert marzullo([]) is None
    assert marzullo([(0, 1), (2, 3)]) is None
    assert marzullo([(5, 4)]) is None


def test_one_interval_is_its_own_joint_one():
    assert marzullo([(3, 9)]) == (3, 9)


def test_falsetickers_are_named():
    assert falsetickers({"a": (0, 10), "b": (5, 12), "c": (40, 50)}) == ("c",)
    assert falsetickers({"a": (0, 10), "b": (10, 12), "c": (9, 50)}) == ()
    assert falsetickers({"a": (0, 1), "b": (2, 3)}) == ("a", "b")


def test_a_server_that_contradicts_itself_is_a_falseticker():
    assert falsetickers({"a": (0, 10), "b": (5, 12), "c": (7, 6)}) == ("c",)
