"""By how much a source's claims are too narrow (or wide), and whether its predictions are worth making."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import bootstrap, statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.clock_quality_standards import Errors

GUARANTEED_SCORED_AT: Final = math.erf(3.0 / math.sqrt(2.0))  # a level of 1 would make every miss infinitely bad
US: Final = 1_000.0
TOO_NARROW: Final = "too narrow"
HELD: Final = "held in this run"
UNDECIDED: Final = "undecided"


@dataclass(frozen=True)
class Kappa:
    """The smallest inflation of the intervals about their estimates that gives the claimed coverage.

    It lies between ``least``, were the truth at the best place within the standard's bounds, and ``value``, wherever it
    is. ``low`` and ``high``: 95 % interval of ``value``; ``high`` None where too few samples were seen to bound it.
    ``least_low``: the lower end of that of ``least``. ``value`` and ``least`` are None where there is no finite
    inflation (an interval without width that misses).
    """

    level: float
    count: int
    value: float | None
    least: float | None
    low: float | None
    high: float | None
    least_low: float | None

    @property
    def claims(self) -> str:
        """Say how the claims did: too narrow only beyond chance and wherever the truth is; held is said of this run."""
        if self.least is None or (self.least > 1.0 and (self.least_low is None or self.least_low > 1.0)):
            return TOO_NARROW
        return HELD if self.value is not None and self.value <= 1.0 else UNDECIDED

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return {
            "level": self.level,
            "count": self.count,
            "value": self.value,
            "least": self.least,
            "interval": None if self.low is None else [self.low, self.high],
            "least_low": self.least_low,
            "claims": self.claims,
            "method": "order statistics at the Wilson limits of the level (effective trials by block bootstrap)",
        }


def needed_inflation(errors: Errors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, per bounded event, the least inflation that could contain the truth, and the one that surely does."""
    chosen = errors.bounded
    low, high = errors.low[chosen].astype(np.float64), errors.high[chosen].astype(np.float64)
    below, above = errors.below[chosen].astype(np.float64), errors.above[chosen].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        over, under = high / below, -low / above  # an estimate above the truth needs its lower arm, and the other way
        far_over, far_under = low / below, -high / above
    surely = np.maximum(np.where(high > 0, over, 0.0), np.where(low < 0, under, 0.0))
    least = np.where(low > 0, far_over, np.where(high < 0, far_under, 0.0))
    return least, surely


