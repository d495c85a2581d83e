"""Dependent trials: our bootstrap draws what arch draws, and its intervals hold what they promise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from analysis import bootstrap, statistics

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


def covered(make, share, interval, runs=300):
    """Return how many of ``runs`` intervals hold the true share."""
    inside = 0
    for seed in range(runs):
        hits = make(np.random.default_rng(seed))
        found = interval(hits)
        inside += found.low <= share <= found.high
    return inside / runs


def served_in_groups(rng):
    """1000 events, 10 to each sample, which all 10 hit or all miss: 100 trials worth of events."""
    return np.repeat(rng.random(100) < 0.2, 10)


def slowly_changing(rng):
    """1000 events whose hits come in spells, as a clock's that wanders in and out of its bound."""
    return autoregressive(rng, 1000, 0.9) > 0.8416  # the normal quantile at 0.8


def block(hits):
    return statistics.block_rate(hits, np.ones(len(hits), dtype=np.bool_))


def naive(hits):
    return statistics.rate(int(hits.sum()), len(hits))


@pytest.mark.parametrize("make", [served_in_groups, slowly_changing])
def test_nine_in_ten_block_intervals_or_more_hold_the_true_rate_and_wilsons_do_not(make):
    """Nominal are 95 %; 300 runs of a rule that holds 93 % of the time stay above 90 % but once in 50."""
    assert covered(make, 0.2, block) >= 0.90
    assert covered(make, 0.2, naive) < 0.80


def test_independent_trials_are_worth_themselves_and_get_wilsons_interval():
    hits = np.random.default_rng(5).random(4000) < 0.3
    ours, theirs = block(hits), naive(hits)
    assert ours.effective == pytest.approx(4000, rel=0.35)
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.25)


def test_nothing_hit_in_ten_samples_that_serve_a_thousand_events_is_nothing_in_ten():
    """A miss of the eleventh sample would have made a hundred events miss at once."""
    stretches = np.repeat(np.arange(10), 100)
    found = statistics.block_rate(np.zeros(1000, dtype=np.bool_), np.ones(1000, dtype=np.bool_), stretches)
    assert (found.numerator, found.denominator, found.effective) == (0, 1000, 10.0)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 10))
    assert found.method == statistics.BLOCK_EXACT


def test_stretches_end_where_any_mark_changes():
    first, second = np.array([1, 1, 1, 2, 2]), np.array(["a", "b", "b", "b", "b"], dtype=object)
    assert bootstrap.stretches_of(first, second).tolist() == [0, 1, 1, 2, 2]


def test_binning_keeps_every_hit_and_every_trial_and_counts_the_stretches_before():
    rng = np.random.default_rng(1)
    judged, hits = rng.random(50_000) < 0.7, rng.random(50_000) < 0.4
    series = bootstrap.binned(hits, judged, np.arange(50_000) // 5)
    assert len(series.sums) == bootstrap.MOST_BINS
    assert (series.sums.sum(), series.counts.sum()) == ((hits & judged).sum(), judged.sum())
    assert series.stretches == len(set((np.arange(50_000) // 5)[judged]))


def test_a_paired_difference_is_found_where_both_clocks_wander_together():
    """Each wanders by 100, the difference is 5 ± 1: pairing sees it, and the interval holds it."""
    rng = np.random.default_rng(2)
    common = 100 * autoregressive(rng, 2000, 0.99)
    first, second = common + rng.normal(size=2000), common + 5 + rng.normal(size=2000)
    everywhere = np.ones(2000, dtype=np.bool_)
    found = statistics.block_mean(second - first, everywhere)
    assert found.low < 5 < found.high
    assert found.high - found.low < 0.5
    alone = statistics.block_mean(second, everywhere)
    assert alone.high - alone.low > 10


def test_one_stretch_has_a_mean_but_no_interval_and_no_event_has_neither():
    one = statistics.block_mean(np.ones(5), np.ones(5, dtype=np.bool_), np.zeros(5, dtype=np.int64))
    assert (one.count, one.value, one.low) == (5, 1.0, None)
    none = statistics.block_mean(np.ones(5), np.zeros(5, dtype=np.bool_))
    assert (none.count, none.value, none.low) == (0, None, None)


def test_the_same_events_give_the_same_interval_again():
    hits = np.random.default_rng(9).random(500) < 0.5
    assert block(hits) == block(hits)
