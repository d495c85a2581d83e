"""Calibration, coverage and scores of errors that are known by arithmetic, and the same of errors in pieces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.by_event.event_rows import Instants
from analysis.clocks import calibration, standards
from analysis.clocks import coverage as coverages
from analysis.clocks import parts as interval_parts
from analysis.clocks.clock import Beside, Clock, Piece, in_one_piece
from analysis.stats import ordered


def errors(error, below, above=None, *, level=0.95, half=0):
    """Return errors of single events, as arrays."""
    error = np.asarray(error, dtype=np.int64)
    below = np.broadcast_to(np.asarray(below, dtype=np.int64), error.shape)
    above = below if above is None else np.broadcast_to(np.asarray(above, dtype=np.int64), error.shape)
    every = np.ones(len(error), dtype=np.bool_)
    low = error - half
    return standards.Errors(
        standards.INJECTED, level, every, every, low, low if not half else error + half, below, above,
        (below + above) / 2,
    )  # fmt: skip


def clock(one, times=1, **beside):
    """Return the clock with these errors, of which so many in a row rest on one sample; nothing else depends."""
    segments = np.repeat(np.arange(len(one.low) // times), times)
    return replace(in_one_piece(one, segments, **beside), tau=None)


def kappa(one, times=1):
    return calibration.kappa(clock(one, times))


def scored(one, baseline):
    own = clock(one, held=baseline)
    return calibration.skill(own, coverages.coverage(own))


def test_the_calibration_factor_of_a_hundredfold_overconfident_clock_is_a_hundred_within_its_interval():
    rng = np.random.default_rng(1)
    sigma = 50_000.0
    error = rng.normal(scale=sigma, size=40_000)
    found = kappa(errors(error, int(1.959964 * sigma / 100)))
    assert found.value == pytest.approx(100, rel=0.02)
    assert found.low < 100 < found.high
    assert found.high - found.low < 6


def test_intervals_stretched_by_kappa_cover_as_often_as_claimed_and_by_less_they_do_not():
    rng = np.random.default_rng(2)
    error, arm = rng.standard_t(3, 5000) * 1000, rng.integers(500, 4000, 5000)
    one = errors(error, arm, arm // 2 + 200, level=0.9)
    factor = kappa(one).value

    def share(stretch):
        inside = (error.astype(int) <= stretch * one.below) & (-error.astype(int) <= stretch * one.above)
        return inside.mean()

    assert share(factor * 1.000001) >= 0.9 > share(factor * 0.999)


def test_dependent_errors_give_a_wider_interval_of_kappa_than_independent_ones():
    rng = np.random.default_rng(3)
    once = rng.normal(scale=1000, size=100)
    alone = kappa(errors(rng.normal(scale=1000, size=2000), 1000, level=0.8))
    served = kappa(errors(np.repeat(once, 20), 1000, level=0.8), 20)
    assert served.high - served.low > 2 * (alone.high - alone.low)


def test_kappa_has_no_upper_limit_where_too_few_samples_could_have_missed():
    found = kappa(errors(np.repeat([500, -400], 50), 1000, level=0.9973), 50)
    assert (found.value, found.high) == (0.5, None)
    assert kappa(errors([500, -400], 1000, level=1.0)).value == 0.5


def test_an_interval_without_width_that_misses_has_no_finite_factor():
    found = kappa(errors([5, 5, 5], 0))
    assert (found.value, found.low, found.high) == (None, None, None)


def test_the_interval_score_is_the_width_plus_the_penalty_of_the_miss():
    """Width 200, alpha 0.1: inside 200; missed by 30, 200 + 2 / 0.1 * 30 = 800 (Gneiting and Raftery 2007)."""
    found = scored(errors([0, 130], 100, level=0.9), None)
    assert found.score_us == pytest.approx([(200 + 800) / 2 / 1000] * 2)
    assert (found.penalised.numerator, found.may_be_penalised.numerator) == (1, 1)
    assert found.value is None


def test_skill_is_positive_where_the_source_is_narrower_and_as_right_as_the_last_sample_held():
    error = np.random.default_rng(4).normal(scale=100, size=1000)
    better, held = errors(error, 400), errors(error, 800)
    found = scored(better, held)
    assert found.value == pytest.approx([0.5] * 2, abs=0.01)
    assert scored(held, better).value.most < 0
    assert scored(held, held).value == (0.0, 0.0)


def test_the_width_of_the_standard_bounds_score_and_skill():
    error = np.random.default_rng(5).normal(scale=100, size=200)
    found = scored(errors(error, 150, half=20), errors(error, 250, half=20))
    true = scored(errors(error, 150), errors(error, 250)).value.least
    assert found.value.least < true < found.value.most


def test_what_the_standard_cannot_tell_makes_no_clock_too_narrow():
    """Errors within 40 of 50 claimed, known to within 30: a factor of 0.2 may suffice, 1.4 surely does."""
    error = np.random.default_rng(8).permutation(np.linspace(-40, 40, 400)).astype(int)
    blurred = kappa(errors(error, 50, level=1.0, half=30))
    assert (blurred.least, blurred.value) == (pytest.approx(0.2), pytest.approx(1.4))
    assert blurred.claims == "undecided"
    assert kappa(errors(error, 50, level=1.0)).claims == "held in this run"
    assert kappa(errors(3 * error, 50, level=1.0, half=30)).claims == "too narrow"


def test_an_honest_clock_lies_on_the_diagonal_of_its_reliability_and_an_overconfident_one_below():
    rng = np.random.default_rng(6)
    sigma = np.full(20_000, 10_000.0)
    error = rng.normal(scale=10_000, size=20_000)
    honest = coverages.reliability(clock(errors(error, 30_000, level=0.9973), sigma_ns=sigma), 0.9973)
    for rung in honest:
        assert rung.coverage.contained.value == pytest.approx(rung.claimed, abs=0.015)
    narrow = coverages.reliability(clock(errors(error, 3_000, level=0.9973), sigma_ns=sigma / 10), 0.9973)
    assert all(rung.coverage.contained.high < rung.claimed for rung in narrow)


def test_coverage_by_age_finds_the_clock_that_goes_off_with_age():
    age = np.linspace(0, 6000, 600)
    found = coverages.by_age(clock(errors(age * 100, 300_000), age_ms=age))
    shares = [bin_.coverage.contained.value for bin_ in found]
    assert shares[0] == 1.0
    assert shares[-1] == 0.0
    assert sum(bin_.coverage.contained.denominator for bin_ in found) == 600
    assert [bin_.from_ms for bin_ in found[1:]] == [bin_.to_ms for bin_ in found[:-1]]


def some(piece, events):
    """Return some events of a piece."""

    def taken(value):
        return value[events] if isinstance(value, np.ndarray) else value

    def errors_of(whole):
        own = {name: taken(value) for name, value in vars(whole).items()}
        return standards.Errors(**own | {"high": own["low"] if whole.exact else own["high"]})

    instants = Instants(piece.beside.instants.ns[events], piece.beside.instants.known[events])
    beside = {name: taken(value) for name, value in vars(piece.beside).items()}
    return Piece(
        errors_of(piece.errors), piece.segments[events], errors_of(piece.held), piece.sigma_ns[events],
        Beside(**beside | {"instants": instants, "sent": instants}),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("half", [0, 700])
def test_in_pieces_a_clock_is_judged_as_in_one(monkeypatch, seed, half):
    """Pieces end within segments, some are empty, and quantiles are taken of more values than are kept at once."""
    rng = np.random.default_rng(seed)
    count = 600
    error, arm = rng.normal(scale=1000, size=count), rng.integers(0, 4000, count)
    one, held = errors(error, arm, arm + 5, level=0.9, half=half), errors(error + 300, 2500, level=0.9, half=half)
    bounded = rng.random(count) < 0.8
    sigma, age = rng.uniform(100, 900, count), np.where(rng.random(count) < 0.9, rng.uniform(0, 60, count), np.nan)
    segments = np.sort(rng.integers(0, 90, count))
    whole = in_one_piece(replace(one, bounded=bounded), segments, held, sigma, age)
    (piece,) = whole.pieces
    piece = replace(piece, beside=replace(piece.beside, claimed_ns=sigma))
    borders = [0, *np.sort(rng.integers(0, count + 1, seed)), count]
    pieces = [some(piece, slice(begin, end)) for begin, end in zip(borders[:-1], borders[1:], strict=True)]

    def said(clock):
        coverage = coverages.coverage(clock)
        return (
            clock.tau, coverage, calibration.kappa(clock), calibration.skill(clock, coverage),
            coverages.reliability(clock, 0.9), coverages.by_age(clock), interval_parts.parts(clock, 0.9),
        )  # fmt: skip

    expected = said(Clock.of([piece]))
    assert expected[2].could_see is not None
    monkeypatch.setattr(ordered, "AT_ONCE", 50)
    assert said(Clock.of(pieces)) == expected
