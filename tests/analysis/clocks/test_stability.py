"""How errors wander: our deviations are those published for the standard test data, and resampling invents nothing."""

from __future__ import annotations

import allantools
import numpy as np
import pytest

from analysis.clocks import stability

# W. J. Riley, Handbook of Frequency Stability Analysis, NIST SP 1065 (2008), pages 107 and 108: the NBS14 data, nine
# frequency values, with the published overlapping Allan deviation and time deviation at 1 and 2 s.
NBS14 = (892, 809, 823, 798, 671, 644, 883, 903, 677)
NBS14_OADEV = (91.22945, 85.95287)
NBS14_TDEV = (52.67135, 86.35831)

# Same place, page 108: the 1000 values n(i+1) = 16807 n(i) mod 2147483647 over 2147483647, from n(0) = 1234567890;
# published deviations at 1, 10 and 100 s.
SUITE_OADEV = (2.922319e-01, 9.159953e-02, 3.241343e-02)
SUITE_TDEV = (1.687202e-01, 3.563623e-01, 1.253382e00)


def suite():
    values = [1234567890]
    for _ in range(999):
        values.append(16807 * values[-1] % 2147483647)
    assert values[1:4] == [395529916, 1209410747, 633705974]  # as published
    return np.array(values) / 2147483647


def timed(at, low, high):
    return stability.Timed.between(np.asarray(at, dtype=np.int64), low, high)


def of(at, low, high):
    return stability.stability(lambda: [timed(at, low, high)])


def even(frequency):
    phase = np.concatenate([[0.0], np.cumsum(frequency)])
    return stability.Even(1.0, phase, np.zeros(len(phase)), len(phase))


def exact(found):
    """Return numbers that are known exactly: least and greatest are the same."""
    assert all(one is None or one[0] == one[1] for one in found)
    return [None if one is None else one[0] for one in found]


def test_the_nine_values_of_nbs14_have_the_published_deviations():
    found = stability.deviations(even(NBS14), (1, 2))
    assert found.tau_s == (1.0, 2.0)
    assert exact(found.adev) == pytest.approx(NBS14_OADEV, rel=1e-6)
    assert exact(found.tdev_s) == pytest.approx(NBS14_TDEV, rel=1e-6)


def test_the_thousand_values_of_the_suite_have_the_published_deviations():
    found = stability.deviations(even(suite()), (1, 10, 100))
    assert exact(found.adev) == pytest.approx(SUITE_OADEV, rel=1e-6)
    assert exact(found.tdev_s) == pytest.approx(SUITE_TDEV, rel=1e-6)


