"""Circular block bootstrap: how many independent trials a run's dependent events are worth.

One clock sample serves many events, and a clock that is off at one event is off at the next, so events are no
independent trials. Consecutive events are drawn again in blocks (D. N. Politis and J. P. Romano, A circular
block-resampling procedure for stationary data, 1992), of a length taken from the data (D. N. Politis and H. White,
Econometric Reviews 23 (2004) 53, corrected by A. Patton and both, Econometric Reviews 28 (2009) 372).

The library for this is arch, and the tests hold every block length and every replicate against it. It is not imported
here: it loads its volatility models (and scipy.stats, statsmodels) with it, 5 to 7 s on the machine this was written
on, and calls a Python function per replicate, 50 ms per rate, where a report has more than a hundred rates. All
replicates of a rate are one matrix here, about 1 ms. Whatever the run's length, at most ``MOST_BINS`` bins are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPLICATES: Final = 600
MOST_BINS: Final = 1_000
SEED: Final = 1992  # any: the same for every rate of every analysis, so that repeating one gives the same bytes


@dataclass(frozen=True)
class Effect:
    """What dependence makes of a number of trials: ``factor`` of them are worth one independent trial.

    ``stretches``: the runs of consecutive trials that share one sample; no trial count is worth more than that.
    ``blocks``: how many blocks of consecutive stretches, each ``block`` bins long, a replicate is made of.
    """

    factor: float
    stretches: int
    block: int
    blocks: int

    def worth(self, trials: int) -> float:
        """Return how many independent trials so many are worth, at least 1."""
        return max(1.0, trials / self.factor)


@dataclass(frozen=True)
class Bins:
    """A series of consecutive events, added up: per bin the sum of the values and how many they are."""

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    stretches: int


def stretches_of(*marks: NDArray[np.integer] | NDArray[np.object_]) -> NDArray[np.int64]:
    """Return the number of every event's stretch, 0, 0, 1, 1, 1, 2 …: a new one where a mark (a sample id) changes."""
    changes = np.zeros(len(marks[0]), dtype=np.bool_)
    for mark in marks:
        changes[1:] |= np.asarray(mark[1:] != mark[:-1], dtype=np.bool_)
    numbers: NDArray[np.int64] = np.cumsum(changes)
    return numbers


