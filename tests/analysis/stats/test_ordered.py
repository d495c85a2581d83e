"""Numbers at some ranks are those of the sorted whole, however many there are and however they are cut."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import rates
from analysis.stats.ordered import Ordered


def numbers(kind, rng):
    if kind == "few different":
        return rng.integers(-3, 3, 5_000).astype(np.float64)
    if kind == "all the same":
        return np.full(5_000, 0.1)
    if kind == "infinite ones":
        return rng.choice([-np.inf, np.inf, 0.0, -0.0, 1.5], 5_000)
    if kind == "one ulp apart":
        return np.nextafter(np.full(5_000, 1.0), 2.0) * (1 + np.finfo(float).eps * rng.integers(0, 9, 5_000))
    return rng.lognormal(0, 30, 5_000) * rng.choice([-1, 1], 5_000)


@pytest.mark.parametrize("kind", ["few different", "all the same", "infinite ones", "one ulp apart", "of any size"])
@pytest.mark.parametrize("at_once", [0, 1, 100, 1 << 20])
def test_numbers_at_ranks_are_those_of_the_sorted_whole(kind, at_once):
    rng = np.random.default_rng(at_once)
    values = numbers(kind, rng)
    pieces = np.split(values, np.sort(rng.integers(0, 5_000, 6)))
    found = Ordered(lambda: iter(pieces), at_once)
    ranks = [0, 4_999, 17, 17, *rng.integers(0, 5_000, 40)]
    assert found.count == 5_000
    assert found.at(ranks).tolist() == np.sort(values)[ranks].tolist()
    assert found.at([]).tolist() == []


@pytest.mark.parametrize("count", [1, 2, 3, 999, 5_000])
@pytest.mark.parametrize("at_once", [0, 1 << 20])
def test_quantiles_are_numpy_s_to_the_last_digit(count, at_once):
    values = np.random.default_rng(count).normal(size=count) * 1e3
    shares = np.linspace(0, 1, 101)
    found = Ordered(lambda: (values[: count // 3], values[count // 3 :]), at_once)
    assert found.quantiles(shares).tolist() == np.quantile(values, shares).tolist()


def test_the_same_numbers_have_the_same_spread_in_parts():
    values = np.random.default_rng(5).integers(0, 10**9, 10_000)
    found = rates.spread_of(Ordered(lambda: (values[:10] / 1e3, values[10:] / 1e3), 100))
    assert found == rates.spread(values, 1e3)
    assert rates.spread_of(Ordered(list)).count == 0
