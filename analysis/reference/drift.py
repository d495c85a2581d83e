"""What an oscillator may drift in a time, in exact integers: a float product would lose what rounding outward needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECOND_NS: Final = 1_000_000_000


def parts_per_billion(ppm: float) -> int:
    """Return a rate in ppm as whole parts per billion, rounded up."""
    return math.ceil(ppm * 1_000)


def down(elapsed_ns: NDArray[np.int64], ppb: int) -> NDArray[np.int64]:
    """Return ``elapsed_ns * ppb / 10^9`` rounded down, in ns; grows with ``elapsed_ns``."""
    # the product itself would leave 64 bits after half a day; multiples of a second divide exactly
    seconds, rest = np.divmod(elapsed_ns, _SECOND_NS)
    drift: NDArray[np.int64] = seconds * ppb + rest * ppb // _SECOND_NS
    return drift


def up(elapsed_ns: NDArray[np.int64], ppb: int) -> NDArray[np.int64]:
    """Return ``elapsed_ns * ppb / 10^9`` rounded up, in ns."""
    return -down(-elapsed_ns, ppb)
