"""The envelope: what all bounds say together, what contradicts what, and what is left out around a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.reference import drift
from analysis.reference.bounds import Bounds, Stamps, join, merged, set_backs
from analysis.reference.envelope import envelope_of
from analysis.reference.running import running, stretches

PPB = 200_000
ROUNDING_NS = 2  # a bound carried in two pieces is rounded up in each


def bounds_of(rows):
    rows = sorted(rows, key=lambda row: row[0])
    at, value, upper = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return Bounds(
        np.array(at, dtype=np.int64),
        np.array(value, dtype=np.int64),
        np.array(upper, dtype=np.bool_),
        np.zeros(len(at), dtype=np.bool_),
    )


def honest(theta, forward, backward):
    """Return bounds on a constant theta: by (instant, delay) of each way."""
    return bounds_of(
        [(at, theta + delay, True) for at, delay in forward] + [(at, theta - delay, False) for at, delay in backward]
    )


delays = st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**6)), min_size=1, max_size=30)


@given(elapsed=st.integers(-(10**17), 10**17), ppb=st.integers(0, 1_000_000))
def test_drift_is_the_exact_product_rounded_as_it_says(elapsed, ppb):
    exact = elapsed * ppb
    assert drift.down(np.array([elapsed]), ppb)[0] == exact // 10**9
    assert drift.up(np.array([elapsed]), ppb)[0] == -(-exact // 10**9)


@settings(max_examples=100, deadline=None)
@given(forward=delays, backward=delays, asked=st.lists(st.integers(0, 10**10), min_size=1, max_size=20))
def test_the_running_minima_are_the_minimum_over_all_bounds(forward, backward, asked):
    bounds = honest(10**15, forward, backward)
    found = envelope_of(bounds, [], PPB)
    at = np.array(asked, dtype=np.int64)
    theta = found.theta(at)
    for place, instant in enumerate(asked):
        if theta.segment[place] < 0:
            continue
        far = [-(-abs(instant - when) * PPB // 10**9) for when in bounds.at.tolist()]
        rows = list(zip(bounds.value.tolist(), bounds.upper.tolist(), far, strict=True))
        high = min(value + cone for value, upper, cone in rows if upper)
        low = max(value - cone for value, upper, cone in rows if not upper)
        assert high <= theta.high[place] <= high + ROUNDING_NS
        assert low - ROUNDING_NS <= theta.low[place] <= low


@settings(max_examples=100, deadline=None)
@given(forward=delays, backward=delays, more=delays, asked=st.lists(st.integers(0, 10**10), min_size=1, max_size=20))
def test_more_probes_never_widen_what_is_known(forward, backward, more, asked):
    at = np.array(asked, dtype=np.int64)
    few = envelope_of(honest(-5, forward, backward), [], PPB).theta(at)
    many = envelope_of(honest(-5, forward + more, backward + more), [], PPB).theta(at)
    known = few.segment >= 0
    assert (many.segment >= 0)[known].all()
    assert (many.low >= few.low - ROUNDING_NS)[known].all()
    assert (many.high <= few.high + ROUNDING_NS)[known].all()


def probing(theta_of, count=200, spacing=20_000_000, delay=50_000):
    """Return bounds of probes both ways in turn, of a theta that depends on the instant."""
    rows = []
    for number in range(count):
        at = number * spacing
        rows.append((at, theta_of(at) + delay, True) if number % 2 else (at, theta_of(at) - delay, False))
    return bounds_of(rows)


@pytest.mark.parametrize("size", [300_000, -300_000, 10_000_000, -10_000_000])
def test_a_step_of_three_round_trips_opens_a_new_segment_and_its_surroundings_are_nobodys(size):
    step = 2_005_000_000
    found = envelope_of(probing(lambda at: size * (at >= step)), [], PPB)
    assert len(found.begins) == 2
    assert found.ends[0] <= step - abs(size)  # as far as an oscillator set back would show instants twice
    assert found.begins[1] >= step + abs(size)
    before, after = found.theta(np.array([1_000_000_000, 3_000_000_000]))[:2]
    assert before[0] <= 0 <= after[0]
    assert before[1] <= size <= after[1]


def test_a_step_below_one_round_trip_contradicts_nothing_and_is_within_what_may_be_hidden():
    size = 90_000  # two delays of 50 us make a round trip
    found = envelope_of(probing(lambda at: size * (at >= 2_005_000_000)), [], PPB)
    assert len(found.begins) == 1
    assert size <= found.hidden[found.segment_at(found.at) >= 0].max()


def test_no_two_bounds_of_a_stretch_exclude_each_other_and_a_contradiction_ends_it():
    bounds = probing(lambda at: 10**6 * (at // 500_000_000))
    found = stretches(bounds, PPB)
    assert len(found) == 8
    for one in found:
        part = bounds.take(one)
        best = running(part, PPB)
        assert (best.low_past <= best.high_past).all()
        assert (best.low_future <= best.high_future).all()


def test_beyond_the_last_bound_of_either_kind_nothing_is_known():
    found = envelope_of(honest(0, [(100, 10), (900, 10)], [(200, 10), (700, 10)]), [], PPB)
    assert found.segment_at(np.array([199, 200, 700, 701])).tolist() == [-1, 0, 0, -1]


def test_what_an_oscillator_showed_twice_is_nobodys():
    bounds = honest(0, [(at, 5) for at in range(0, 10_000, 100)], [(at, 5) for at in range(50, 10_000, 100)])
    found = envelope_of(bounds, [(3000, 5000)], PPB)
    assert found.segment_at(np.array([2400, 3000, 4000, 5000, 5600])).tolist() == [0, -1, -1, -1, 1]


@settings(max_examples=60, deadline=None)
@given(
    offset=st.integers(-(10**15), 10**15), drift_ppb=st.integers(-PPB, PPB), at=st.integers(10**9, 9 * 10**9),
    error=st.integers(0, 100_000),
)  # fmt: skip
def test_carrying_an_instant_to_the_other_node_and_back_keeps_it_inside(offset, drift_ppb, at, error):
    def theta(instant):
        return offset + instant * drift_ppb // 10**9

    found = envelope_of(probing(theta, count=500), [], PPB)
    shown = at + theta(at)
    ahead = found.ahead(np.array([at + error]), np.array([error]))
    assert ahead.low[0] <= shown <= ahead.high[0]
    back = found.back(np.array([shown - error]), np.array([error]))
    assert back.segment[0] == 0
    assert back.low[0] <= at <= back.high[0]
    assert back.high[0] - back.low[0] <= 2 * error + 2 * 50_000 + 100_000


def stamps(sequence, raw, error=0):
    sequence, raw = np.array(sequence, dtype=np.int64), np.array(raw, dtype=np.int64)
    return Stamps(sequence, raw, raw, np.full(len(raw), error, dtype=np.int64), np.ones(len(raw), dtype=np.bool_))


def test_probes_are_joined_by_sequence_and_each_bound_holds_at_the_first_nodes_own_stamp():
    a = {("b", "tx"): stamps([1, 2, 3], [100, 200, 300]), ("b", "rx"): stamps([7], [450])}
    b = {("a", "rx"): stamps([1, 3], [1_130, 1_340]), ("a", "tx"): stamps([7, 8], [1_400, 1_500])}
    found = join("a", a, "b", b, PPB)
    assert (found.joined, found.lost, found.skipped) == (3, 2, 0)
    rows = list(zip(found.bounds.at.tolist(), found.bounds.value.tolist(), found.bounds.upper.tolist(), strict=True))
    assert rows == [(100, 1_030, True), (300, 1_040, True), (450, 950, False)]


def test_both_stamps_errors_and_the_drift_within_them_widen_a_bound():
    a = {("b", "tx"): stamps([1], [0], error=10_000)}
    b = {("a", "rx"): stamps([1], [500], error=7_000)}
    assert join("a", a, "b", b, PPB).bounds.value.tolist() == [500 + 10_000 + 7_000 + 2]


def test_an_oscillator_set_back_is_seen_in_the_order_of_its_own_sends():
    own = {("b", "tx"): stamps([1, 2, 3, 4], [100, 200, 150, 250]), ("b", "rx"): stamps([1, 2], [300, 100])}
    assert set_backs(own, None) == [(150, 200)]


def test_merged_bounds_are_in_order_of_their_instants():
    assert merged([bounds_of([(5, 1, True)]), bounds_of([(3, 0, False), (9, 0, False)])]).at.tolist() == [3, 5, 9]
