"""By how much a source's claims are too narrow (or wide), and whether its predictions are worth making."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.stats import rates
from analysis.stats.segments import SegmentSums

if TYPE_CHECKING:
    from analysis.arrays import Bools, Floats
    from analysis.clocks.clock import Clock, Piece
    from analysis.clocks.coverage import Coverage
    from analysis.clocks.standards import Errors

GUARANTEED_SCORED_AT: Final = math.erf(3.0 / math.sqrt(2.0))  # a level of 1 would make every miss infinitely bad
HELD_AT: Final = 1.5  # claims "held" only where claims too narrow by this factor would have shown
US: Final = 1_000.0
TOO_NARROW: Final = "too narrow"
HELD: Final = "held in this run"
NOT_CONTRADICTED: Final = "not contradicted"
UNDECIDED: Final = "undecided"
MOST_INFLATION: Final = 1e3  # of a search; claims that are wrong by more need no statistics


@dataclass(frozen=True)
class Kappa:
    """The smallest inflation of the intervals about their estimates that gives the claimed coverage.

    It lies between ``least``, were the truth at the best place within the standard's bounds, and ``value``, wherever it
    is. ``low`` and ``high``: 95 % interval of ``value``; ``high`` None where too few samples were seen to bound it.
    ``least_low``: the lower end of that of ``least``. ``value`` and ``least`` are None where there is no finite
    inflation (an interval without width that misses). ``could_see``: the smallest inflation that would have shown with
    95 % probability, None where none would. ``unseen_share``: of guaranteed intervals, the share that may miss unseen.
    """

    level: float
    count: int
    value: float | None
    least: float | None
    low: float | None
    high: float | None
    least_low: float | None
    could_see: float | None
    unseen_share: float | None

    @property
    def claims(self) -> str:
        """Say how the claims did: too narrow beyond chance and wherever the truth is; held if a miss shows."""
        if self.least is None or (self.least > 1.0 and (self.least_low is None or self.least_low > 1.0)):
            return TOO_NARROW
        if self.value is None or self.value > 1.0:
            return UNDECIDED
        return HELD if self.could_see is not None and self.could_see <= HELD_AT else NOT_CONTRADICTED

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
            "could_see": self.could_see,
            "unseen_share": self.unseen_share,
            "method": "order statistics at the binomial limits of the level, at the effective number of trials",
        }


def multiplier(level: float) -> float:
    """Return how many sigmas each way make an interval of a level (0 < level < 1), were errors normal."""
    from scipy.special import ndtri  # noqa: PLC0415 - 0.4 s that only probabilistic sources are worth

    return float(ndtri(0.5 + level / 2.0))


def needed_inflation(errors: Errors) -> tuple[Floats, Floats]:
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


def kappa(clock: Clock) -> Kappa | None:
    """Return the calibration factor of a source, or None where no interval could be judged.

    It is the level's quantile (the order statistic that covers at least the level) of the inflation each event needs.
    Its interval takes the order statistics between which the level's quantile lies with 95 % probability whatever the
    distribution (H. A. David and H. N. Nagaraja, Order Statistics, 2003, section 7.1), for the effective number of
    events, at least one.
    """
    count, level = clock.bounded, clock.level
    if level is None or not count:
        return None
    least = clock.ordered(lambda piece: needed_inflation(piece.errors)[0])
    surely = clock.ordered(lambda piece: needed_inflation(piece.errors)[1])
    usual = surely.at([(count - 1) // 2])[0]
    hits = SegmentSums()
    for piece in clock.pieces:
        more = np.zeros(len(piece.segments), dtype=np.bool_)
        more[piece.errors.bounded] = needed_inflation(piece.errors)[1] > usual
        hits.add(piece.segments, more, piece.errors.bounded)
    trials = rates.worth(hits.bins, clock.tau)
    worth = 1.0 if trials.trials is None else max(1.0, trials.trials)
    down, up = _quantile_limits(level, worth)
    lower = 0 if down is None else math.floor(down * (count - 1))
    ranks = [_rank(level, count), lower, 0 if up is None else _rank(up, count)]
    value, low, high = map(_finite, surely.at(ranks))
    at_best, least_low = map(_finite, least.at(ranks[:2]))
    return Kappa(
        level=level,
        count=count,
        value=value,
        least=at_best,
        low=None if value is None else 0.0 if down is None else low,
        high=None if value is None or up is None else high,
        least_low=0.0 if down is None else least_low,
        could_see=could_see(clock, worth) if trials.enough else None,
        unseen_share=1.0 - (1.0 - rates.CONFIDENCE) ** (1.0 / worth) if level >= 1.0 and trials.enough else None,
    )


def could_see(clock: Clock, worth: float) -> float | None:
    """Return the smallest inflation that so many independent trials would have shown with 95 % probability.

    Shown: more intervals miss than the level leaves open. Of a probabilistic source, errors are taken as normal, and as
    independent between the two readings of a difference, whose interval is then wider than it need be: it hides the
    more. Of a guaranteed one nothing is known but its limits: an interval of one reading hides nothing, and that of
    a difference hides an error of one reading up to where the other, wrong by its whole bound, makes up for it.
    None: none up to ``MOST_INFLATION`` would have shown.
    """
    from scipy.special import bdtr, ndtr, ndtri  # noqa: PLC0415 - 0.4 s that only judged intervals are worth

    if clock.level is None:
        return None
    level, count = clock.level, clock.bounded
    wider = clock.ordered(_wider_than_independent)
    if not wider.count:
        return None
    if level >= 1.0:
        return float(clock.ordered(_hidden_inflation).quantiles([0.5])[0]) if clock.relative else 1.0
    own_level = (1.0 + level) / 2.0 if clock.relative else level
    limits = float(ndtri(0.5 + own_level / 2.0)) * wider.quantiles(np.linspace(0.005, 0.995, 100))
    trials = math.floor(worth)
    allowed = math.floor((count - 1 - _rank(level, count)) / count * trials)

    def shows(inflation: float) -> bool:
        misses = float(np.mean(2.0 * ndtr(-limits / inflation)))
        return float(bdtr(allowed, trials, misses)) <= 1.0 - rates.CONFIDENCE

    if not shows(MOST_INFLATION):
        return None
    low, high = 1.0, MOST_INFLATION
    while high - low > 1e-3 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def _half_widths(piece: Piece) -> tuple[Floats, Floats]:
    """Return the half-widths of the judged intervals that have any, and those they had if errors are independent."""
    errors = piece.errors
    half = ((errors.below + errors.above) / 2)[errors.bounded]
    whole = half > 0
    return half[whole], errors.independent[errors.bounded][whole]


def _wider_than_independent(piece: Piece) -> Floats:
    half, independent = _half_widths(piece)
    wider: Floats = half / np.maximum(independent, 1.0)
    return wider


def _hidden_inflation(piece: Piece) -> Floats:
    """Return, of differences of two readings, the inflation of one that the other's bound may make up for."""
    half, independent = _half_widths(piece)
    apart = np.sqrt(np.maximum(2.0 * independent**2 - half**2, 0.0))  # of the two half-widths
    smaller, greater = (half - apart) / 2, (half + apart) / 2
    hidden: Floats = 1.0 + 2.0 * greater / np.maximum(smaller, 1.0)
    return hidden


