"""The virtual clock's map true -> local and back, in exact integer arithmetic.

The agent applies the map, the judge inverts it; nobody else may know it. True time is the host's CLOCK_REALTIME in ns.
A clock's error (local - true) is a chain of straight segments over the time since its epoch, each with an integer slope
in parts per billion, so that both directions are exact: a swing or a walk *is* its chain, not an approximation of one.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node_agent.contract.plan import VirtualClock

_S: Final = 1_000_000_000
_STILL: Final = -_S  # ppb: a clock that stands still loses a second per second
_KNOTS_PER_PERIOD: Final = 32


class Segment(NamedTuple):
    """From ``start_ns`` after the epoch on, the error is ``error_ns + (elapsed - start_ns) * slope_ppb / 10^9``."""

    start_ns: int
    error_ns: int
    slope_ppb: int


@lru_cache(maxsize=64)
def wall_segments(clock: VirtualClock) -> tuple[Segment, ...]:
    """Return the error of the wall clock; the first segment also holds before the epoch."""
    jumps = [(_ns(step.at_s), round(step.by_ms * 1e6)) for step in (*clock.steps, *clock.raw_steps)]
    slews = [
        (_ns(slew.at_s), _ns(slew.at_s + slew.over_s), round(slew.by_ms * 1e6 * _S / _ns(slew.over_s)))
        for slew in clock.slews
    ]
    return _chain(clock, round(clock.error_ms * 1e6), jumps, slews)


@lru_cache(maxsize=64)
def raw_segments(clock: VirtualClock) -> tuple[Segment, ...]:
    """Return the error of the raw oscillator against the host's own."""
    return _chain(clock, 0, [(_ns(step.at_s), round(step.by_ms * 1e6)) for step in clock.raw_steps], [])


def error_at(segments: Sequence[Segment], elapsed_ns: int) -> int:
    """Return the error ``elapsed_ns`` after the epoch, in ns, rounded down."""
    place = bisect_right(segments, (elapsed_ns, math.inf)) - 1 if len(segments) > 1 else 0
    segment = segments[max(place, 0)]
    return segment.error_ns + (elapsed_ns - segment.start_ns) * segment.slope_ppb // _S


def wall_from_true(clock: VirtualClock, true_ns: int) -> int:
    """Return what the virtual wall clock shows at ``true_ns``, in ns."""
    return true_ns + error_at(wall_segments(clock), true_ns - clock.epoch_ns)


def true_interval(clock: VirtualClock, wall_ns: int) -> tuple[int, int]:
    """Return the first and the last true instant, in ns, at which the wall clock can have shown ``wall_ns``.

    They are equal wherever the map is one-to-one. A clock set back shows a time twice, a frozen one for long, and one
    slower than true time shows some integers for two ns. A time that a clock set forward leaps over lies at the leap.
    """
    segments = wall_segments(clock)
    found: list[tuple[int, int]] = []
    leap: int | None = None
    for place, segment in enumerate(segments):
        first = None if place == 0 else segment.start_ns
        last = segments[place + 1].start_ns - 1 if place + 1 < len(segments) else None
        low = _first_reaching(segment, wall_ns - clock.epoch_ns)
        high = _first_reaching(segment, wall_ns - clock.epoch_ns + 1) - 1 if segment.slope_ppb != _STILL else last
        if segment.slope_ppb == _STILL:
            if segment.start_ns + segment.error_ns == wall_ns - clock.epoch_ns and last is not None:
                found.append((segment.start_ns, last))
            continue
        if high is not None and high >= low:
            start = low if first is None else max(low, first)
            end = high if last is None else min(high, last)
            if start <= end:
                found.append((start, end))
        if first is not None and leap is None and error_at(segments, first) + first > wall_ns - clock.epoch_ns:
            leap = first
        if high is not None and high < low and (first is None or low >= first) and (last is None or low <= last):
            found.append((low - 1, low))  # a fast clock skips some integers
    if not found:
        at = leap if leap is not None else wall_ns - clock.epoch_ns - segments[-1].error_ns
        return clock.epoch_ns + at - 1, clock.epoch_ns + at
    return clock.epoch_ns + min(a for a, _ in found), clock.epoch_ns + max(b for _, b in found)


def true_from_wall(clock: VirtualClock, wall_ns: int) -> int:
    """Return the first true instant, in ns, at which the virtual wall clock can have shown ``wall_ns``."""
    return true_interval(clock, wall_ns)[0]


def _first_reaching(segment: Segment, local_ns: int) -> int:
    """Return the first elapsed time at which a segment, prolonged, shows at least ``local_ns`` after the epoch."""
    # local = start + error + d + floor(d * slope / 10^9) with d = elapsed - start, and d integer:
    # d + floor(d * slope / S) = floor(d * (S + slope) / S) >= k  <=>  d >= k * S / (S + slope)
    if segment.slope_ppb == _STILL:
        return segment.start_ns
    target = local_ns - segment.start_ns - segment.error_ns
    return segment.start_ns + -(-target * _S // (_S + segment.slope_ppb))


def _chain(
    clock: VirtualClock, error_ns: int, jumps: Sequence[tuple[int, int]], slews: Sequence[tuple[int, int, int]]
) -> tuple[Segment, ...]:
    """Put all that bends and jumps into one chain of segments."""
    slopes: dict[int, int] = {0: round(clock.drift_ppm * 1_000)}  # elapsed -> change of slope there, in ppb
    for start, end, ppb in [*slews, *_swing(clock), *_walk(clock)]:
        slopes[start] = slopes.get(start, 0) + ppb
        slopes[end] = slopes.get(end, 0) - ppb
    still: dict[int, int] = {}
    for freeze in clock.freezes:
        start, end = _ns(freeze.at_s), _ns(freeze.at_s + freeze.for_s)
        still[start] = still.get(start, 0) + 1
        still[end] = still.get(end, 0) - 1
    chain: list[Segment] = []
    slope = frozen = 0
    for start in sorted({*slopes, *still, *(at for at, _ in jumps)}):
        if chain:
            error_ns = error_at(chain[-1:], start)
        error_ns += sum(by for at, by in jumps if at == start)
        slope += slopes.get(start, 0)
        frozen += still.get(start, 0)
        chain.append(Segment(start, error_ns, _STILL if frozen else slope))
    return tuple(chain)


def _swing(clock: VirtualClock) -> list[tuple[int, int, int]]:
    if clock.sine is None:
        return []
    step = _ns(clock.sine.period_s) // _KNOTS_PER_PERIOD
    heights = [
        clock.sine.amplitude_us * 1e3 * math.sin(2 * math.pi * knot / _KNOTS_PER_PERIOD)
        for knot in range(_KNOTS_PER_PERIOD + 1)
    ]
    slopes = [round((after - before) * _S / step) for before, after in zip(heights, heights[1:])]
    return [
        (knot * step, (knot + 1) * step, slopes[knot % _KNOTS_PER_PERIOD])
        for knot in range(math.ceil(clock.horizon_s * _S / step))
    ]


def _walk(clock: VirtualClock) -> list[tuple[int, int, int]]:
    if clock.random_walk is None:
        return []
    step = _ns(clock.random_walk.every_s)
    dice = random.Random(clock.random_walk.seed)
    bends = []
    ppm = 0.0
    for knot in range(math.ceil(clock.horizon_s * _S / step)):
        ppm += dice.gauss(0.0, clock.random_walk.step_ppm)
        bends.append((knot * step, (knot + 1) * step, round(ppm * 1_000)))
    return bends


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
