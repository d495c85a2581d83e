"""The virtual clock's map true -> local and back, in exact integer arithmetic.

The agent applies the map, the judge inverts it; nobody else may know it. True time is the host's CLOCK_REALTIME in ns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node_agent.plan import VirtualClock

PPB_PER_PPM = 1_000


def wall_from_true(clock: VirtualClock, true_ns: int) -> int:
    """Return what the virtual wall clock shows at ``true_ns``, in ns (rounded down)."""
    return true_ns + round(clock.error_ms * 1e6) + bend(clock, true_ns - clock.epoch_ns)


def true_from_wall(clock: VirtualClock, wall_ns: int) -> int:
    """Return the true instant at which the virtual wall clock showed ``wall_ns``, in ns.

    The map is strictly increasing for |drift| < 500,000 ppm, so the inverse is unique where the drift is not positive and
    otherwise exists for all but a share of drift_ppm of the integers (those are skipped by the clock; the floor is returned).
    """
    guess = wall_ns - round(clock.error_ms * 1e6)
    for _ in range(8):  # each pass shrinks the error by a factor drift_ppm / 10^6; three are enough for a year at 500 ppm
        off = wall_from_true(clock, guess) - wall_ns
        if off == 0:
            break
        guess -= off
    while wall_from_true(clock, guess) > wall_ns:
        guess -= 1
    return guess


def bend(clock: VirtualClock, elapsed_ns: int) -> int:
    """Return how far the bent oscillator has run away after ``elapsed_ns``, in ns (rounded down)."""
    return elapsed_ns * round(clock.drift_ppm * PPB_PER_PPM) // 1_000_000_000
