"""Rates carry their interval and their denominator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats import rates


def independent(trials):
    """Return what independent trials are worth: themselves, with a variance that is known."""
    return rates.Worth(float(trials), 10**9)


@pytest.mark.parametrize(("hits", "trials"), [(1, 10), (5, 10), (195, 200), (3, 5), (1456, 5991)])
def test_the_interval_is_wilsons(hits, trials):
    ours = rates.rate(hits, trials, independent(trials))
    theirs = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert ours.value == hits / trials


@pytest.mark.parametrize("trials", [5, 30, 400])
def test_nothing_and_everything_get_the_exact_one_sided_limit(trials):
    none, every = (rates.rate(hits, trials, independent(trials)) for hits in (0, trials))
    limit = stats.binomtest(0, trials, alternative="less").proportion_ci(method="exact").high
    assert (none.low, none.high) == (0.0, pytest.approx(limit))
    assert (every.low, every.high) == (pytest.approx(1 - limit), 1.0)


@pytest.mark.parametrize(
    ("worth", "method"),
    [(None, "a count"), (rates.Worth(None), "nothing varied"), (rates.Worth(4.9), "fewer than 5")],
)
def test_where_nobody_knows_what_trials_are_worth_or_they_are_worth_little_there_is_no_interval(worth, method):
    found = rates.rate(3, 1000, worth)
    assert (found.value, found.low, found.high) == (0.003, None, None)
    assert method in found.method


def test_no_trials_have_no_value_and_no_interval():
    assert rates.rate(0, 0).as_dict()["value"] is None
    assert rates.rate(0, 0).as_dict()["interval"] is None


@pytest.mark.parametrize(("hits", "trials"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(hits, trials):
    with pytest.raises(ValueError, match="0 <= numerator <= denominator"):
        rates.rate(hits, trials)


def test_a_spread_of_nothing_is_nothing():
    assert rates.spread(np.zeros(0)).as_dict() == {
        "count": 0, "median": None, "p95": None, "p99": None, "max": None,
    }  # fmt: skip
    assert rates.spread(np.array([1000, 3000]), 1000).median == 2.0
