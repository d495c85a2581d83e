"""The pure functions behind the findings: levels, stretches, spikes, clamps."""

import numpy as np
import pytest

from analysis.clocks import offset_levels


def levels_of(offsets, resolution_ms=0.0):
    values = np.asarray(offsets, dtype=float)
    return offset_levels.levels(values, offset_levels.answers(values), resolution_ms)


def noise(seed, count, middle, spread):
    return np.random.default_rng(seed).normal(middle, spread, count)


@pytest.mark.parametrize(
    "offsets",
    [
        [],
        [1.0],
        [1.0, 2.0],
        [5.0] * 100,
        noise(1, 500, 0.0, 1.0),
        np.linspace(0.0, 10.8, 600),
        np.linspace(0.0, 10.8, 600) % 2.0,
        np.sin(np.arange(600) / 20.0),
        np.random.default_rng(2).exponential(1.0, 600),
        np.random.default_rng(3).standard_t(2, 600),
        np.concatenate([noise(4, 580, 0.0, 0.1), noise(5, 20, 40.0, 0.1)]),
    ],
    ids=["none", "one", "two", "constant", "normal", "drift", "sawtooth", "sine", "skewed", "heavy-tails", "outliers"],
)
def test_one_piece_is_at_most_one_level(offsets):
    """Noise, drift, ageing, waves, long tails and rare outliers are no regimes."""
    assert len(levels_of(offsets)) <= 1


@pytest.mark.parametrize("middles", [(-23.3, -4.8), (-20.0, 0.0, 20.0), (0.0, 1.0, 30.0, 31.0)])
def test_clear_levels_are_found_with_their_middles(middles):
    """However many there are, and however far apart some of them are."""
    offsets = np.concatenate([noise(seed, 200, middle, 0.02) for seed, middle in enumerate(middles)])
    found = levels_of(np.random.default_rng(9).permutation(offsets))
    assert [level.median for level in found] == [pytest.approx(middle, abs=0.02) for middle in middles]
    assert [level.rows for level in found] == [200] * len(middles)


def test_levels_within_what_the_source_does_not_know_are_one():
    """Two values 1 ms apart mean nothing where the bound is 5 ms."""
    offsets = np.concatenate([noise(1, 200, 0.0, 0.02), noise(2, 200, 1.0, 0.02)])
    assert len(levels_of(offsets)) == 2
    assert len(levels_of(offsets, resolution_ms=10.0)) == 1


def test_answers_count_once():
    """Two samples that serve a hundred events each are two answers, too few for a regime."""
    assert len(levels_of([1.0] * 100 + [9.0] * 100)) == 1
    assert offset_levels.answers(np.array([1.0, 1.0, 2.0, 2.0, 1.0])).tolist() == [0, 2, 4]


def test_short_excursions_are_no_stretch():
    """A single answer on the other level does not cut a stretch in two."""
    offsets = np.concatenate([noise(1, 100, 0.0, 0.02), noise(2, 2, 9.0, 0.02), noise(3, 100, 0.0, 0.02),
                              noise(4, 100, 9.0, 0.02)])  # fmt: skip
    first_rows = offset_levels.answers(offsets)
    stretches = offset_levels.stretches(offsets, first_rows, offset_levels.levels(offsets, first_rows, 0.0))
    assert [(one.level, one.first, one.last) for one in stretches] == [(0, 0, 201), (1, 202, 301)]


def test_spikes_need_separate_stretches():
    """A value that stays is one answer that stays; a value that comes back exactly is a spike."""
    wandering = noise(1, 400, 0.0, 1.0)
    wandering[100:140] = 0.5
    assert offset_levels.spikes(wandering) == []
    wandering = noise(2, 400, 0.0, 1.0)
    wandering[::10] = 0.25
    (spike,) = offset_levels.spikes(wandering)
    assert (spike.value, spike.rows, spike.spells) == (0.25, 40, 40)


@pytest.mark.parametrize("step_ns", [1, 256, 1_000, 100_000])
def test_chance_is_no_spike(step_ns):
    """Numbers on a grid come back by chance, the oftener the fewer there are."""
    rng = np.random.default_rng(step_ns)
    for rows, places in [(2_000, 500), (2_000, 20), (20_000, 2_000), (300, 7)]:
        offsets = np.cumsum(rng.integers(-1, 2, rows)) + rng.integers(-places, places, rows)
        offsets = np.round(offsets * step_ns / 1e6, 6)
        assert offset_levels.spikes(offsets) == []
        rare = round(offsets.max() + 1e-5 * step_ns * places, 6)  # where nothing is
        offsets[::25] = rare
        assert [spike.value for spike in offset_levels.spikes(offsets)] == [rare]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [[np.inf], [-np.inf, np.inf], [1e300], [-4e15, 4e15]])
def test_numbers_that_no_clock_gives_break_nothing(odd):
    """A damaged file may have any float: what else is in it is judged as it would be without."""
    offsets = np.round(noise(5, 400, 0.0, 1.0), 6)
    offsets[::10] = 0.25
    assert [spike.value for spike in offset_levels.spikes(np.append(offsets, odd))] == [0.25]


def test_old_answers_in_turn_are_spikes():
    """Each is there as often as the next, and far oftener than what lies between."""
    assert len(offset_levels.spikes(np.tile([1.234567, 0.456789, -2.345678], 40))) == 3


def test_a_clamp_needs_both_sides():
    """One spike may be anything; two opposite ones are a limit."""
    values = noise(1, 400, 0.0, 1.0)
    values[::10] = 1.5
    assert offset_levels.clamps(values) == []
    values[5::10] = -1.5
    values[7::10] = -1.501
    (clamp,) = offset_levels.clamps(values)
    assert (clamp.limit, clamp.plus.rows, clamp.minus.rows, clamp.near) == (1.5, 40, 40, 40)
