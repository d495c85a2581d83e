"""One direction of one flow: what came first leaves first, and nothing before its delay has passed."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.localcluster.relays.messages import Counts

LONGEST_QUEUE: Final = 1_000  # packets under way; one more is dropped, as by a router
_ROUNDING_NS: Final = 1_000  # asyncio counts in floats of a second, and may be early by as little
_EARLY_NS: Final = 100_000  # a sleeper wakes some 60 us late, so a lane is woken early and waits the rest awake
_OLDEST_NS: Final = 50_000_000  # what seems to have waited longer for the relay came while the wall clock was set
_RANDOM: Final = random.Random()


@dataclass(frozen=True)
class Delay:
    """A fixed delay and an exponentially distributed one on top (its mean), in ns."""

    fixed_ns: int
    tail_ns: int

    def due_ns(self, last_ns: int, came_ns: int) -> int:
        """Return when what came at ``came_ns`` is due: in a queue, so not before what was due ``last_ns``.

        All are instants of CLOCK_MONOTONIC.
        """
        queued_ns = math.ceil(_RANDOM.expovariate(1 / self.tail_ns)) if self.tail_ns else 0
        return max(last_ns, came_ns + self.fixed_ns + queued_ns)


def arrival_ns(kernel_ns: int | None) -> int:
    """Return when (CLOCK_MONOTONIC) a datagram came, by the kernel's stamp of it (CLOCK_REALTIME), else now.

    The wall clock is read first: a relay that is held up between the two takes the datagram for later than it was,
    never for earlier, which would make its way too short.
    """
    waited_ns = time.time_ns() - kernel_ns if kernel_ns is not None else 0
    now_ns = time.monotonic_ns()
    return now_ns - waited_ns if 0 < waited_ns <= _OLDEST_NS else now_ns


async def until(due_ns: int) -> None:
    """Wait until an instant of CLOCK_MONOTONIC has come."""
    left_ns = due_ns - time.monotonic_ns()
    if left_ns > 0:
        await asyncio.sleep((left_ns + _ROUNDING_NS) / 1e9)


class Lane:
    """Datagrams on their way in one direction; ``send`` takes each one when it is due."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, delay: Delay, counts: Counts, send: Callable[[bytes], None]
    ) -> None:
        self._loop = loop
        self._delay = delay
        self._counts = counts
        self._send = send
        self._under_way: deque[tuple[int, bytes]] = deque()
        self._last_ns = 0

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is under way."""
        return not self._under_way

    def put(self, data: bytes, came_ns: int) -> None:
        """Take a datagram that came at ``came_ns``; drop and count it where too many are under way."""
        if len(self._under_way) >= LONGEST_QUEUE:
            self._counts.dropped += 1
            return
        self._last_ns = self._delay.due_ns(self._last_ns, came_ns)
        self._under_way.append((self._last_ns, data))
        if len(self._under_way) == 1:
            self._wait()

    def _wait(self) -> None:
        wake_ns = self._under_way[0][0] - _EARLY_NS
        self._loop.call_at(wake_ns / 1e9, self._send_due)  # asyncio's clock is CLOCK_MONOTONIC in s

    def _send_due(self) -> None:
        now_ns = time.monotonic_ns()
        while now_ns < self._under_way[0][0] <= now_ns + _EARLY_NS + _ROUNDING_NS:
            now_ns = time.monotonic_ns()
        while self._under_way and self._under_way[0][0] <= now_ns:
            self._send(self._under_way.popleft()[1])
            self._counts.passed += 1
        if self._under_way:
            self._wait()
