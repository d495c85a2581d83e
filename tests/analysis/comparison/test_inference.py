"""What repeats tell: against scipy and published tables, and on samples that have no spread."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.comparison.inference import holm, independent, least_p, needed, pairs, power, resolvable

NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
SAMPLES = st.lists(NUMBERS, min_size=2, max_size=5)


def welch(a, b):
    error = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    return abs(statistics.fmean(b) - statistics.fmean(a)) / error if error else math.inf


def test_two_samples_have_welch_s_interval_and_every_permutation_s_p():
    """The interval is scipy's, the p is counted out by hand over all 70 ways to deal eight runs to two sides."""
    a, b = [3.1, 4.0, 2.2, 5.9], [6.0, 7.4, 5.1, 9.0]
    told = independent(a, b)
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (told.low, told.high) == pytest.approx((interval.low, interval.high))
    assert told.value == pytest.approx(statistics.fmean(b) - statistics.fmean(a))
    together = a + b
    dealt = [
        ([together[place] for place in chosen], [together[place] for place in range(8) if place not in chosen])
        for chosen in itertools.combinations(range(8), 4)
    ]
    assert told.p == pytest.approx(sum(welch(*sides) >= welch(a, b) - 1e-9 for sides in dealt) / 70)


def test_pairs_have_student_s_interval_and_every_sign_s_p():
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.5, 2.7, 3.2, 4.9, 5.4, 6.8]
    told = pairs(a, b)
    apart = [y - x for x, y in zip(a, b, strict=True)]
    interval = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert (told.low, told.high) == pytest.approx((interval.low, interval.high))
    assert told.p == pytest.approx(2 / 2**6)  # all of one sign: no other signs are as far from 0


@settings(max_examples=25)  # of some thirty permutation tests' work each
@given(SAMPLES, SAMPLES)
def test_sides_and_orders_are_interchangeable(a, b):
    """B against A is the same with another sign, and the order of the runs is none of the data."""
    one, other, turned = independent(a, b), independent(b, a), independent(a[::-1], b[::-1])
    assert one.value == pytest.approx(-other.value)
    assert one.p == pytest.approx(other.p) == pytest.approx(turned.p)
    assert 0 < one.p <= 1


@pytest.mark.parametrize("compare", [independent, pairs])
def test_runs_that_do_not_vary_have_no_interval(compare):
    """All equal: nothing differs. Each side equal in itself: as small a p as there can be, and no interval."""
    same = compare([0.1] * 6, [0.1] * 6)
    assert (same.value, same.p, same.low, same.needed) == (0.0, 1.0, None, None)
    apart = compare([0.1] * 6, [0.3] * 6)
    assert apart.p == pytest.approx(least_p(6, 6, paired=compare is pairs))
    assert (apart.low, apart.high, apart.needed) == (None, None, 6 if compare is pairs else 4)


@pytest.mark.parametrize(
    ("effect", "paired", "repeats"),
    # J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, tables 2.4.1; pairs by one sample's rule
    [(0.2, False, 394), (0.5, False, 64), (0.8, False, 26), (0.5, True, 34), (0.8, True, 15)],
)
def test_repeats_are_those_of_the_tables(effect, paired, repeats):
    assert needed(3 * effect, 3.0, paired=paired) == repeats
    assert power(effect, repeats, paired=paired) >= 0.8 > power(effect, repeats - 1, paired=paired)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("repeats", [2, 3, 20, 500])
def test_what_repeats_resolve_needs_so_many(repeats, paired):
    assert power(resolvable(1.0, repeats, paired=paired), repeats, paired=paired) == pytest.approx(0.8, abs=1e-6)
    assert needed(resolvable(2.0, repeats, paired=paired) * 1.000001, 2.0, paired=paired) == repeats


def test_no_number_of_repeats_shows_nothing():
    assert needed(0.0, 1.0) is None
    assert needed(1e-9, 1.0) is None
    assert needed(1.0, 0.0) == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_s_p_values_keep_their_order_and_only_grow(values):
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    assert [q for _, q in sorted(zip(values, adjusted, strict=True))] == sorted(adjusted)
    assert adjusted[values.index(min(values))] == min(1.0, len(values) * min(values))


def test_holm_s_own_steps():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
