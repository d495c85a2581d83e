"""Holdover as claimed: the interval holds what the claim allows, to the last nanosecond, and hardly more."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.chronotick import parse
from node_agent.clocks.holdover import aged_bound_ns, held_over
from node_agent.contract.records import AS_CLAIMED, CHRONOTICK, OK, Sample

WALL_NS = 1_800_000_000_000_000_000
RAW_NS = 5_000_000_000_000

MILLIS = st.floats(min_value=0, max_value=1e3)
CLAIMS = st.fixed_dictionaries(
    {
        "offset_ms": st.floats(min_value=-1e6, max_value=1e6),
        "uncertainty_ms": MILLIS,
        "drift_ppm": st.floats(min_value=-9e5, max_value=9e5),
        "drift_uncertainty_ppm": MILLIS,
        "asymmetry_ms": MILLIS,
    }
)
AGES = st.integers(min_value=-(10**13), max_value=10**16)
MULTIPLIERS = st.sampled_from([0.5, 1.0, 1.96, 3.0, 4.7])
SHARES = st.fractions(min_value=-1, max_value=1, max_denominator=1_000)


def _sample(claim):
    return Sample(
        "ct1",
        CHRONOTICK,
        "s",
        "",
        OK,
        RAW_NS,
        RAW_NS,
        WALL_NS,
        **parse(json.dumps(claim), "n").numbers(WALL_NS, RAW_NS, RAW_NS),
    )


def _exact(number):
    return Fraction(str(number))


@given(CLAIMS, AGES, MULTIPLIERS, SHARES, SHARES, st.integers(min_value=0, max_value=10**6))
def test_the_interval_of_an_honest_claim_contains_the_truth(claim, age_ns, multiplier, turn, share, error_ns):
    """Errors of offset and drift of k sigmas together, any asymmetry within the claimed, a stamp off by its error.

    The claim is taken in decimals, as it was sent: every rounding on the way is in the interval.
    """
    x, y = (1 - turn**2) / (1 + turn**2), 2 * turn / (1 + turn**2)  # a point on the circle, in rationals
    true_age = age_ns + share * error_ns
    truth = (
        WALL_NS
        + true_age * (1 + _exact(claim["drift_ppm"]) / 10**6)
        + _exact(multiplier) * x * _exact(claim["uncertainty_ms"]) * 10**6
        + _exact(multiplier) * y * _exact(claim["drift_uncertainty_ppm"]) / 10**6 * true_age
        + share * _exact(claim["asymmetry_ms"]) * 10**6
        + _exact(claim["offset_ms"]) * 10**6
    )
    now = held_over(_sample(claim), RAW_NS + age_ns, 100.0, multiplier, error_ns)
    assert now.law == AS_CLAIMED
    assert now.est_ns - now.half_ns <= truth <= now.est_ns + now.half_ns


@given(CLAIMS, AGES, MULTIPLIERS)
def test_it_is_no_wider_than_the_claim_but_for_roundings(claim, age_ns, multiplier):
    """Of a few nanoseconds, and what a drift sigma rounded up by an fs/s makes of the age."""
    sample = _sample(claim)
    now = held_over(sample, RAW_NS + age_ns, 100.0, multiplier)
    variance = Fraction(sample.sigma_ns) ** 2 + (Fraction(sample.drift_sigma_fs_per_s * age_ns) / 10**15) ** 2
    rounded_ns = 4 + abs(age_ns) // (2 * 10**15)
    least_ns = now.half_ns - sample.asymmetry_ns - rounded_ns
    assert least_ns <= 0 or least_ns**2 <= _exact(multiplier) ** 2 * variance
    assert now.claim_ns**2 >= variance
    assert now.claim_ns == 0 or (now.claim_ns - 1) ** 2 < variance


@given(CLAIMS, st.integers(min_value=0, max_value=10**13), st.integers(min_value=0, max_value=10**13))
def test_a_later_reading_of_one_claim_is_never_narrower(claim, one_ns, other_ns):
    """Without news, nobody knows more."""
    sample = _sample(claim)
    near, far = (held_over(sample, RAW_NS + age_ns, 100.0, 3.0) for age_ns in sorted((one_ns, other_ns)))
    assert near.half_ns <= far.half_ns
    assert near.claim_ns <= far.claim_ns


def test_a_bound_that_states_its_own_growth_grows_by_that():
    """Whoever guarantees a bound may know its oscillator better than the drift limit of the run, or worse."""
    bound = replace(_sample({"offset_ms": 0, "uncertainty_ms": 0}), bound_ns=1_000, max_drift_ppb=1_500)
    now = held_over(bound, RAW_NS + 10**9, 100.0)
    assert (now.half_ns, now.law) == (aged_bound_ns(1_000, 10**9, 1.5), AS_CLAIMED)
    assert now.half_ns == 2_501
