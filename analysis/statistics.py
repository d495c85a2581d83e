"""Rates with their denominators and intervals, and summaries of widths and errors.

Wilson's score interval: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209. Exact limits: Clopper and Pearson, Biometrika
26 (1934) 404; for no (or only) hits out of n the one-sided 95 % limit is 1 - 0.05^(1/n) (or 0.05^(1/n)).
Both assume independent trials. One clock sample serves many events, so real intervals are wider; the label says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
Z_95: Final = 1.959963984540054  # standard normal quantile at 0.975
WILSON: Final = "Wilson 95 %, assumes independence"
EXACT: Final = "exact one-sided 95 % (Clopper-Pearson), assumes independence"
NO_TRIALS: Final = "no trials"


@dataclass(frozen=True)
class Rate:
    """``numerator`` of ``denominator``, with a 95 % interval; no trials, no value."""

    numerator: int
    denominator: int
    low: float | None
    high: float | None
    method: str

    @property
    def value(self) -> float | None:
        """Return the share, or None where there was nothing to count."""
        return self.numerator / self.denominator if self.denominator else None

    def as_dict(self) -> dict[str, Any]:
        """Return the rate as JSON-serialisable data."""
        interval = None if self.low is None else [self.low, self.high]
        return {
            "numerator": self.numerator,
            "denominator": self.denominator,
            "value": self.value,
            "interval": interval,
            "method": self.method,
        }


def rate(numerator: int, denominator: int) -> Rate:
    """Return a rate with its interval. Raises ValueError unless 0 <= numerator <= denominator."""
    hits, trials = int(numerator), int(denominator)
    if not 0 <= hits <= trials:
        raise ValueError(f"rate: expected 0 <= numerator <= denominator, got {hits} of {trials}")
    if trials == 0:
        return Rate(0, 0, None, None, NO_TRIALS)
    edge = (1.0 - CONFIDENCE) ** (1.0 / trials)
    if hits == 0:
        return Rate(0, trials, 0.0, 1.0 - edge, EXACT)
    if hits == trials:
        return Rate(hits, trials, edge, 1.0, EXACT)
    share, z2 = hits / trials, Z_95 * Z_95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return Rate(hits, trials, centre - half, centre + half, WILSON)


@dataclass(frozen=True)
class Spread:
    """Median, 95th percentile and maximum of ``count`` values, in the unit the key says; None of no values."""

    count: int
    median: float | None
    p95: float | None
    maximum: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the spread as JSON-serialisable data."""
        return {"count": self.count, "median": self.median, "p95": self.p95, "max": self.maximum}


def spread(values: NDArray[Any], unit: float = 1.0) -> Spread:
    """Return the spread of ``values`` divided by ``unit``; values that are not finite are the caller's business."""
    if len(values) == 0:
        return Spread(0, None, None, None)
    scaled = np.asarray(values, dtype=np.float64) / unit
    median, p95, top = (float(value) for value in np.percentile(scaled, [50, 95, 100]))
    return Spread(len(values), median, p95, top)
