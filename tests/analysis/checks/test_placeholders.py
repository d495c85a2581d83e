"""A round uncertainty is a stand-in where it comes oftener than by chance, however long the run is."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.checks.readings import placeholders


def measured(count, decimals):
    return np.round(np.random.default_rng(5).uniform(0.25, 1.25, count), decimals)


@pytest.mark.parametrize(("count", "decimals"), [(1_000, 6), (100_000, 4), (300_000, 3), (50_000, 6)])
def test_measured_numbers_are_none(count, decimals):
    known = measured(count, decimals)
    assert placeholders(known) == []


@pytest.mark.parametrize(("count", "decimals", "rows"), [(1_000, 6, 15), (100_000, 4, 200), (50_000, 6, 30)])
@pytest.mark.parametrize("value", [0.5, 5.0])
def test_a_stand_in_among_them_is_found(count, decimals, rows, value):
    known = measured(count, decimals)
    known[100 : 100 + rows] = value
    ((found, times),) = placeholders(known)
    assert found == value
    assert rows <= times <= 2 * rows
