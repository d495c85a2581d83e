"""Rates with their denominators and intervals, means of differences, and summaries of widths and errors.

Wilson's score interval: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209. Exact limits: Clopper and Pearson, Biometrika
26 (1934) 404; for no (or only) hits out of n the one-sided 95 % limit is 1 - 0.05^(1/n) (or 0.05^(1/n)).
Both are about independent trials, and events are worth fewer than they are many. ``worth_of`` says how many: the least
of what the segments of their samples, the autocorrelation of what is behind the hits (``dependence``) and the block
bootstrap of the hits themselves (``bootstrap``) leave. Both intervals are taken for that number (as E. L. Korn and B.
I. Graubard, Survey Methodology 24 (1998) 193, do for the exact one), with Student's quantile for as many. Fewer than
five, or a dependence that nobody can tell, give no interval: only repeats of the run can tell then. A mere count has
none either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.stats import bootstrap
from analysis.stats.dependence import FEWEST_TRIALS, autocorrelation_time, binned
from analysis.stats.ordered import Ordered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.arrays import Bools
    from analysis.stats.dependence import Bins, Dependence

CONFIDENCE: Final = 0.95
WILSON: Final = "Wilson 95 % at the effective number of trials"
EXACT: Final = "exact one-sided 95 % (Clopper-Pearson) at the effective number of trials"
STUDENT: Final = "mean ± Student 95 % · standard error at the effective number of trials"
TOO_FEW: Final = f"no interval: worth fewer than {FEWEST_TRIALS:g} independent trials, only repeats of the run can tell"
NOTHING_VARIED: Final = "no interval: nothing varied that could tell what the trials share, only repeats of the run can"
COUNTED: Final = "no interval: a count"
NO_TRIALS: Final = "no trials"


@dataclass(frozen=True)
class Worth:
    """How many independent trials dependent ones are worth, and the degrees of freedom of their variance.

    ``trials`` is None where nothing varied that could tell.
    """

    trials: float | None
    freedom: int = 1

    @property
    def enough(self) -> bool:
        """Tell whether an interval can be taken."""
        return self.trials is not None and self.trials >= FEWEST_TRIALS


@dataclass(frozen=True)
class Rate:
    """``numerator`` of ``denominator``, with a 95 % interval where there can be one; no trials, no value.

    ``effective``: how many independent trials the denominator is worth; None where nobody can tell.
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
        counted = {"numerator": self.numerator, "denominator": self.denominator, "value": self.value}
        interval = None if self.low is None else [self.low, self.high]
        return counted | {"interval": interval, "method": self.method, "effective_trials": self.effective}


def is_rate(data: object) -> bool:
    """Return whether JSON data is what ``Rate.as_dict`` returns."""
    return isinstance(data, dict) and {"numerator", "denominator", "value", "interval"} <= set(data)


def rate(numerator: int, denominator: int, worth: Worth | None = None) -> Rate:
    """Return a rate, with its interval where ``worth`` says what its trials are worth (None: a mere count).

    Raises ValueError unless 0 <= numerator <= denominator.
    """
    hits, trials = int(numerator), int(denominator)
    if not 0 <= hits <= trials:
        raise ValueError(f"rate: expected 0 <= numerator <= denominator, got {hits} of {trials}")
    if trials == 0:
        return Rate(0, 0, None, None, NO_TRIALS)
    if worth is None:
        return Rate(hits, trials, None, None, COUNTED)
    if worth.trials is None:
        return Rate(hits, trials, None, None, NOTHING_VARIED)
    if not worth.enough:
        return Rate(hits, trials, None, None, TOO_FEW, worth.trials)
    edge = (1.0 - CONFIDENCE) ** (1.0 / worth.trials)
    if hits == 0:
        return Rate(0, trials, 0.0, 1.0 - edge, EXACT, worth.trials)
    if hits == trials:
        return Rate(hits, trials, edge, 1.0, EXACT, worth.trials)
    low, high = wilson(hits / trials, worth.trials, student(worth.freedom))
    return Rate(hits, trials, low, high, WILSON, worth.trials)


def rate_of(hits: Bools, judged: Bools, dependence: Dependence) -> Rate:
    """Return the rate of the hits among the judged events, which are in the order they happened."""
    both = hits & judged
    return rate(int(both.sum()), int(judged.sum()), worth_of(both, judged, dependence))


def worth_of(hits: Bools, judged: Bools, dependence: Dependence) -> Worth:
    """Return what the judged events are worth for the rate of the hits among them (see ``worth``)."""
    return worth(binned(hits, judged, dependence.segments), dependence.tau)


