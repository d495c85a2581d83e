"""How many values lie below what: a histogram of fixed steps, so that those of parts add up to that of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.arrays import Floats, Ints

PER_DECADE: Final = 64  # steps of 3.7 %
LOWEST, HIGHEST = -6, 15  # powers of ten between which steps are told apart, in the values' unit
_STEPS: Final = PER_DECADE * (HIGHEST - LOWEST)


@dataclass(frozen=True)
class Histogram:
    """Counts of values by logarithmic steps; those of 0 (or below 10^LOWEST) are in the first.

    The steps are the same for every histogram, whatever it counts.
    """

    counts: Ints

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts)

    @property
    def total(self) -> int:
        """Return how many values were counted."""
        return int(self.counts.sum())

    def at_most(self) -> tuple[Floats, Floats]:
        """Return upper ends of steps, and which share of the values is no greater: where any are, and one step below.

        The first end is 0 where values are that (almost) are.
        """
        if not self.total:
            return np.zeros(0), np.zeros(0)
        filled = np.flatnonzero(self.counts)
        first, last = int(filled[0]), int(filled[-1])
        ends = 10.0 ** (LOWEST + np.arange(max(0, first - 1), last + 1) / PER_DECADE)
        shares = np.cumsum(self.counts)[max(0, first - 1) : last + 1] / self.total
        if first == 0:
            ends[0] = 0.0
        return ends, shares


def histogram(values: NDArray[Any], unit: float = 1.0) -> Histogram:
    """Count values of 0 or more, divided by ``unit``; what is not finite is the caller's business."""
    scaled = np.asarray(values, dtype=np.float64) / unit
    steps = np.zeros(len(scaled), dtype=np.int64)
    above = scaled > 10.0**LOWEST
    steps[above] = np.ceil(PER_DECADE * (np.log10(scaled[above]) - LOWEST)).astype(np.int64)
    counted: Ints = np.bincount(np.minimum(steps, _STEPS), minlength=_STEPS + 1).astype(np.int64)
    return Histogram(counted)