@pytest.mark.parametrize("frequency", [np.array(NBS14, dtype=float), suite()])
def test_mtie_is_the_largest_range_within_any_window_by_its_definition(frequency):
    """ITU-T G.810 (1996), appendix II: the peak to peak phase in every window of n + 1 points, the largest of them."""
    data = even(frequency)
    multiples = [1, 2, len(data.phase_s) // 4]
    windows = {
        multiple: max(
            float(np.ptp(data.phase_s[start : start + multiple + 1])) for start in range(len(data.phase_s) - multiple)
        )
        for multiple in multiples
    }
    found = stability.deviations(data, multiples)
    assert exact(found.mtie_s) == pytest.approx([windows[multiple] for multiple in multiples], rel=1e-12)


@pytest.mark.parametrize("count", [16, 17, 99, 1_000, 4_096])
def test_all_deviations_are_those_of_allantools(count):
    """The oracle is in the tests and nowhere else: importing it takes longer than judging all clocks of a run."""
    rng = np.random.default_rng(count)
    noise = rng.normal(scale=1e-6, size=count) + 1e-6 * np.cumsum(rng.normal(size=count))
    data = stability.Even(0.05, noise, np.zeros(count), count)
    factors = sorted({1, 2, 3, 7, 8, count // 4, count // 3, count // 2 - 1, count // 2, count - 2})
    found = stability.deviations(data, factors)
    taus = [factor * 0.05 for factor in factors]
    oracles = (("adev", allantools.oadev), ("tdev_s", allantools.tdev), ("mtie_s", allantools.mtie))
    for name, oracle in oracles:
        at, values, _errors, _counts = oracle(noise, rate=20.0, data_type="phase", taus=taus)
        expected = {round(tau / 0.05): value for tau, value in zip(at, values, strict=True)}
        ours = {
            factor: value
            for factor, value in zip(factors, exact(getattr(found, name)), strict=True)
            if value is not None
        }
        assert ours == pytest.approx(expected, rel=1e-9), name


@pytest.mark.parametrize("seed", range(20))
def test_errors_in_pieces_wander_as_those_of_the_whole(seed):
    """Events reach a node a little out of order, also across the border of two pieces, and some at one instant."""
    rng = np.random.default_rng(seed)
    at = np.arange(3_000) * 10**7 + rng.integers(0, 20, 3_000) * 5 * 10**6
    if seed % 4 == 0:
        at = rng.permutation(at)  # nothing is in order at all
    error, half = rng.normal(size=3_000), rng.uniform(0, 0.1, 3_000)
    borders = np.sort(rng.integers(0, 3_001, seed % 7))
    pieces = [timed(*some) for some in zip(*(np.split(own, borders) for own in (at, error - half, error + half)))]
    assert [int(own) for piece in stability.in_order(lambda: pieces) for own in piece.at_ns] == sorted(at.tolist())
    assert stability.stability(lambda: pieces) == of(at, error - half, error + half)


def test_a_constant_frequency_offset_has_no_deviation_and_an_mtie_that_grows_with_it():
    at = np.arange(0, 2_000) * 50_000_000
    found = of(at, at * 1e-5, at * 1e-5)
    assert found.tau0_s == 0.05
    assert max(value for value in exact(found.adev) if value is not None) < 1e-12
    assert exact(found.mtie_s) == pytest.approx([tau * 1e-5 for tau in found.tau_s])


def test_every_slot_holds_the_first_error_in_it_as_it_was():
    rng = np.random.default_rng(1)
    at = np.sort(rng.integers(0, 100 * 10**9, 20_000))
    error = rng.normal(size=20_000)
    found = stability.resample(lambda: [timed(at, error, error)])
    assert found.tau0_s == 0.05  # 4,096 slots of 100 s would be shorter
    slots = (at - at[0]) // 50_000_000
    expected = [error[np.flatnonzero(slots == slot)[0]] / 1e9 for slot in (0, 1, 2)]
    assert found.phase_s[:3].tolist() == expected
    assert set((found.phase_s * 1e9).round(9)) <= set(error.round(9))


def test_a_gap_is_not_bridged_and_the_longer_side_is_used():
    at = np.concatenate([np.arange(100), np.arange(200, 500)]) * 10**9
    error = np.where(at < 150 * 10**9, 1.0, 2.0)
    found = stability.resample(lambda: [timed(at, error, error)])
    assert (len(found.phase_s), found.slots) == (300, 500)
    assert set(found.phase_s) == {2e-9}


@pytest.mark.parametrize("count", [0, 1, stability.FEWEST_POINTS - 1])
def test_too_few_errors_have_no_stability(count):
    at = np.arange(count) * 10**9
    assert of(at, np.zeros(count), np.zeros(count)) is None


def test_events_of_one_instant_have_no_stability():
    assert of(np.zeros(100, dtype=np.int64), np.zeros(100), np.zeros(100)) is None


@pytest.mark.parametrize("seed", range(5))
def test_deviations_of_blurred_errors_hold_those_of_the_true_ones(seed):
    """Each error is known to within a width of its own; the truth lies anywhere in it, here evenly."""
    rng = np.random.default_rng(seed)
    true = np.cumsum(rng.normal(size=400)) * 1e3
    half = rng.uniform(0, 4e3, 400)
    middle = true + rng.uniform(-1, 1, 400) * half
    at = np.arange(400) * 10**8
    blurred = of(at, middle - half, middle + half)
    sharp = of(at, true, true)
    for name in ("adev", "tdev_s", "mtie_s"):
        for bounds, value in zip(getattr(blurred, name), exact(getattr(sharp, name)), strict=True):
            assert value is None or bounds[0] <= value <= bounds[1]
