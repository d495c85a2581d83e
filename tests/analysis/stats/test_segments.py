"""Sums by segment are the same to the last digit, however the events are cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import rates
from analysis.stats.dependence import autocorrelation_time, binned, segments_of
from analysis.stats.segments import Numbering, SegmentSums, longest_tau


def served(rng, count):
    """Return samples that serve a few events each, some of them again later, and at first none."""
    names = np.repeat(np.arange(count), rng.integers(1, 5, count))[:count]
    names[rng.integers(0, count, 3)] = 0
    return np.where(np.arange(count) < rng.integers(0, 4), -1, names)


@pytest.mark.parametrize("seed", range(30))
def test_events_in_pieces_have_the_segments_and_sums_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 400))
    first, second = served(rng, count), served(rng, count)
    values, chosen = rng.normal(size=count) * 1e6, rng.random(count) < 0.7
    borders = np.sort(rng.integers(0, count + 1, int(rng.integers(0, 9))))
    numbering, cut, whole = Numbering(), SegmentSums(), SegmentSums()
    numbers = []
    for one, other, own, some in zip(*(np.split(array, borders) for array in (first, second, values, chosen))):
        numbers.append(numbering.of(one, other))
        cut.add(numbers[-1], own, some)
    expected = segments_of(first, second)
    assert np.concatenate(numbers).tolist() == expected.tolist()
    whole.add(expected, values, chosen)
    assert [own.tolist() for own in cut.by_segment] == [own.tolist() for own in whole.by_segment]
    assert (cut.count, cut.total) == (int(chosen.sum()), whole.total)
    sums, lengths = whole.by_segment
    assert longest_tau([cut]) == autocorrelation_time(sums / lengths)
    series = binned(values, chosen, expected)
    assert cut.bins.segment_sums == pytest.approx(series.segment_sums, rel=1e-9, abs=1e-6)
    assert cut.bins.segment_counts.tolist() == series.segment_counts.tolist()


def test_the_mean_of_the_opposite_values_is_the_opposite_mean():
    sums, rng = SegmentSums(), np.random.default_rng(1)
    sums.add(np.arange(500), rng.normal(3, size=500), np.ones(500, dtype=np.bool_))
    mean, opposite = (rates.mean(bins, bins, None) for bins in (sums.bins, sums.bins.negated))
    assert (opposite.value, opposite.low, opposite.high) == (-mean.value, -mean.high, -mean.low)
    assert mean.low < 3 < mean.high


def test_nothing_chosen_is_a_sum_of_nothing():
    sums = SegmentSums()
    sums.add(np.arange(5), np.ones(5), np.zeros(5, dtype=np.bool_))
    assert (sums.count, sums.total, len(sums.bins.sums)) == (0, 0.0, 0)
    assert rates.mean(sums.bins, sums.bins, None).count == 0