def stretches_of_shared(*marks: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return the number of every row's stretch where rows of several nodes are mixed, in order of time.

    A new one begins with a row one of whose marks (the samples it rests on) was in no row before, so that there are at
    most as many stretches as samples.
    """
    _, first = np.unique(np.column_stack(marks).ravel(), return_index=True)
    begins = np.zeros(len(marks[0]), dtype=np.bool_)
    begins[first // len(marks)] = True
    numbers: NDArray[np.int64] = np.cumsum(begins)
    return numbers


def binned(
    values: NDArray[np.bool_] | NDArray[np.float64], judged: NDArray[np.bool_], stretches: NDArray[np.int64] | None
) -> Bins:
    """Add up the judged events of every stretch, and stretches of more than ``MOST_BINS`` in equal groups.

    ``stretches`` are numbers that only grow (see ``stretches_of``); None: every event is a stretch of its own.
    """
    chosen = slice(None) if judged.all() else np.flatnonzero(judged)  # the former takes nothing apart
    kept = values[chosen]
    if not len(kept):
        return Bins(np.zeros(0), np.zeros(0), 0)
    if stretches is None:
        begins = np.arange(len(kept))
    else:
        numbers = stretches[chosen]
        begins = np.concatenate([[0], np.flatnonzero(numbers[1:] != numbers[:-1]) + 1])
    bins = min(len(begins), MOST_BINS)
    edges = begins[-(-np.arange(bins) * len(begins) // bins)]
    sums = np.add.reduceat(kept, edges, dtype=np.float64)
    counts = np.diff(edges, append=len(kept)).astype(np.float64)
    return Bins(sums, counts, len(begins))


def effect(
    hits: NDArray[np.bool_], judged: NDArray[np.bool_], stretches: NDArray[np.int64] | None = None
) -> Effect | None:
    """Return what the judged events are worth for the rate of the hits among them; None where none is judged.

    The factor is the variance of the rate over the replicates by that of independent trials (Kish's design effect),
    at least 1, and at least so large that the trials are worth no more than their stretches.
    """
    series = binned(hits, judged, stretches)
    trials = float(series.counts.sum())
    if not trials:
        return None
    share = float(series.sums.sum()) / trials
    error, block = standard_error(series)
    independent = share * (1.0 - share) / trials
    factor = max(1.0, trials / series.stretches, error * error / independent if independent > 0 else 1.0)
    return Effect(factor, series.stretches, block, math.ceil(len(series.sums) / block))


def standard_error(series: Bins) -> tuple[float, int]:
    """Return the standard error of sum / count by the block bootstrap, and the block length it was taken with."""
    mean = series.sums.sum() / series.counts.sum()
    block = block_length(series.sums - mean * series.counts)
    drawn = replicates(np.column_stack([series.sums, series.counts]), block)
    kept = drawn[drawn[:, 1] > 0]
    if len(kept) < 2:
        return 0.0, block
    return float(np.std(kept[:, 0] / kept[:, 1], ddof=1)), block


def block_length(series: NDArray[np.float64]) -> int:
    """Return the length of blocks (rounded up) for a circular block bootstrap of the mean of a series.

    Politis and White's rule, corrected: (2 G² n / D)^(1/3) with D = 4/3 · (spectral density at 0)², from the
    autocovariances up to twice the first lag after which several in a row are insignificant. 1 for a constant series.
    """
    count = len(series)
    centred = series - series.mean()
    if count < 4 or not centred.any():
        return 1
    longest = math.ceil(min(3.0 * math.sqrt(count), count / 3.0))
    in_a_row = max(5, int(math.log10(count)))
    most_lags = min(math.ceil(math.sqrt(count)) + in_a_row, count - 2)
    limit = 2.0 * math.sqrt(math.log10(count) / count)
    # sums of products, for a dot product of so few numbers costs more in threads than in arithmetic
    covariance = np.array([(centred[lag:] * centred[: count - lag]).sum() for lag in range(most_lags + 1)]) / count
    squares = np.concatenate([[0.0], np.cumsum(centred * centred)])
    lags = np.arange(1, most_lags + 2)
    scale = np.sqrt((squares[-1] - squares[lags]) * squares[count - lags])
    correlation = np.abs(covariance) * count / np.where(scale > 0, scale, np.inf)
    quiet = correlation < limit
    last = next((lag for lag in range(most_lags - in_a_row + 1) if quiet[lag : lag + in_a_row].all()), None)
    span = most_lags if last is None else min(2 * max(last, 1), most_lags)
    lag = np.arange(1, span + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - lag / span))
    density = covariance[0] + 2.0 * float(weight @ covariance[1 : span + 1])
    slope = 2.0 * float((weight * lag) @ covariance[1 : span + 1])
    if density == 0.0:
        return longest
    length = (1.5 * slope * slope / (density * density) * count) ** (1.0 / 3.0)
    return max(1, math.ceil(min(float(length), longest)))


def replicates(
    columns: NDArray[np.float64], block: int, count: int = REPLICATES, seed: int = SEED
) -> NDArray[np.float64]:
    """Return the column sums of ``count`` series drawn from the rows in blocks, wrapping around at the end."""
    rows = len(columns)
    blocks = math.ceil(rows / block)
    drawn, last = _draws(rows, blocks, count, seed)
    running = np.zeros((rows + block + 1, columns.shape[1]))
    np.cumsum(np.concatenate([columns, columns[:block]]), axis=0, out=running[1:])
    rest = rows - (blocks - 1) * block  # the last block is cut so that a replicate is as long as the series
    whole, cut = running[block : block + rows] - running[:rows], running[rest : rest + rows] - running[:rows]
    # not @: its threads sum in an order of their own, and wait for each other where the processors are busy
    sums = [np.einsum("rb,b->r", drawn, column) for column in np.ascontiguousarray(whole.T)]
    return np.column_stack(sums) + cut[last]


@lru_cache(maxsize=8)
def _draws(rows: int, blocks: int, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return how often each replicate draws the block beginning at each row, and where its last block begins.

    The same for all rates of a run that have as many bins and blocks: hundreds of rates share one drawing.
    """
    starts = np.random.default_rng(seed).integers(rows, size=(count, blocks))
    cells = np.arange(count)[:, None] * rows + starts[:, :-1]
    times = np.bincount(cells.ravel(), minlength=count * rows).astype(np.float64).reshape(count, rows)
    return times, starts[:, -1]
