"""How a number differs between the runs of a cell, and how many runs it takes to see a difference."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL: Final = 0.95
POWER: Final = 0.8
POINTS: Final = 5.0  # percentage points


@dataclass(frozen=True)
class Spread:
    """The mean over runs and its 95 % interval; ``deviation`` and interval are None with fewer than two runs."""

    runs: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


def spread(values: Sequence[float]) -> Spread:
    """Return mean, sample standard deviation and Student's interval, mean ± t(0.975, n - 1) s / √n; of a run or more.

    Runs that all gave the same number have no interval: that they never differ is not what so few can tell.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Spread(len(values), mean, None, None, None)
    deviation = statistics.stdev(values)
    if deviation == 0:
        return Spread(len(values), mean, deviation, None, None)
    from scipy.special import stdtrit  # noqa: PLC0415 - 0.4 s that `fab sweep --plan` need not wait for

    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(len(values))
    return Spread(len(values), mean, deviation, mean - half, mean + half)


def pooled_deviation(cells: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of runs within their cells, None where no cell has two."""
    several = [values for values in cells if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    return (
        math.sqrt(sum(statistics.variance(values) * (len(values) - 1) for values in several) / freedom)
        if freedom
        else None
    )


def runs_needed(deviation: float, difference: float) -> int | None:
    """Return how many runs each of two cells needs to show a difference at 5 % with a power of 80 %, at least 2.

    n = 2 (z_0.975 + z_0.8)² s² / d²: the normal approximation (Chow, Shao, Wang: Sample Size Calculations, 3.2). Both
    numbers in the same unit. None where the runs found never differed: that does not tell how much others would.
    """
    if deviation == 0:
        return None
    normal = statistics.NormalDist()
    z = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)
    return max(2, math.ceil(2 * (z * deviation / difference) ** 2))
