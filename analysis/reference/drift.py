"""What an oscillator may drift in a time, in exact integers: a float product would lose what rounding outward needs."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from analysis.arrays import Ints

_SECOND_NS: Final = 1_000_000_000
_BILLION: Final = 1_000_000_000
_MOST: Final = 1 << 62  # of a product, so that what is added before it is divided still fits 64 bits


def parts_per_billion(ppm: float) -> int:
    """Return a rate in ppm as whole parts per billion, rounded up."""
    return math.ceil(Fraction(str(ppm)) * 1_000)  # the number as it was typed, not as a float holds it


def relative(first_ppb: int, second_ppb: int) -> int:
    """Return by how much two oscillators may differ in rate, in parts per billion of either, rounded up.

    Each shows 1 + d of true time, |d| <= its own limit. Of the first one's time, theta = second - first changes by
    (d2 - d1) / (1 + d1), at most (p1 + p2) / (1 - p1); of the second one's by at most (p1 + p2) / (1 - p2).
    """
    slowest = _BILLION - max(first_ppb, second_ppb)
    return -(-(first_ppb + second_ppb) * _BILLION // slowest)


def down(elapsed_ns: Ints, ppb: int) -> Ints:
    """Return ``elapsed_ns * ppb / 10^9`` rounded down, in ns; grows with ``elapsed_ns``."""
    if _fits(elapsed_ns, ppb):
        product: Ints = elapsed_ns * ppb // _SECOND_NS
        return product
    # multiples of a second divide exactly
    seconds = elapsed_ns // _SECOND_NS  # by a constant, which numpy does ten times faster than divmod
    drift: Ints = seconds * ppb + (elapsed_ns - seconds * _SECOND_NS) * ppb // _SECOND_NS
    return drift


def up(elapsed_ns: Ints, ppb: int) -> Ints:
    """Return ``elapsed_ns * ppb / 10^9`` rounded up, in ns."""
    if _fits(elapsed_ns, ppb):
        product: Ints = (elapsed_ns * ppb + (_SECOND_NS - 1)) // _SECOND_NS
        return product
    return -down(-elapsed_ns, ppb)


def _fits(elapsed_ns: Ints, ppb: int) -> bool:
    """Tell whether the products themselves fit 64 bits, as those of some hours do: half the work then.

    Negative times are left to the other way, for which of them fits is another question.
    """
    return len(elapsed_ns) > 0 and int(elapsed_ns.min()) >= 0 and int(elapsed_ns.max()) * ppb <= _MOST
