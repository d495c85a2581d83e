"""A 95 % interval that is given holds the true rate in nine of ten runs or more, however long the error remembers.

The grid of METHODOLOGY is made by ``invoke calibrate-statistics``; here are its hard corners, and other clocks.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from analysis.simulation import statistics_calibration
from analysis.stats import rates
from analysis.stats.dependence import Latent, dependence

RUNS = 150


def silent(_line):
    pass


def held_and_given(make, rate):
    held = given = 0
    for seed in range(RUNS):
        values, segments = make(np.random.default_rng(seed))
        every = np.ones(len(values), dtype=np.bool_)
        shared = dependence(segments, Latent(values, every))
        found = rates.rate_of(values > float(ndtri(1 - rate)), every, shared)
        if found.low is not None:
            given += 1
            held += found.low <= rate <= found.high
    return held, given


def wandering_bias(rng, *, seconds, memory_s):
    """Ten events a second, a sample a second, its bias wandering with a memory of so many seconds."""
    values = statistics_calibration.autoregression(rng, 1, seconds, float(np.exp(-1 / memory_s)))[0]
    return np.repeat(values, 10), np.repeat(np.arange(seconds), 10)


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.02])
@pytest.mark.parametrize(("seconds", "memory_s"), [(60, 30), (600, 30), (600, 200), (3000, 30), (60, 3), (300, 10)])
def test_a_bias_that_wanders_is_held_or_the_interval_is_not_given(seconds, memory_s, rate):
    held, given = held_and_given(lambda rng: wandering_bias(rng, seconds=seconds, memory_s=memory_s), rate)
    assert held >= 0.9 * given - 1
    if memory_s > seconds / 4:
        assert given <= 0.05 * RUNS, "where the memory is as long as the run, only repeats can tell"


def periodic(rng):
    """Return an error that swings once in 40 samples, from a phase of its own, under noise."""
    swing = np.sin(2 * np.pi * (np.arange(400) / 40 + rng.random()))
    return (np.sqrt(2) * swing + rng.normal(size=400)) / np.sqrt(2), np.arange(400)


def switching(rng):
    """Return an error whose mean changes between two values at random times, every 25 samples or so."""
    state = np.cumsum(rng.random(1000) < 0.04) % 2
    return (2 * (state - 0.5) * 1.5 + rng.normal(size=1000)), np.arange(1000)


def test_errors_that_swing_are_held():
    from scipy.stats import norm

    phases = np.linspace(0, 1, 2001)[:-1]
    limit = float(ndtri(0.9))
    rate = float(np.mean(norm.sf(np.sqrt(2) * limit - np.sqrt(2) * np.sin(2 * np.pi * phases))))
    held = given = 0
    for seed in range(RUNS):
        values, segments = periodic(np.random.default_rng(seed))
        every = np.ones(len(values), dtype=np.bool_)
        found = rates.rate_of(values > limit, every, dependence(segments, Latent(values, every)))
        if found.low is not None:
            given, held = given + 1, held + (found.low <= rate <= found.high)
    assert held >= 0.9 * given


def test_errors_that_switch_are_held():
    from scipy.stats import norm

    rate = float((norm.sf(2 - 1.5) + norm.sf(2 + 1.5)) / 2)
    held = given = 0
    for seed in range(RUNS):
        values, segments = switching(np.random.default_rng(seed))
        every = np.ones(len(values), dtype=np.bool_)
        found = rates.rate_of(values > 2.0, every, dependence(segments, Latent(values, every)))
        if found.low is not None:
            given, held = given + 1, held + (found.low <= rate <= found.high)
    assert held >= 0.9 * given
    assert given > 0.9 * RUNS


def test_the_grid_keeps_its_promises_with_few_runs():
    cells = list(statistics_calibration.intervals(20, silent))
    claims = list(statistics_calibration.claims(20, silent))
    assert statistics_calibration.unmet(cells, claims) == []
    assert len(cells) == 4 * 3 * 3 * 4
    text = statistics_calibration.document(20, cells, claims)
    assert "none given" in text
    begin, end = (f"<!-- made by invoke calibrate-statistics: {mark} -->" for mark in ("begin", "end"))
    assert statistics_calibration.written_into(f"a\n{begin}\nold\n{end}\nb", text).startswith(f"a\n{begin}\nCoverage")


def test_one_gap_of_readings_is_one_event():
    """200 of 1000 readings are missing in one go: nobody can tell from it how often that happens."""
    there = np.ones(1000, dtype=np.bool_)
    there[300:500] = False
    segments = np.arange(1000) // 10
    found = rates.rate_of(there, np.ones(1000, dtype=np.bool_), dependence(segments))
    assert (found.numerator, found.low) == (800, None)
