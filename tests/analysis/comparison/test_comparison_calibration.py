"""What a calibration counts, on pools of known numbers."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.simulation import comparison_calibration
from analysis.simulation.comparison_calibration import Calibrated, _calibrated, document, unmet


def test_normal_pools_are_found_equal_and_apart_as_promised(monkeypatch):
    """Two pools of one law: few comparisons find a difference, and four in five the one that repeats are to show."""
    monkeypatch.setattr(comparison_calibration, "COMPARISONS", 50)
    rng = np.random.default_rng(7)
    row = _calibrated("m", rng.normal(0.2, 0.05, 200), rng.normal(0.2, 0.05, 200))
    assert unmet([row]) == []
    assert row.added == pytest.approx(0.909 * row.sd, rel=0.01)
    assert f"| {100 * row.wrong / 50:.1f} % | {100 * row.shown / 50:.1f} % |" in document([row])


@pytest.mark.parametrize(
    ("wrong", "shown", "short"), [(10, 160, 0), (14, 160, 0), (25, 160, 1), (10, 139, 1), (10, 181, 1), (0, 140, 0)]
)
def test_what_is_short_of_the_promise_is_named(wrong, shown, short):
    assert len(unmet([Calibrated("m", 200, 0.2, 0.05, 0.04, 200, wrong, shown)])) == short
