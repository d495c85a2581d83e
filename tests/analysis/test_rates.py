"""Rates carry their interval and their denominator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis import statistics


@pytest.mark.parametrize(("hits", "trials"), [(1, 10), (5, 10), (195, 200), (3, 4), (1456, 5991)])
def test_the_interval_is_wilsons(hits, trials):
    ours = statistics.rate(hits, trials)
    theirs = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert ours.value == hits / trials


@pytest.mark.parametrize("trials", [1, 30, 400])
def test_nothing_and_everything_get_the_exact_one_sided_limit(trials):
    none, every = statistics.rate(0, trials), statistics.rate(trials, trials)
    limit = stats.binomtest(0, trials, alternative="less").proportion_ci(method="exact").high
    assert (none.low, none.high) == (0.0, pytest.approx(limit))
    assert (every.low, every.high) == (pytest.approx(1 - limit), 1.0)


def test_no_trials_have_no_value_and_no_interval():
    assert statistics.rate(0, 0).as_dict()["value"] is None
    assert statistics.rate(0, 0).as_dict()["interval"] is None


@pytest.mark.parametrize(("hits", "trials"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(hits, trials):
    with pytest.raises(ValueError, match="0 <= numerator <= denominator"):
        statistics.rate(hits, trials)


def test_a_spread_of_nothing_is_nothing():
    assert statistics.spread(np.zeros(0)).as_dict() == {
        "count": 0, "median": None, "p95": None, "p99": None, "max": None,
    }  # fmt: skip
    assert statistics.spread(np.array([1000, 3000]), 1000).median == 2.0
