"""How a number differs between the runs of a cell."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL: Final = 0.95
POINTS: Final = 5.0  # percentage points


@dataclass(frozen=True)
class Spread:
    """The mean over runs and its 95 % interval; ``deviation`` and interval are None with fewer than two runs.

    ``clipped``: the interval ended where the number itself must.
    """

    runs: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    clipped: bool = False


def spread(values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> Spread:
    """Return mean, sample standard deviation and Student's interval, mean ± t(0.975, n - 1) s / √n; of a run or more.

    The interval is clipped at ``least`` and ``most``, between which the number always is: the true mean is there too,
    so that an interval holds it as often clipped as not.
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
    low, high = mean - half, mean + half
    clipped = low < least or high > most
    return Spread(len(values), mean, deviation, max(low, least), min(high, most), clipped)


def pooled_deviation(cells: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of runs within their cells, None where no cell has two."""
    several = [values for values in cells if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    return (
        math.sqrt(sum(statistics.variance(values) * (len(values) - 1) for values in several) / freedom)
        if freedom
        else None
    )