def worth(series: Bins, tau: float | None) -> Worth:
    """Return what a series of hits is worth, ``tau`` the autocorrelation time of the latent quantities in segments.

    The least of: the judged segments over that time, and over that of the hits; and what the block bootstrap leaves
    (Kish's design effect: the variance of the rate over the replicates by that of independent trials).
    """
    trials = float(series.counts.sum())
    longest = _longest(series, tau)
    if not trials or longest is None:
        return Worth(None)
    share = float(series.sums.sum()) / trials
    error, block = bootstrap.standard_error(series)
    independent = share * (1.0 - share) / trials
    effect = max(1.0, error * error / independent) if independent > 0 else 1.0
    effective = max(1.0, min(series.equal_segments / longest, trials / effect))
    blocks = math.ceil(len(series.sums) / block)
    return Worth(effective, max(1, math.floor(min(effective, blocks)) - 1))


def _longest(series: Bins, tau: float | None) -> float | None:
    """Return the longer of an autocorrelation time and the series' own; None where neither is known."""
    own = autocorrelation_time(series.segment_sums / series.segment_counts)
    return max((time for time in (tau, own) if time is not None), default=None)


def opposite(rate_: Rate) -> Rate:
    """Return the rate of what was not counted, with the mirrored interval."""
    low, high = (None if edge is None else 1.0 - edge for edge in (rate_.high, rate_.low))
    return Rate(rate_.denominator - rate_.numerator, rate_.denominator, low, high, rate_.method, rate_.effective)


def wilson(share: float, trials: float, quantile: float) -> tuple[float, float]:
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
    """The mean of ``count`` dependent values, in the unit the key says; None of no values.

    ``value`` to ``most``: where the values are known as intervals, the least and the greatest that their mean can be.
    ``low`` and ``high``: the 95 % interval of all that, where there can be one.
    """

    count: int
    value: float | None
    most: float | None
    low: float | None
    high: float | None
    method: str

    def as_dict(self) -> dict[str, Any]:
        """Return the mean as JSON-serialisable data; ``value`` is None where only ``bounds`` are known."""
        return {
            "count": self.count,
            "value": self.value if self.value == self.most else None,
            "bounds": None if self.value is None else [self.value, self.most],
            "interval": None if self.low is None else [self.low, self.high],
            "method": self.method,
        }


def mean(least: Bins, most: Bins, tau: float | None) -> Mean:
    """Return the mean of values, or of paired differences: the least and the most they can be, added up by segment."""
    count = int(least.counts.sum())
    if not count:
        return Mean(0, None, None, None, None, NO_TRIALS)
    low = _mean(least, tau)
    high = low if most is least else _mean(most, tau)
    if low.half is None or high.half is None:
        return Mean(count, low.mean, high.mean, None, None, low.method if low.half is None else high.method)
    return Mean(count, low.mean, high.mean, low.mean - low.half, high.mean + high.half, STUDENT)


@dataclass(frozen=True)
class _Half:
    mean: float
    half: float | None
    method: str


def _mean(series: Bins, latent_tau: float | None) -> _Half:
    middle = float(series.sums.sum() / series.counts.sum())
    tau = _longest(series, latent_tau)
    if tau is None:
        return _Half(middle, None, NOTHING_VARIED)
    if series.equal_segments / tau < FEWEST_TRIALS:
        return _Half(middle, None, TOO_FEW)
    drawn, block = bootstrap.standard_error(series)
    deviations = series.segment_sums - middle * series.segment_counts
    spread = math.sqrt(float(np.sum(deviations * deviations)) * tau) / float(series.counts.sum())
    freedom = min(series.equal_segments / tau, math.ceil(len(series.sums) / block)) - 1
    return _Half(middle, student(math.floor(freedom)) * max(drawn, spread), STUDENT)


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


def narrow(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same whole numbers in as few bytes as hold them all, until their spread is asked for."""
    most = max(int(numbers.max(initial=0)), -int(numbers.min(initial=0)) - 1)
    kind = next(kind for kind in (np.int8, np.int16, np.int32, np.int64) if most <= np.iinfo(kind).max)
    narrowed: NDArray[Any] = numbers.astype(kind)
    return narrowed


def spread(values: NDArray[Any], unit: float = 1.0) -> Spread:
    """Return the spread of ``values`` divided by ``unit``; values that are not finite are the caller's business."""
    return spread_of(Ordered(lambda: (np.asarray(values, dtype=np.float64) / unit,)))


def spread_of(values: Ordered) -> Spread:
    """Return the spread of values in order."""
    if not values.count:
        return Spread(0, None, None, None)
    median, p95, p99, top = (float(value) for value in values.quantiles((0.5, 0.95, 0.99, 1.0)))
    return Spread(values.count, median, p95, top, p99)
