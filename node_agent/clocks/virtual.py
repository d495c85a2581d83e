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

    For a drift that is not negative the map is strictly increasing, so the instant is unique (a fast clock skips some
    integers; for those the last instant before is returned). A slow clock shows some integers for two successive ns;
    then the earlier or the later of the two is returned, which is as close as the integers allow.
    """
    guess = wall_ns - round(clock.error_ms * 1e6)
    for _ in range(
        8
    ):  # each pass shrinks the error by the factor drift_ppm / 10^6; three suffice for a year at 500 ppm
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