class Between(NamedTuple):
    """A number of which only limits are known: it lies between them, both included."""

    least: float
    most: float


@dataclass(frozen=True)
class Skill:
    """The mean interval score of a source (us; smaller is better) and its skill against the last sample held.

    Skill is 1 - score / score of the baseline: 1 is perfect, 0 no better, negative worse. Each lies between two limits,
    which are the same where the standard has no width. There is no interval beside: a score is made of widths, which
    hardly vary, and of penalties for misses, which are rare and large, so that a run which happens to have one less
    says nothing of how likely it was. ``penalised`` and ``may_be_penalised`` count these by themselves, with limits.
    """

    level: float
    count: int
    score_us: Between
    baseline_us: Between | None
    value: Between | None
    penalised: rates.Rate
    may_be_penalised: rates.Rate

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data; a plain number only where both limits are the same."""
        return {
            "scored_at_level": self.level,
            "count": self.count,
            "interval_score_us": exactly(self.score_us),
            "interval_score_us_bounds": bounds(self.score_us),
            "baseline": "last sample held",
            "baseline_interval_score_us": exactly(self.baseline_us),
            "baseline_interval_score_us_bounds": bounds(self.baseline_us),
            "value": exactly(self.value),
            "value_bounds": bounds(self.value),
            "penalised": self.penalised.as_dict(),
            "may_be_penalised": self.may_be_penalised.as_dict(),
        }


def exactly(number: Between | None) -> float | None:
    """Return a number if it is known exactly, else None."""
    return number.least if number is not None and number.least == number.most else None


def bounds(number: Between | None) -> list[float] | None:
    """Return a number's limits as JSON-serialisable data."""
    return None if number is None else [number.least, number.most]


