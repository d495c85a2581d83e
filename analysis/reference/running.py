"""The best of all bounds before an instant, and of all after it, carried there; and where bounds exclude each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.reference import drift

if TYPE_CHECKING:
    from analysis.arrays import Ints
    from analysis.reference.bounds import Bounds

FAR: Final = np.int64(1) << np.int64(61)  # beyond every offset, and two of them still fit 64 bits
_FIRST_LOOK: Final = 4096
_LONGER: Final = 8


class Running(NamedTuple):
    """At every bound's instant, in ns: the best upper and lower bound of it and all before, and of it and all after."""

    high_past: Ints
    low_past: Ints
    high_future: Ints
    low_future: Ints


def running(bounds: Bounds, ppb: int) -> Running:
    """Return the best bounds on both sides of every bound's instant; beyond ``FAR`` / 2 where there is none."""
    high, low, worth = _carried(bounds, ppb)
    high_future = np.minimum.accumulate((high + worth)[::-1])[::-1] - worth + 1
    low_future = np.maximum.accumulate((low - worth)[::-1])[::-1] + worth - 1
    return Running(*_past(high, low, worth), np.minimum(high_future, high), np.maximum(low_future, low))


def past(bounds: Bounds, ppb: int) -> tuple[Ints, Ints]:
    """Return, at every bound's instant, the best upper and the best lower bound of it and all before."""
    return _past(*_carried(bounds, ppb))


def _carried(bounds: Bounds, ppb: int) -> tuple[Ints, Ints, Ints]:
    """Return the upper bounds (``FAR`` at a lower one), the lower bounds, and the drift since the first of them."""
    high, low = np.where(bounds.upper, bounds.value, FAR), np.where(bounds.upper, -FAR, bounds.value)
    return high, low, drift.down(bounds.at - bounds.at[:1], ppb)


def _past(high: Ints, low: Ints, worth: Ints) -> tuple[Ints, Ints]:
    # D = floor(rho t) has D(t_k) - D(t_j) + 1 >= rho (t_k - t_j); a bound at its own instant needs no rounding
    high_past = np.minimum.accumulate(high - worth) + worth + 1
    low_past = np.maximum.accumulate(low + worth) - worth - 1
    return np.minimum(high_past, high), np.maximum(low_past, low)


def stretches(bounds: Bounds, ppb: int) -> list[slice]:
    """Return the longest stretches, from the start on, in which no two bounds exclude each other."""
    slices = []
    start, count = 0, len(bounds.at)
    while start < count:
        stop, resume = _until_contradiction(bounds, start, ppb)
        slices.append(slice(start, stop))
        start = resume
    return slices


def _until_contradiction(bounds: Bounds, start: int, ppb: int) -> tuple[int, int]:
    """Return where the stretch from ``start`` ends, and where the next begins."""
    count = len(bounds.at)
    look = _FIRST_LOOK  # grows, so that few steps cost little more than one pass and many steps cost little each
    while True:
        part = bounds.take(slice(start, min(start + look, count)))
        high, low = past(part, ppb)
        clash = np.flatnonzero(low > high)
        if len(clash):
            break
        if start + look >= count:
            return count, count
        look *= _LONGER
    at = int(clash[0])
    before = part.take(slice(0, at))
    reach = drift.up(part.at[at] - before.at, ppb)
    if part.upper[at]:
        excluded = ~before.upper & (before.value - reach > part.value[at])
    else:
        excluded = before.upper & (before.value + reach < part.value[at])
    return start + int(np.flatnonzero(excluded)[-1]) + 1, start + at
