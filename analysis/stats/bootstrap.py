"""Circular block bootstrap of sums of consecutive events.

Events are no independent trials (see ``dependence``), so they are drawn again in blocks of consecutive segments (D. N.
Politis and J. P. Romano, A circular block-resampling procedure for stationary data, 1992), of a length taken from the
data (D. N. Politis and H. White, Econometric Reviews 23 (2004) 53, corrected by A. Patton and both, Econometric Reviews
28 (2009) 372).

The library for this is arch, and the tests hold every block length and every replicate against it. It is not imported
here: it loads its volatility models (and scipy.stats, statsmodels) with it, 5 to 7 s on the machine this was written
on, and calls a Python function per replicate, 50 ms per rate, where a report has more than a hundred rates. All
replicates of a rate are one matrix here, about 1 ms. Whatever the run's length, at most ``dependence.MOST_BINS`` bins
are drawn.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from analysis.arrays import Floats, Ints
    from analysis.stats.dependence import Bins

REPLICATES: Final = 600
SEED: Final = 1992  # any: the same for every rate of every analysis, so that repeating one gives the same bytes


def standard_error(series: Bins) -> tuple[float, int]:
    """Return the standard error of sum / count by the block bootstrap, and the block length it was taken with."""
    mean = series.sums.sum() / series.counts.sum()
    block = block_length(series.sums - mean * series.counts)
    drawn = replicates(np.column_stack([series.sums, series.counts]), block)
    kept = drawn[drawn[:, 1] > 0]
    if len(kept) < 2:
        return 0.0, block
    return float(np.std(kept[:, 0] / kept[:, 1], ddof=1)), block


def block_length(series: Floats) -> int:
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


def replicates(columns: Floats, block: int, count: int = REPLICATES, seed: int = SEED) -> Floats:
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
def _draws(rows: int, blocks: int, count: int, seed: int) -> tuple[Floats, Ints]:
    """Return how often each replicate draws the block beginning at each row, and where its last block begins."""
    starts = np.random.default_rng(seed).integers(rows, size=(count, blocks))
    cells = np.arange(count)[:, None] * rows + starts[:, :-1]
    times = np.bincount(cells.ravel(), minlength=count * rows).astype(np.float64).reshape(count, rows)
    return times, starts[:, -1]
