"""The block bootstrap draws what arch draws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from analysis.stats import bootstrap
from analysis.stats.dependence import binned

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from arch.bootstrap import CircularBlockBootstrap, optimal_block_length


def autoregressive(rng, count, correlation):
    """Return ``count`` values whose neighbours are correlated; standard normal each."""
    noise = rng.normal(size=count) * np.sqrt(1 - correlation**2)
    values = np.empty(count)
    values[0] = rng.normal()
    for place in range(1, count):
        values[place] = correlation * values[place - 1] + noise[place]
    return values


@pytest.mark.parametrize("correlation", [-0.4, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("count", [60, 500, 1000])
def test_the_block_length_is_archs_rounded_up(correlation, count):
    series = autoregressive(np.random.default_rng(count), count, correlation)
    theirs = float(optimal_block_length(series)["circular"].iloc[0])
    assert bootstrap.block_length(series) == max(1, int(np.ceil(theirs)))


def test_a_constant_or_tiny_series_is_drawn_in_blocks_of_one():
    assert bootstrap.block_length(np.full(50, 3.0)) == 1
    assert bootstrap.block_length(np.array([1.0, 2.0])) == 1


@pytest.mark.parametrize("block", [1, 7, 50])
def test_every_replicate_is_the_one_arch_draws_from_the_same_seed(block):
    rng = np.random.default_rng(3)
    columns = np.column_stack([rng.integers(0, 9, 203), rng.integers(1, 9, 203)]).astype(np.float64)
    theirs = CircularBlockBootstrap(block, columns, seed=np.random.default_rng(bootstrap.SEED))
    expected = theirs.apply(lambda drawn: drawn.sum(axis=0), 40)
    assert bootstrap.replicates(columns, block, 40).tolist() == np.asarray(expected).tolist()


def test_the_same_series_has_the_same_error_again():
    hits = np.random.default_rng(9).random(500) < 0.5
    series = binned(hits, np.ones(500, dtype=np.bool_), np.arange(500))
    assert bootstrap.standard_error(series) == bootstrap.standard_error(series)
