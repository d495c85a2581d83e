"""Rates with their denominators and intervals, means of differences, and summaries of widths and errors.

Wilson's score interval: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209. Exact limits: Clopper and Pearson, Biometrika
26 (1934) 404; for no (or only) hits out of n the one-sided 95 % limit is 1 - 0.05^(1/n) (or 0.05^(1/n)).
Both are about independent trials. One clock sample serves many events, so that events are worth fewer trials than they
are many: where the events themselves are at hand, ``analysis.bootstrap`` says how many, and both intervals are taken
for that effective number (as E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998) 193, do for the exact one),
with Student's quantile for as many blocks as there were. Where only counts are at hand, the label says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.bootstrap import Effect

CONFIDENCE: Final = 0.95
Z_95: Final = 1.959963984540054  # standard normal quantile at 0.975
WILSON: Final = "Wilson 95 %, assumes independence"
EXACT: Final = "exact one-sided 95 % (Clopper-Pearson), assumes independence"
BLOCK: Final = "Wilson 95 % at the effective number of trials (circular block bootstrap)"
BLOCK_EXACT: Final = "exact one-sided 95 % (Clopper-Pearson) at the effective number of trials"
BLOCK_MEAN: Final = "mean ± Student 95 % · standard error (circular block bootstrap)"
NO_TRIALS: Final = "no trials"


@dataclass(frozen=True)
class Rate:
    """``numerator`` of ``denominator``, with a 95 % interval; no trials, no value.

    ``effective``: how many independent trials the denominator is worth; None where nobody could tell, and the interval
    takes all of them for independent.
    """

    numerator: int
    denominator: int
    low: float | None
    high: float | None
    method: str
    effective: float | None = None

    @property
    def value(self) -> float | None:
        """Return the share, or None where there was nothing to count."""
        return self.numerator / self.denominator if self.denominator else None

    def as_dict(self) -> dict[str, Any]:
        """Return the rate as JSON-serialisable data."""
        interval = None if self.low is None else [self.low, self.high]
        return {
            "numerator": self.numerator,
            "denominator": self.denominator,
            "value": self.value,
            "interval": interval,
            "method": self.method,
            "effective_trials": self.effective,
        }


def rate(numerator: int, denominator: int, effect: Effect | None = None) -> Rate:
    """Return a rate with its interval, of dependent trials where ``effect`` says what they are worth.

    Raises ValueError unless 0 <= numerator <= denominator.
    """
    hits, trials = int(numerator), int(denominator)
    if not 0 <= hits <= trials:
        raise ValueError(f"rate: expected 0 <= numerator <= denominator, got {hits} of {trials}")
    if trials == 0:
        return Rate(0, 0, None, None, NO_TRIALS)
    worth = float(trials) if effect is None else effect.worth(trials)
    told = None if effect is None else worth
    edge = (1.0 - CONFIDENCE) ** (1.0 / worth)
    exact, inner = (EXACT, WILSON) if effect is None else (BLOCK_EXACT, BLOCK)
    if hits == 0:
        return Rate(0, trials, 0.0, 1.0 - edge, exact, told)
    if hits == trials:
        return Rate(hits, trials, edge, 1.0, exact, told)
    low, high = wilson(hits / trials, worth, Z_95 if effect is None else student(effect.blocks - 1))
    return Rate(hits, trials, low, high, inner, told)


def block_rate(hits: NDArray[np.bool_], judged: NDArray[np.bool_], stretches: NDArray[np.int64] | None = None) -> Rate:
    """Return the rate of the hits among the judged events, which are in the order they happened.

    ``stretches`` number the runs of events that share one sample (``bootstrap.stretches_of``).
    """
    both = hits & judged
    return rate(int(both.sum()), int(judged.sum()), bootstrap.effect(both, judged, stretches))


def opposite(one: Rate) -> Rate:
    """Return the rate of what was not counted, with the mirrored interval."""
    low, high = (None if edge is None else 1.0 - edge for edge in (one.high, one.low))
    return Rate(one.denominator - one.numerator, one.denominator, low, high, one.method, one.effective)


def wilson(share: float, trials: float, quantile: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share of so many trials."""
    z2 = quantile * quantile
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = quantile / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def student(freedom: int) -> float:
    """Return the 0.975 quantile of Student's distribution; 1 degree of freedom where there is none."""
    from scipy.special import stdtrit  # noqa: PLC0415 - 0.4 s that only dependent trials are worth

    return float(stdtrit(max(1, freedom), 1.0 - (1.0 - CONFIDENCE) / 2.0))


@dataclass(frozen=True)
class Mean:
    """The mean of ``count`` dependent values with a 95 % interval, in the unit the key says; None of no values."""

    count: int
    value: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the mean as JSON-serialisable data."""
        interval = None if self.low is None else [self.low, self.high]
        method = BLOCK_MEAN if self.count else NO_TRIALS
        return {"count": self.count, "value": self.value, "interval": interval, "method": method}


def block_mean(
    values: NDArray[np.float64], judged: NDArray[np.bool_], stretches: NDArray[np.int64] | None = None
) -> Mean:
    """Return the mean of the judged events' values; for paired differences, hand in the differences.

    One stretch alone says nothing about how the next would differ, so it gives a value without an interval.
    """
    count = int(judged.sum())
    if not count:
        return Mean(0, None, None, None)
    series = bootstrap.binned(values, judged, stretches)
    mean = float(series.sums.sum() / series.counts.sum())
    if len(series.sums) < 2:
        return Mean(count, mean, None, None)
    error, block = bootstrap.standard_error(series)
    half = student(math.ceil(len(series.sums) / block) - 1) * error
    return Mean(count, mean, mean - half, mean + half)


@dataclass(frozen=True)
class Spread:
    """Median, 95th and 99th percentile and maximum of ``count`` values, in the unit the key says; None of no values."""

    count: int
    median: float | None
    p95: float | None
    maximum: float | None
    p99: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the spread as JSON-serialisable data."""
        return {"count": self.count, "median": self.median, "p95": self.p95, "p99": self.p99, "max": self.maximum}


def spread(values: NDArray[Any], unit: float = 1.0) -> Spread:
    """Return the spread of ``values`` divided by ``unit``; values that are not finite are the caller's business."""
    if len(values) == 0:
        return Spread(0, None, None, None)
    scaled = np.asarray(values, dtype=np.float64) / unit
    median, p95, p99, top = (float(value) for value in np.percentile(scaled, [50, 95, 99, 100]))
    return Spread(len(values), median, p95, top, p99)
