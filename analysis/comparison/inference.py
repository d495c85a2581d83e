"""What repeats tell of the difference between two conditions, one number per run.

*Two samples*: Welch's t for the interval (B. Welch, Biometrika 34, 1947), and for the test a permutation of Welch's own
statistic, which keeps its level where the variances differ (A. Janssen, Statistics & Probability Letters 36, 1997).
*Pairs*: Student's t of the differences, and the permutation of their signs (R. Fisher, "The Design of Experiments",
1935). All permutations are taken where there are at most ``RESAMPLES``, else so many at random, with the observed one
among them (B. Phipson, G. Smyth, "Permutation p-values should never be zero", SAGMB 9, 2010). *Several metrics*: S.
Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979. *Power*:
the noncentral t.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy import optimize, stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEVEL: Final = 0.05
POWER: Final = 0.8
RESAMPLES: Final = 9_999
SEED: Final = 1
MOST_REPEATS: Final = 1_000_000
NEGLIGIBLE: Final = 6.0  # sigma: a normal number falls further in 1e-9 of all cases
_TIE: Final = 1e-9  # of the observed statistic: what the order of summing may make of an equal one
_ROUNDING: Final = 1e-12  # of the largest value: what means of equal numbers may differ by


@dataclass(frozen=True)
class Difference:
    """Mean of B minus mean of A with its 95 % interval, and the permutation's ``p``.

    ``low`` and ``high`` are None where no repeat varied. ``needed`` is how many repeats of each condition (or pairs)
    would show a difference as large as this one in 80 % of all such comparisons, None where that is no number.
    """

    mean_a: float
    mean_b: float
    value: float
    low: float | None
    high: float | None
    p: float
    method: str
    needed: int | None

    @property
    def interval_agrees(self) -> bool:
        """Tell whether the interval excludes 0 as well; true where there is none, which only p speaks of."""
        return self.low is None or self.high is None or not self.low <= 0 <= self.high


def independent(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare two samples of at least two runs each."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    scale = float(max(np.abs(first).max(), np.abs(second).max()))

    def statistic(x: Floats, y: Floats, axis: int = -1) -> Floats:
        error = np.sqrt(x.var(axis=axis, ddof=1) / x.shape[axis] + y.var(axis=axis, ddof=1) / y.shape[axis])
        return _standardised(y.mean(axis=axis) - x.mean(axis=axis), error, scale)

    p = _permuted((first, second), statistic, "independent")
    value = float(second.mean() - first.mean())
    squares = [float(side.var(ddof=1)) / len(side) for side in (first, second)]
    low = high = None
    if max(first.std(), second.std()) > _ROUNDING * scale:
        freedom = sum(squares) ** 2 / sum(
            square**2 / (len(side) - 1) for square, side in zip(squares, (first, second), strict=True)
        )
        low, high = _interval(value, math.sqrt(sum(squares)), freedom)
    repeats = repeats_to_show(value, spread(a, b))
    return Difference(float(first.mean()), float(second.mean()), value, low, high, p, "Welch", repeats)


def pairs(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare runs that belong together, in their order, at least two of them."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    apart = second - first
    scale = float(max(np.abs(first).max(), np.abs(second).max()))

    def statistic(x: Floats, axis: int = -1) -> Floats:
        return _standardised(x.mean(axis=axis), x.std(axis=axis, ddof=1) / math.sqrt(x.shape[axis]), scale)

    p = _permuted((apart,), statistic, "samples")
    value = float(apart.mean())
    low = high = None
    if apart.std() > _ROUNDING * scale:
        low, high = _interval(value, float(apart.std(ddof=1)) / math.sqrt(len(apart)), len(apart) - 1)
    repeats = repeats_to_show(value, float(apart.std(ddof=1)), paired=True)
    return Difference(float(first.mean()), float(second.mean()), value, low, high, p, "Student, in pairs", repeats)


def _interval(value: float, error: float, freedom: float) -> tuple[float, float]:
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
    return value - half, value + half


def spread(*samples: Sequence[float]) -> float:
    """Return the standard deviation within samples of equal weight, each of at least two values."""
    return math.sqrt(sum(float(np.var(sample, ddof=1)) for sample in samples) / len(samples))


def _standardised(apart: Floats, error: Floats, scale: float) -> Floats:
    """Return |difference| / standard error; where nothing varies but rounding, 0 or what stands for infinity."""
    least = _ROUNDING * scale or 1.0
    rounded = np.where(np.abs(apart) <= least, 0.0, apart)
    ratio: Floats = np.abs(rounded) / np.maximum(error, least)
    return ratio


def _permuted(
    samples: tuple[Floats, ...], statistic: Callable[..., Floats], kind: Literal["independent", "samples"]
) -> float:
    observed = statistic(*samples)

    def tied(*drawn: Floats, axis: int = -1) -> Floats:
        value = statistic(*drawn, axis=axis)
        return np.where(np.isclose(value, observed, rtol=_TIE, atol=0.0), observed, value)

    result = stats.permutation_test(
        samples,
        tied,
        permutation_type=kind,
        vectorized=True,
        n_resamples=RESAMPLES,
        alternative="greater",
        rng=np.random.default_rng(SEED),
    )
    return float(result.pvalue)


def least_p(runs_a: int, runs_b: int, *, paired: bool) -> float:
    """Return the smallest p that so many runs can reach, however far apart they are."""
    if paired:
        return 2.0 ** (1 - runs_a)
    return (2 if runs_a == runs_b else 1) / math.comb(runs_a + runs_b, runs_a)


def fewest(*, paired: bool) -> int:
    """Return how many repeats of each condition the permutation test needs to call any difference one."""
    return next(runs for runs in itertools.count(2) if least_p(runs, runs, paired=paired) <= LEVEL)


def repeats_to_show(difference: float, sd: float, *, paired: bool = False) -> int | None:
    """Return how many repeats (of each condition) a comparison needs to show a difference: see ``needed``."""
    repeats = needed(difference, sd, paired=paired)
    return None if repeats is None else max(repeats, fewest(paired=paired))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number, in the order given."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def power(effect: float, repeats: int, *, paired: bool) -> float:
    """Return the share of comparisons that show a difference of ``effect`` standard deviations with so many repeats.

    Two-sided Student's t at 5 %, by the noncentral t with ``effect`` sqrt(n / 2), or ``effect`` sqrt(n) of pairs.
    """
    freedom = repeats - 1 if paired else 2 * repeats - 2
    away = effect * math.sqrt(repeats if paired else repeats / 2)
    limit = float(stats.t.ppf(1 - LEVEL / 2, freedom))
    upper = float(stats.nct.sf(limit, freedom, away))
    # The other side is shown no more often than a normal number falls below -away; scipy gives NaN where that is tiny.
    return upper if away > NEGLIGIBLE else upper + float(stats.nct.cdf(-limit, freedom, away))


def needed(difference: float, sd: float, *, paired: bool = False) -> int | None:
    """Return with how many repeats (of each condition) Student's t has 80 % power; None beyond a million, or of 0."""
    if difference == 0 or not math.isfinite(difference) or not math.isfinite(sd):
        return None
    if sd == 0:
        return 2
    effect = abs(difference) / sd
    if power(effect, MOST_REPEATS, paired=paired) < POWER:
        return None
    low, high = 1, 2  # low is too few
    while power(effect, high, paired=paired) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, paired=paired) >= POWER else (middle, high)
    return high


def resolvable(sd: float, repeats: int, *, paired: bool = False) -> float:
    """Return the difference that so many repeats show with 80 % power; at least 2 of them."""

    def short(effect: float) -> float:
        return power(effect, repeats, paired=paired) - POWER

    highest = 1.0
    while short(highest) < 0:
        highest *= 2
    return sd * float(optimize.brentq(short, 0.0, highest))
