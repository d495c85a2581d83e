"""What dependent events are worth: at most their samples, and less where the error wanders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from analysis.simulation.statistics_calibration import autoregression
from analysis.stats import dependence, rates
from analysis.stats.counts import Outcomes, counts, first_served
from analysis.stats.dependence import Dependence, Latent


def every(count):
    return np.ones(count, dtype=np.bool_)


def latent(values):
    return Latent(np.asarray(values, dtype=np.float64), every(len(values)))


def covered(make, share, interval, runs=200):
    """Return how many of the intervals given hold the true share, and how many are given."""
    inside = given = 0
    for seed in range(runs):
        found = interval(*make(np.random.default_rng(seed)))
        if found.low is not None:
            given += 1
            inside += found.low <= share <= found.high
    return inside / max(given, 1), given / runs


def served_in_groups(rng):
    """1000 events, 10 to each sample, which all 10 hit or all miss: 100 trials worth of events."""
    values = np.repeat(rng.random(100), 10)
    return values < 0.2, values, np.arange(1000) // 10


def slowly_changing(rng):
    """1000 events whose hits come in spells, as a clock's that wanders in and out of its bound."""
    values = autoregression(rng, 1, 1000, 0.9)[0]
    return values > ndtri(0.8), values, np.arange(1000)


def slowly_changing_under_noise(rng):
    """2000 samples of a bias that wanders, under noise as large as itself that is new with every sample."""
    values = (autoregression(rng, 1, 2000, 0.95)[0] + rng.normal(size=2000)) / np.sqrt(2)
    return values > ndtri(0.8), values, np.arange(2000)


def of_error(hits, values, segments):
    return rates.rate_of(hits, every(len(hits)), dependence.dependence(segments, latent(values)))


def naive(hits, _values, _segments):
    return rates.rate(int(hits.sum()), len(hits), rates.Worth(float(len(hits)), 10**9))


@pytest.mark.parametrize("make", [served_in_groups, slowly_changing, slowly_changing_under_noise])
def test_nine_in_ten_intervals_or_more_hold_the_true_rate_and_those_of_independent_trials_do_not(make):
    coverage, given = covered(make, 0.2, of_error)
    assert coverage >= 0.9
    assert given >= 0.9
    assert covered(make, 0.2, naive)[0] < 0.8


def test_independent_trials_are_worth_most_of_what_they_are_many():
    rng = np.random.default_rng(5)
    values = rng.random(4000)
    ours, theirs = of_error(values < 0.3, values, np.arange(4000)), naive(values < 0.3, None, None)
    assert 0.5 * 4000 < ours.effective <= 4000
    assert theirs.high - theirs.low < ours.high - ours.low < 1.5 * (theirs.high - theirs.low)


def test_events_are_never_worth_more_than_their_samples():
    values = np.random.default_rng(6).random(40)
    found = of_error(np.zeros(4000, dtype=np.bool_), np.repeat(values, 100), np.arange(4000) // 100)
    assert (found.numerator, found.denominator) == (0, 4000)
    assert 5 <= found.effective <= 40
    assert found.high >= 1 - 0.05 ** (1 / 40)


def test_nothing_counted_of_what_never_varied_has_no_interval():
    found = rates.rate_of(np.zeros(1000, dtype=np.bool_), every(1000), Dependence(np.arange(1000), None))
    assert (found.low, found.high, found.method) == (None, None, rates.NOTHING_VARIED)


def test_a_walk_as_long_as_the_run_has_no_interval():
    walk = np.cumsum(np.random.default_rng(7).normal(size=300))
    found = of_error(walk > np.median(walk), walk, np.arange(300))
    assert (found.low, found.method) == (None, rates.TOO_FEW)


def test_a_segment_begins_where_a_sample_serves_for_the_first_time():
    first = np.array([1, 1, -1, 1, 2, 2, 1, 3])
    assert dependence.segments_of(first).tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    second = np.array([7, 8, -1, 8, 8, 7, 7, 8])
    assert dependence.segments_of(first, second).tolist() == [0, 1, 1, 1, 2, 2, 2, 3]
    assert dependence.segments_of(np.full(4, -1)).tolist() == [0, 0, 0, 0]


def test_samples_numbered_together_begin_one_segment_each_whichever_column_they_stand_in():
    first, second = np.array([0, 1, 2, -1]), np.array([1, 0, 0, -1])
    assert dependence.segments_of_any(first, second).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1, 0.3, 0.9])