def kappa(errors: Errors, stretches: NDArray[np.int64]) -> Kappa | None:
    """Return the calibration factor of a source, or None where no interval could be judged.

    It is the level's quantile (the order statistic that covers at least the level) of the inflation each event needs.
    Its interval takes the order statistics at Wilson's limits of the level (R. S. Woodruff, J. Am. Stat. Assoc. 47
    (1952) 635), for the effective number of events: the block bootstrap of the median, no more than there were samples.
    """
    if errors.level is None or not errors.bounded.any():
        return None
    least, surely = needed_inflation(errors)
    count, level = len(surely), errors.level
    ordered = np.sort(surely)
    hits = np.zeros(len(errors.bounded), dtype=np.bool_)
    hits[errors.bounded] = surely > ordered[(count - 1) // 2]
    effect = bootstrap.effect(hits, errors.bounded, stretches)
    worth = 1.0 if effect is None else effect.worth(count)
    down, up = statistics.wilson(level, worth) if level < 1.0 else (1.0, 1.0)
    seen = level < 1.0 and level**worth < (1.0 - statistics.CONFIDENCE) / 2.0  # else no sample need lie above it
    value = _finite(ordered[_rank(level, count)])
    at_best = np.sort(least)
    return Kappa(
        level=level,
        count=count,
        value=value,
        least=_finite(at_best[_rank(level, count)]),
        low=None if value is None else _finite(ordered[_rank(down, count)]),
        high=None if value is None or not seen else _finite(ordered[_rank(up, count)]),
        least_low=_finite(at_best[_rank(down, count)]),
    )


@dataclass(frozen=True)
class Skill:
    """The mean interval score of a source (us; smaller is better) and its skill against the last sample held.

    Skill is 1 - score / score of the baseline: 1 is perfect, 0 no better, negative worse. ``least`` and ``most``: what
    the standard's width leaves open; ``low`` and ``high``: 95 % block bootstrap (percentiles).
    """

    level: float
    count: int
    score_us: float
    baseline_us: float | None
    value: float | None
    least: float | None
    most: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return {
            "scored_at_level": self.level,
            "count": self.count,
            "interval_score_us": self.score_us,
            "baseline": "last sample held",
            "baseline_interval_score_us": self.baseline_us,
            "value": self.value,
            "bounds": None if self.least is None else [self.least, self.most],
            "interval": None if self.low is None else [self.low, self.high],
        }


def skill(errors: Errors, baseline: Errors | None, stretches: NDArray[np.int64]) -> Skill | None:
    """Score a source's intervals, and those of its baseline on the same events; None where no interval was judged.

    The interval score (T. Gneiting and A. E. Raftery, J. Am. Stat. Assoc. 102 (2007) 359) is the width, plus 2 / alpha
    times the distance by which the truth is missed, alpha = 1 - level; a guaranteed interval is scored at 99.73 %.
    """
    if errors.level is None or not errors.bounded.any():
        return None
    level = errors.level if errors.level < 1.0 else GUARANTEED_SCORED_AT
    both = errors.bounded if baseline is None else errors.bounded & baseline.bounded
    compared = baseline is not None and bool(both.any())
    chosen = both if compared else errors.bounded
    best, middle, worst = _scores(errors, chosen, 1.0 - level)
    count, score = len(middle), float(middle.mean()) / US
    if baseline is None or not compared:
        return Skill(level, count, score, None, None, None, None, None, None)
    held_best, held, held_worst = _scores(baseline, chosen, 1.0 - level)
    mine = bootstrap.binned(_spread_out(middle, chosen), chosen, stretches)
    theirs = bootstrap.binned(_spread_out(held, chosen), chosen, stretches)
    low = high = None
    if len(mine.sums) > 1 and held.min() > 0:
        block = bootstrap.block_length(mine.sums / mine.counts)
        drawn = bootstrap.replicates(np.column_stack([mine.sums, theirs.sums]), block)
        low, high = (float(edge) for edge in np.percentile(1.0 - drawn[:, 0] / drawn[:, 1], [2.5, 97.5]))
    return Skill(
        level=level,
        count=count,
        score_us=score,
        baseline_us=float(held.mean()) / US,
        value=_one_minus(middle.mean(), held.mean()),
        least=_one_minus(worst.mean(), held_best.mean()),
        most=_one_minus(best.mean(), held_worst.mean()),
        low=low,
        high=high,
    )


def _scores(errors: Errors, chosen: NDArray[np.bool_], alpha: float) -> tuple[NDArray[np.float64], ...]:
    """Return the least, middle and greatest interval score in ns that the bounds of the error allow."""
    from scoringrules import interval_score  # noqa: PLC0415 - 0.6 s with the part of scipy it needs

    low, high = errors.low[chosen].astype(np.float64), errors.high[chosen].astype(np.float64)
    lower, upper = -errors.above[chosen].astype(np.float64), errors.below[chosen].astype(np.float64)

    def score(error: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.atleast_1d(np.asarray(interval_score(error, lower, upper, alpha, backend="numpy"), dtype=np.float64))

    if errors.exact:
        exact = score(low)
        return exact, exact, exact
    nearest = np.where(high < lower, high, np.where(low > upper, low, np.maximum(low, lower)))
    return score(nearest), score((low + high) / 2), np.maximum(score(low), score(high))


def _rank(level: float, count: int) -> int:
    return min(count - 1, max(0, math.ceil(level * count) - 1))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _one_minus(score: Any, held: Any) -> float | None:
    return 1.0 - float(score) / float(held) if held > 0 else None


def _spread_out(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    whole = np.zeros(len(chosen))
    whole[chosen] = values
    return whole