def skill(clock: Clock, coverage: Coverage) -> Skill | None:
    """Score a source's intervals, and those of the last sample held at the same events; None where none was judged.

    The interval score (T. Gneiting and A. E. Raftery, J. Am. Stat. Assoc. 102 (2007) 359) is the width, plus 2 / alpha
    times the distance by which the truth is missed, alpha = 1 - level; a guaranteed interval is scored at 99.73 %.
    """
    if clock.level is None or not clock.bounded:
        return None
    level = clock.level if clock.level < 1.0 else GUARANTEED_SCORED_AT
    compared = any(_both(piece).any() for piece in clock.pieces)
    own, of_held = _Scores(1.0 - level), _Scores(1.0 - level)
    for piece in clock.pieces:
        chosen = _both(piece) if compared else piece.errors.bounded
        own.add(piece.errors, chosen)
        if compared and piece.held is not None:
            of_held.add(piece.held, chosen)
    score, held = own.mean, of_held.mean if compared else None
    value = None
    if held is not None and held.least > 0:
        value = Between(1.0 - score.most / held.least, 1.0 - score.least / held.most)
    return Skill(
        level=level,
        count=own.count,
        score_us=Between(score.least / US, score.most / US),
        baseline_us=None if held is None else Between(held.least / US, held.most / US),
        value=value,
        penalised=coverage.missed,
        may_be_penalised=rates.opposite(coverage.contained),
    )


def _both(piece: Piece) -> Bools:
    """Tell at which events the source and the last sample held have judged intervals."""
    if piece.held is None:
        return np.zeros(len(piece.segments), dtype=np.bool_)
    both: Bools = piece.errors.bounded & piece.held.bounded
    return both


class _Scores:
    """The sums of the least and the greatest interval scores (ns) that the bounds of the errors allow."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._least, self._most = SegmentSums(), SegmentSums()

    def add(self, errors: Errors, chosen: Bools) -> None:
        """Add the scores of the chosen events of the next piece."""
        from scoringrules import interval_score  # noqa: PLC0415 - 0.6 s with the part of scipy it needs

        low, high = errors.low[chosen].astype(np.float64), errors.high[chosen].astype(np.float64)
        lower, upper = -errors.above[chosen].astype(np.float64), errors.below[chosen].astype(np.float64)

        def score(error: Floats) -> Floats:
            scores = interval_score(error, lower, upper, self._alpha, backend="numpy")
            return np.atleast_1d(np.asarray(scores, dtype=np.float64))

        every, alike = np.ones(len(low), dtype=np.bool_), np.zeros(len(low), dtype=np.int64)
        if errors.exact:
            least = most = score(low)
        else:
            nearest = np.where(high < lower, high, np.where(low > upper, low, np.maximum(low, lower)))
            least, most = score(nearest), np.maximum(score(low), score(high))
        self._least.add(alike, least, every)
        self._most.add(alike, most, every)

    @property
    def count(self) -> int:
        """Return how many events were scored."""
        return self._least.count

    @property
    def mean(self) -> Between:
        """Return the mean scores."""
        return Between(self._least.total / self.count, self._most.total / self.count)


def _quantile_limits(level: float, worth: float) -> tuple[float | None, float | None]:
    """Return the shares of ordered trials between which a quantile lies with 95 % probability; None for no limit."""
    from scipy.special import bdtr  # noqa: PLC0415 - 0.4 s that only judged intervals are worth

    if level >= 1.0:
        return 1.0, None
    trials, tail = math.floor(worth), (1.0 - rates.CONFIDENCE) / 2.0
    below = bdtr(np.arange(trials + 1), trials, level)  # the probability that at most so many lie below the quantile
    few = np.flatnonzero(below <= tail)
    many = np.flatnonzero(1.0 - below <= tail)
    most = int(many[0]) + 1 if len(many) else trials + 1
    return int(few[-1]) / trials if len(few) else None, most / trials if most <= trials else None


def _rank(level: float, count: int) -> int:
    return min(count - 1, max(0, math.ceil(level * count) - 1))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
