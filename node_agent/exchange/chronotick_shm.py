"""One look into the ChronoTick daemon's record in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node_agent.clocks import chronotick_shm
from node_agent.clocks.base import Refused
from node_agent.clocks.holdover import FS_PER_S
from node_agent.contract.records import CHRONOTICK_SHM, CLOCK_STEP, OK, Sample
from node_agent.exchange import kernel
from node_agent.exchange.asking import Asker, Setting
from node_agent.local import shared_memory
from node_agent.local.instants import ClockPair, stepped

if TYPE_CHECKING:
    from node_agent.clocks.chronotick_shm import ChronoTickShmPlan


def askers(plan: ChronoTickShmPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the record."""
    reader = _Reader(plan.path, setting)
    return [Asker(plan.path, lambda: [reader.look()])]


class _Reader:
    """Reads one record, and remembers how the clocks stood when it did so last."""

    def __init__(self, path: str, setting: Setting) -> None:
        self._path, self._setting = path, setting
        self._last: ClockPair | None = None
        self._set_wall_ns: int | None = None  # what the wall clock showed when it was first seen to have been set

    def look(self) -> Sample:
        """Return a sample, good or failed. A record from before the wall clock was set is about another clock."""
        before = self._setting.clock.pair()
        last, self._last = self._last, before
        if last is not None and stepped(last, before):
            self._set_wall_ns = before.wall_ns
        frequency = kernel.frequency_fs_per_s()
        image = shared_memory.image(self._path, chronotick_shm.SIZE)
        after = self._setting.clock.pair()
        cells: dict[str, Any]
        if isinstance(image, Refused):
            cells = {"outcome": image.outcome}
        else:
            cells = {"payload": chronotick_shm.kept(image, frequency)}
            record = chronotick_shm.parse(image)
            if isinstance(record, Refused):
                cells["outcome"] = record.outcome
            else:
                numbers = record.numbers(before.wall_ns, before.raw_ns, after.raw_ns, frequency)
                set_since = self._set_wall_ns is not None and record.system_ns < self._set_wall_ns
                if numbers["outcome"] == OK and set_since:
                    numbers = {"outcome": CLOCK_STEP}
                if numbers["outcome"] == OK:
                    unseen_ns = 0 if last is None else _unexplained_ns(last, before, frequency)
                    numbers["bound_stamp_ns"] = before.half_bracket_ns + record.quantum_ns + unseen_ns
                cells |= numbers
        return self._setting.sample(CHRONOTICK_SHM, self._path, before, after, **cells)


def _unexplained_ns(earlier: ClockPair, later: ClockPair, frequency: int | None) -> int:
    """Return by how much the wall clock moved against the oscillator, other than by the kernel's frequency, in ns.

    It may have done so between the instant that the record is about and now.
    """
    elapsed_ns = later.raw_ns - earlier.raw_ns
    return abs(later.wall_ns - earlier.wall_ns - elapsed_ns - elapsed_ns * (frequency or 0) // FS_PER_S)
