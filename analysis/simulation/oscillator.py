"""One simulated node's clocks, for whole arrays of true instants at once: what they show, and the stamps taken of them.

True time is in ns since 1970. The wall clock and the raw oscillator show what ``node_agent.clocks.virtual`` defines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.run import truth
from node_agent.clocks.base import SLEW_PPM
from node_agent.contract.records import CLOCK_STEP, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from analysis.arrays import Bools, Ints
    from node_agent.contract.plan import VirtualClock


SECOND_NS: Final = 1_000_000_000
_SIGHT_NS: Final = 2_000_000  # so shortly before or after a step of the wall clock a stamp has no raw instant


@dataclass(frozen=True)
class Stamps:
    """Kernel stamps of one node. Where ``usable`` is false there is no raw instant (0) and no error (0)."""

    wall: Ints
    raw: Ints
    error: Ints
    usable: Bools

    def each(self, origin: str) -> Iterator[Stamp]:
        """Yield the stamps one by one, as the agent knows them."""
        columns = (self.wall.tolist(), self.raw.tolist(), self.error.tolist(), self.usable.tolist())
        for wall, raw, error, usable in zip(*columns, strict=True):
            yield Stamp(wall, raw, error, origin) if usable else Stamp(wall, None, 0, origin, CLOCK_STEP)


@dataclass(frozen=True)
class Oscillator:
    """A node's two clocks. ``boot_ns`` is what the raw oscillator showed at the virtual clock's epoch."""

    clock: VirtualClock
    boot_ns: int

    def wall(self, true_ns: Ints) -> Ints:
        """Return what the wall clock shows at true instants, in ns."""
        return truth.wall_from_true(self.clock, true_ns)

    def raw(self, true_ns: Ints) -> Ints:
        """Return what the raw oscillator shows at true instants, in ns."""
        elapsed = true_ns - np.int64(self.clock.epoch_ns)
        return np.int64(self.boot_ns) + elapsed + truth.raw_error(self.clock, true_ns)

    def true_of_raw(self, raw_ns: Ints) -> Ints:
        """Return the true instants at which the oscillator shows ``raw_ns``, the first, where there are two."""
        oscillator = truth.oscillator_of(self.clock)
        return truth.true_from_wall(oscillator, raw_ns - np.int64(self.boot_ns - self.clock.epoch_ns))

    def stamps(self, true_ns: Ints, dice: Generator) -> Stamps:
        """Return the kernel stamps of packets at true instants, with the raw error a node would state.

        The stamp is the wall clock's; its raw instant comes from a bracketed pair read up to 1 ms later, and is wrong
        by no more than half the bracket.
        """
        half = dice.integers(60, 400, len(true_ns))
        gap = dice.integers(20_000, 1_000_000, len(true_ns))
        off = dice.integers(-half, half + 1)
        usable = np.ones(len(true_ns), dtype=np.bool_)
        for step in self.clock.steps:
            at = self.clock.epoch_ns + round(step.at_s * 1e9)
            usable &= (true_ns < at - _SIGHT_NS) | (true_ns > at + _SIGHT_NS)
        error = half - (-gap * SLEW_PPM // 1_000_000)
        raw = np.where(usable, self.raw(true_ns) + off, 0)
        return Stamps(self.wall(true_ns), raw, np.where(usable, error, 0), usable)
