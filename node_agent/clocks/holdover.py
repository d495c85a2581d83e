"""Holdover: from a sample to a stamp, by one of two laws, in integers, rounded outward.

*drift limit*: ``est(t) = ref + (t - t0)``, and a bound grows by the most that an oscillator off by ``max_drift_ppm``
may run away (PHI of RFC 5905, by which dispersion grows).

*as claimed*: the sample states its own growth. A bound grows by the ``max_drift_ppb`` that it states. A prediction
with drift d and drift sigma s_d goes on with both, ``est(t) = ref + (t - t0)(1 + d)`` and
``sigma(t)^2 = sigma0^2 + (s_d (t - t0))^2``: the variance of a sum of two independent errors, that of the offset and
that of the drift times the time it acts.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Final, NamedTuple

from node_agent.contract.records import AS_CLAIMED, DRIFT_LIMIT, Sample

FS_PER_S: Final = 10**15  # rates are whole femtoseconds per second: 1 ppm is 10^9 of them
FS_PER_S_OF_PPM: Final = 10**9


@cache  # a run has one max_drift_ppm
def drift_per_ns(max_drift_ppm: float) -> tuple[int, int]:
    """Return (a, b): during t ns of its own time an oscillator runs away by at most t * a / b ns.

    An oscillator off by at most p = max_drift_ppm * 10^-6 (local = (1 + d) * true, |d| <= p) shows t while the true
    time that passed differs from it by at most t * p / (1 - p). p is rounded up to 10^-9.
    """
    ppb = math.ceil(Fraction(str(max_drift_ppm)) * 1_000)  # the number as it was typed, not as a float holds it
    return ppb, 1_000_000_000 - ppb


def drift_bound_ns(elapsed_ns: int, max_drift_ppm: float) -> int:
    """Return how far an oscillator may run away during ``elapsed_ns`` of its own time, in ns, rounded up."""
    return aged_bound_ns(0, elapsed_ns, max_drift_ppm)


def aged_bound_ns(bound_ns: int, age_ns: int, max_drift_ppm: float, raw_error_ns: int = 0) -> int:
    """Return a sample's bound ``age_ns`` after (or before) the instant it holds at, in ns, rounded up.

    bound(age) = bound_at_sample + drift bound(age): the law of the drift limit. What the error of the stamp adds
    (``stamp_bound_ns``) comes on top.
    """
    rate, per = drift_per_ns(max_drift_ppm)
    if raw_error_ns:
        bound_ns += raw_error_ns - (-abs(raw_error_ns) * rate // per)
    return bound_ns - (-abs(age_ns) * rate // per)


def stamp_bound_ns(raw_error_ns: int, max_drift_ppm: float) -> int:
    """Return what a stamp's error adds to the half-width of its reading, in ns, rounded up.

    A stamp off by e on the raw oscillator is off by e in true time, and by what the oscillator may drift during e.
    """
    return aged_bound_ns(0, 0, max_drift_ppm, raw_error_ns)


class HeldOver(NamedTuple):
    """What a sample says at a later instant: est_ns ± half_ns; ``claim_ns`` is the sigma then, or the bound."""

    est_ns: int
    half_ns: int
    claim_ns: int
    law: str


def held_over(
    sample: Sample, raw_ns: int, max_drift_ppm: float, multiplier: float = 0.0, raw_error_ns: int = 0
) -> HeldOver:
    """Return what ``sample`` says at ``raw_ns``, known to ``raw_error_ns``, by the law that it carries.

    With a ``multiplier`` it is read by so many of its sigmas and its asymmetry, else by its bound. A drift without its
    sigma is no claim. Raises ValueError if the sample lacks a number.
    """
    width_ns = sample.sigma_ns if multiplier else sample.bound_ns
    if sample.raw_at_ns is None or sample.reference_at_ns is None or width_ns is None:
        raise ValueError(f"sample {sample.sample_id}: a good one has raw, reference, and a bound or sigma")
    age_ns = raw_ns - sample.raw_at_ns
    if multiplier:
        systematic_ns = (sample.asymmetry_ns or 0) + (sample.bound_stamp_ns or 0)
        drift, drift_sigma = sample.drift_fs_per_s, sample.drift_sigma_fs_per_s
        if drift is not None and drift_sigma is not None:  # exact but for roundings: each widens the interval
            est_ns = sample.reference_at_ns + age_ns + (2 * age_ns * drift + FS_PER_S) // (2 * FS_PER_S)
            offset_variance = (width_ns * FS_PER_S) ** 2  # of time in units of 10^-15 ns
            spans_ns = (age_ns, abs(age_ns) + raw_error_ns)
            variance, at_worst = (offset_variance + (drift_sigma * span_ns) ** 2 for span_ns in spans_ns)
            stamp_ns = raw_error_ns - (-raw_error_ns * abs(drift) // FS_PER_S)
            half_ns = _root_up(at_worst, multiplier) + systematic_ns + stamp_ns + rounding_ns(age_ns)
            return HeldOver(est_ns, half_ns, _root_up(variance, 1), AS_CLAIMED)
        at_sample_ns, claim_ns = math.ceil(multiplier * width_ns) + systematic_ns, width_ns
        half_ns = aged_bound_ns(at_sample_ns, age_ns, max_drift_ppm, raw_error_ns)
        return HeldOver(sample.reference_at_ns + age_ns, half_ns, claim_ns, DRIFT_LIMIT)
    own_ppb = sample.max_drift_ppb
    limit_ppm, law = (max_drift_ppm, DRIFT_LIMIT) if own_ppb is None else (own_ppb / 1_000, AS_CLAIMED)
    half_ns = aged_bound_ns(width_ns, age_ns, limit_ppm, raw_error_ns)
    return HeldOver(sample.reference_at_ns + age_ns, half_ns, half_ns, law)


def rounding_ns(age_ns: int) -> int:
    """Return how far an answer in whole numbers may be off from what it says in decimals after ``age_ns``, in ns.

    Half a ns of its offset, half of the estimate, and of the drift half an fs/s, rounded up.
    """
    return 1 - (-abs(age_ns) // (2 * FS_PER_S))


def _root_up(variance: int, multiplier: float) -> int:
    """Return ``multiplier`` times the root of a variance in (10^-15 ns)^2, in ns, rounded up."""
    times, per = _ratio(multiplier)
    square = variance * times * times
    root = math.isqrt(square)
    return -(-(root + (root * root < square)) // (per * FS_PER_S))


@cache  # a run has one multiplier
def _ratio(multiplier: float) -> tuple[int, int]:
    exact = Fraction(str(multiplier))
    return exact.numerator, exact.denominator