def test_losing_events_makes_no_segment(loss):
    rng = np.random.default_rng(8)
    served = np.where(rng.random(2000) < loss, -1, np.arange(2000) // 100)
    assert dependence.segments_of(served).max() + 1 <= 20


def test_binning_keeps_every_hit_and_every_trial_and_the_segments_before():
    rng = np.random.default_rng(1)
    judged, hits = rng.random(50_000) < 0.7, rng.random(50_000) < 0.4
    series = dependence.binned(hits, judged, np.arange(50_000) // 5)
    assert len(series.sums) == dependence.MOST_BINS
    assert (series.sums.sum(), series.counts.sum()) == ((hits & judged).sum(), judged.sum())
    assert len(series.segment_sums) == len(set((np.arange(50_000) // 5)[judged]))
    assert (series.segment_sums.sum(), series.segment_counts.sum()) == (series.sums.sum(), series.counts.sum())


@pytest.mark.parametrize(("correlation", "tau"), [(0.0, 1.0), (0.5, 3.0), (0.9, 19.0), (0.98, 99.0)])
def test_the_autocorrelation_time_is_no_less_than_that_of_the_process(correlation, tau):
    """(1 + phi) / (1 - phi); the estimate is an upper limit, so that it is seldom less, and not twice as much."""
    found = [
        dependence.autocorrelation_time(row)
        for row in autoregression(np.random.default_rng(9), 100, 20_000, correlation)
    ]
    assert np.mean(np.array(found) >= tau) >= 0.95
    assert np.median(found) < 2 * tau + 0.5


def test_one_outlier_hides_no_correlation():
    values = autoregression(np.random.default_rng(10), 1, 3000, 0.9)[0]
    spoilt = values.copy()
    spoilt[1000] = 1e9
    assert dependence.autocorrelation_time(spoilt) == pytest.approx(dependence.autocorrelation_time(values), rel=0.1)


def test_nodes_that_are_off_by_different_amounts_are_put_side_by_side_about_their_medians():
    rng = np.random.default_rng(11)
    errors_ns = [(offset + 1000 * rng.normal(size=500)).astype(np.int64) for offset in (0, 1_000_000_000)]
    outcomes = Outcomes(np.ones(500, dtype=np.int64), every(500), every(500), {})
    together = counts(
        [outcomes, outcomes],
        [first_served(np.arange(500))],
        [[(error_ns, every(500)) for error_ns in errors_ns]],
        messages=2,
        values={},
        reasons={},
        tallies={},
    )
    assert together.tau < 3


def mean_of(least, most, segments):
    return rates.mean(*(dependence.binned(values, every(len(values)), segments) for values in (least, most)), None)


def test_a_paired_difference_is_found_where_both_clocks_wander_together():
    """Each wanders by 100, the difference is 5 ± 1: pairing sees it, and the interval holds it."""
    rng = np.random.default_rng(2)
    common = 100 * autoregression(rng, 1, 2000, 0.9)[0]
    first, second = common + rng.normal(size=2000), common + 5 + rng.normal(size=2000)
    found = mean_of(second - first, second - first, np.arange(2000))
    assert found.low < 5 < found.high
    assert found.high - found.low < 0.5
    wide = mean_of(second, second, np.arange(2000))
    assert wide.high - wide.low > 10


def test_a_mean_of_values_between_limits_is_between_the_means_of_these():
    values = np.random.default_rng(3).normal(size=400)
    found = mean_of(values - 1, values + 2, np.arange(400))
    assert (found.value, found.most) == (pytest.approx(values.mean() - 1), pytest.approx(values.mean() + 2))
    assert found.low < found.value < found.most < found.high
    assert found.as_dict()["value"] is None


def test_one_segment_has_a_mean_but_no_interval_and_no_event_has_neither():
    ones = np.ones(5)
    alone = mean_of(ones, ones, np.zeros(5, dtype=np.int64))
    assert (alone.count, alone.value, alone.low) == (5, 1.0, None)
    none = mean_of(ones[:0], ones[:0], np.zeros(0, dtype=np.int64))
    assert (none.count, none.value, none.low) == (0, None, None)
