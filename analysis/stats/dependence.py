"""How far consecutive events depend on each other: what a run's events are worth as independent trials.

Two things make events dependent. One clock sample serves many of them: they are one *segment*, and a segment begins
where a sample serves for the first time, so that losing events or nodes never makes more of them. And a clock that is
off now is off a while later: the error wanders. How long it takes to forget is seen best in the error itself, not in
the few events in which it crosses a limit, so it is measured there: on the *latent* quantities whose crossing of a
limit is what is counted (an error, a difference of two readings, the gap between two intervals).

The integrated autocorrelation time tau says how many segments are worth one independent segment: tau = 1 + 2 * the sum
of all autocorrelations (A. D. Sokal, Monte Carlo methods in statistical mechanics, 1997, section 3). Of a first-order
autoregression it is (1 + r) / (1 - r), r the lag-1 correlation. The estimate of r is too small by (1 + 4 r) / n (F. H.
C. Marriott and J. A. Pope, Biometrika 41 (1954) 390) and has the standard error sqrt((1 - r^2) / n). What wanders
slowly under noise is no first-order autoregression; averages over 2, 4, 8 ... segments then show it (batch means, B.
Schmeiser, Oper. Res. 30 (1982) 556). tau is the largest of: r of the segments at its upper 3-sigma limit, and r of the
averages as long as 20 of them are left. That a short run can hardly show that it forgets is meant: with a lower limit,
one run in a hundred that wanders all the time would pass for independent, and its interval would be wrong.

All of it is of normal scores of the ranks, so that one outlier is one outlier; a series of more than a thousand
segments is averaged in equal groups first, its outermost values cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints

MOST_BINS: Final = 1_000
FOR_LIMITS: Final = 10_000  # as many values of a long series say where outliers begin
CLIPPED_AT: Final = 0.995
FEWEST_AVERAGES: Final = 20
SIGMAS: Final = 3.0  # of r's upper limit
FEWEST_TRIALS: Final = 5.0  # a rate that is worth fewer has no interval


class Latent(NamedTuple):
    """A quantity whose crossing of a limit is what is counted, event by event; meaningful where ``known``."""

    values: NDArray[Any]
    known: Bools


@dataclass(frozen=True)
class Dependence:
    """What events of a run share, in order of time.

    ``segments``: the number of every event's segment, growing. ``tau``: how many segments are worth one independent
    one, at least 1 (inf: the run is too short to tell); None where nothing that varied could tell.
    """

    segments: Ints
    tau: float | None


@dataclass(frozen=True)
class Bins:
    """A series of consecutive events, added up: per bin the sum of the values and how many they are.

    ``segment_sums`` and ``segment_counts`` are the same of every segment that the events are of.
    """

    sums: Floats
    counts: Floats
    segment_sums: Floats
    segment_counts: Floats

    @property
    def equal_segments(self) -> float:
        """Return how many equally long segments these are worth: (sum n)^2 / sum n^2 (Kish, Survey Sampling, 1965)."""
        total = float(self.segment_counts.sum())
        return total * total / float(np.sum(self.segment_counts**2)) if total else 0.0

    @property
    def negated(self) -> Bins:
        """Return the series of the opposite values."""
        return Bins(-self.sums, self.counts, -self.segment_sums, self.segment_counts)


def segments_of(*samples: NDArray[np.integer]) -> Ints:
    """Return the number of every event's segment, 0, 0, 1, 1, 2 ...

    ``samples``: per clock that has a part in the events, the number of the sample that served; negative for none. A
    segment begins with an event that one of them serves for the first time. A clock that says nothing begins none.
    """
    begins = np.zeros(len(samples[0]), dtype=np.bool_)
    for served in samples:
        names, first = np.unique(served, return_index=True)
        begins[first[names >= 0]] = True
    return _numbers(begins)


def segments_of_any(*samples: Ints) -> Ints:
    """Return the number of events' segments that rest on several samples each, of any node, numbered together."""
    names, first = np.unique(np.column_stack(samples).ravel(), return_index=True)
    begins = np.zeros(len(samples[0]), dtype=np.bool_)
    begins[first[names >= 0] // len(samples)] = True
    return _numbers(begins)


def _numbers(begins: Bools) -> Ints:
    numbers: Ints = np.maximum(np.cumsum(begins) - 1, 0)  # what no sample served yet joins the first
    return numbers


def dependence(segments: Ints, *latents: Latent) -> Dependence:
    """Return what events share that are of these segments, by the latent quantity that forgets most slowly."""
    series = (_segment_sums(latent.values, latent.known, segments) for latent in latents)
    taus = [tau for sums, lengths in series if (tau := autocorrelation_time(sums / lengths)) is not None]
    return Dependence(segments, max(taus) if taus else None)


def autocorrelation_time(values: Floats) -> float | None:
    """Return the autocorrelation time of a series, in its own steps (at least 1); None where it does not vary."""
    count = len(values)
    if count < 3 or not (values != values[0]).any():
        return None
    group = -(-count // MOST_BINS)
    series, factor = values, 1.0
    if group > 1:
        some = values[:: -(-count // FOR_LIMITS)]
        clipped = np.clip(values, *np.quantile(some, [1 - CLIPPED_AT, CLIPPED_AT]))
        series = _averages(clipped, group)
        spread = float(clipped.var(ddof=1))
        if spread > 0:  # what the groups have more variance than independent ones would
            factor = group * float(series.var(ddof=1)) / spread
    scores = normal_scores(series)
    tau = _tau(scores, SIGMAS)
    spread = float(scores.var(ddof=1))
    size = 2
    while count // group // size >= FEWEST_AVERAGES:
        averages = _averages(scores, size)
        if spread > 0:
            tau = max(tau, _tau(averages, 0.0) * size * float(averages.var(ddof=1)) / spread)
        size *= 2
    return max(1.0, factor * tau)


def normal_scores(values: Floats) -> Floats:
    """Return the normal quantiles of the values' ranks (the middle one of equal values)."""
    from scipy.special import ndtri  # noqa: PLC0415 - 0.4 s that only rates of events are worth

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2.0
    scores: Floats = ndtri(middle / len(values))[place]
    return scores


def binned(values: Bools | Floats, judged: Bools, segments: Ints) -> Bins:
    """Add up the judged events of every segment, and segments of more than ``MOST_BINS`` in equal groups."""
    return bins_of(*_segment_sums(values, judged, segments))


def bins_of(sums: Floats, lengths: Floats) -> Bins:
    """Return segments' sums, and how many events each is of (none is of 0), in at most ``MOST_BINS`` equal groups."""
    count = len(sums)
    if not count:
        return Bins(sums, lengths, sums, lengths)
    bins = min(count, MOST_BINS)
    edges = -(-np.arange(bins) * count // bins)
    return Bins(np.add.reduceat(sums, edges), np.add.reduceat(lengths, edges), sums, lengths)


def _tau(series: Floats, sigmas: float) -> float:
    """Return (1 + r) / (1 - r), r so many standard errors above its estimate without bias; inf from r = 1 on."""
    count = len(series)
    deviations = series - series.mean()
    power = float(np.sum(deviations * deviations))
    if power == 0.0:
        return 1.0
    r = float(np.sum(deviations[1:] * deviations[:-1])) / power
    r += (1.0 + 4.0 * r) / count
    r += sigmas * math.sqrt(max(1.0 - r * r, 0.0) / count)
    return math.inf if r >= 1.0 else (1.0 + r) / (1.0 - r)


def _averages(values: Floats, size: int) -> Floats:
    whole = len(values) // size * size
    averages: Floats = values[:whole].reshape(-1, size).mean(axis=1)
    return averages


def _segment_sums(values: Bools | Floats, chosen: Bools, segments: Ints) -> tuple[Floats, Floats]:
    """Return, per segment of the chosen events, the sum of their values and how many they are."""
    events = slice(None) if chosen.all() else np.flatnonzero(chosen)  # the former takes nothing apart
    kept, numbers = values[events], segments[events]
    if not len(kept):
        return np.zeros(0), np.zeros(0)
    begins = np.concatenate([[0], np.flatnonzero(numbers[1:] != numbers[:-1]) + 1])
    lengths = np.diff(begins, append=len(kept)).astype(np.float64)
    return np.add.reduceat(kept, begins, dtype=np.float64), lengths
