"""A skill stands without a 95 % interval; the misses that are penalised are counted, with a limit of their own."""

from __future__ import annotations

import numpy as np

from analysis.analyses import clock_quality as tables
from analysis.clocks import calibration, standards
from analysis.clocks import coverage as coverages
from analysis.clocks.clock import in_one_piece


def errors(error_ns, half_ns):
    every = np.ones(len(error_ns), dtype=np.bool_)
    error, arm = error_ns.astype(np.int64), np.full(len(error_ns), int(half_ns))
    return standards.Errors(standards.INJECTED, 0.9973, every, every, error, error, arm, arm, arm.astype(np.float64))


def test_a_run_without_the_rare_miss_does_not_pass_for_sure():
    """At 3 sigma one in 370 misses, and costs 740 times its distance: many a run of 300 samples has none."""
    limits, penalised = [], []
    for seed in range(40):
        error = np.random.default_rng(seed).normal(scale=1e6, size=300)
        one, held = errors(error, 3e6), errors(error, 6e6)
        clock = in_one_piece(one, np.arange(300), held)
        found = calibration.skill(clock, coverages.coverage(clock))
        said = found.as_dict()
        assert "interval" not in said
        assert said["value_bounds"][0] == said["value_bounds"][1] == said["value"]
        limits.append(found.penalised.high)
        penalised.append(found.penalised.numerator)
    assert 0 in penalised
    assert max(penalised) > 0
    assert min(limits) > 1 - 0.9973, "the limit holds the true share of misses, 0.27 %, whatever the run had"


def test_a_range_that_holds_0_says_so_and_one_that_does_not_is_silent():
    assert tables._sign(calibration.Between(-0.1, 0.2)) == " (sign unknown)"
    assert tables._sign(calibration.Between(0.1, 0.2)) == ""
