"""One look into ClockBound's shared memory segment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from node_agent.clocks import clockbound
from node_agent.clocks.base import Refused
from node_agent.contract.records import CLOCK_STEP, CLOCKBOUND, DISRUPTED, Sample
from node_agent.exchange import kernel
from node_agent.exchange.asking import Asker, Setting
from node_agent.local import shared_memory
from node_agent.local.instants import moved_ns, stepped

if TYPE_CHECKING:
    from node_agent.clocks.clockbound import ClockBoundPlan


def askers(plan: ClockBoundPlan, setting: Setting) -> list[Asker]:
    """Return the asker of the segment."""
    reader = _Reader(plan.path, setting)
    return [Asker(plan.path, lambda: [reader.look()])]


class _Reader:
    """Reads one segment, and remembers the disruption marker that it saw last."""

    def __init__(self, path: str, setting: Setting) -> None:
        self._path, self._setting = path, setting
        self._marker: int | None = None

    def look(self) -> Sample:
        """Return a sample, good or failed."""
        before = self._setting.clock.pair()
        frequency = kernel.frequency_fs_per_s()
        image = shared_memory.image(self._path, clockbound.SIZE)
        monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        after = self._setting.clock.pair()
        cells: dict[str, Any]
        if isinstance(image, Refused):
            cells = {"outcome": image.outcome}
        else:
            segment, last = clockbound.parse(image), self._marker
            self._marker = last if isinstance(segment, Refused) else segment.marker
            cells = {"payload": clockbound.kept(image, monotonic_ns, frequency)}
            if isinstance(segment, Refused):
                cells["outcome"] = segment.outcome
            elif last is not None and segment.marker not in {None, last}:
                cells["outcome"] = DISRUPTED
            elif stepped(before, after):
                cells["outcome"] = CLOCK_STEP
            else:
                stamp_ns = before.half_bracket_ns + after.half_bracket_ns + moved_ns(before, after)
                cells |= segment.numbers(
                    before.wall_ns, before.raw_ns, after.raw_ns, monotonic_ns, frequency, stamp_ns
                )  # fmt: skip
                cells["bound_stamp_ns"] = stamp_ns
        return self._setting.sample(CLOCKBOUND, self._path, before, after, **cells)
