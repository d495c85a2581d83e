"""``python -m harness.localcluster.relays``: the relays of one embedded cluster, started by its supervisor.

They end when standard input does, so with the supervisor, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import select
import selectors
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.localcluster.processes import reader_of
from harness.localcluster.relays.datagrams import DatagramRelay
from harness.localcluster.relays.messages import DATAGRAMS, LONGEST_LINE, Answer, Counts, Question, RelayOrder
from harness.localcluster.relays.streams import serve_stream
from node_agent.contract import json_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

PR_SET_TIMERSLACK = 29  # linux/prctl.h
SLACK_NS = 1_000
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # asm/unistd.h
SLICE_NS = 100_000  # the shortest that Linux gives
LATENCY_FILE = Path("/dev/cpu_dma_latency")  # Documentation/power/pm_qos_interface.rst
_ATTRIBUTES = struct.Struct("@IIQiIQQQ")  # linux/sched/types.h, struct sched_attr up to sched_period


class _FineSelector(selectors.EpollSelector):
    """Waits as long as it is told: epoll(7) counts whole milliseconds, select(2) on its descriptor microseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class _Relays:
    """The relays laid so far, and what became of the packets of each path."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._laid: list[DatagramRelay] = []

    async def answer(self, line: str) -> Answer:
        """Obey one line and return its answer."""
        question = json_objects.read(Question, line, "question")
        if question.lay is None:
            return Answer(counts=self._counts)
        try:
            return Answer([await self._lay(order) for order in question.lay])
        except OSError as error:
            return Answer(problem=f"cannot lay a path: {error.strerror or error}")

    async def _lay(self, order: RelayOrder) -> tuple[str, int]:
        counts = self._counts.setdefault(order.path, Counts())
        if order.kind != DATAGRAMS:
            return await serve_stream(order, counts)
        self._laid.append(DatagramRelay(asyncio.get_running_loop(), order, counts))
        return self._laid[-1].place


async def _serve() -> None:
    reader = await reader_of(sys.stdin, LONGEST_LINE)
    relays = _Relays()
    while line := await reader.readline():
        with contextlib.suppress(BrokenPipeError):  # the end of the input comes next
            answer = json_objects.write(await relays.answer(line.decode()))
            print(answer, flush=True)  # noqa: T201 - the line that whoever asked reads


def main() -> int:
    """Relay until standard input ends."""
    with _prompt(), asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_FineSelector())) as runner:
        runner.run(_serve())
    return 0


@contextlib.contextmanager
def _prompt() -> Iterator[None]:
    """Be woken as promptly as the kernel lets this process be: what it refuses makes the paths longer than asked.

    As root it runs before all others, and no processor falls asleep meanwhile: a virtual one takes up to a millisecond
    to wake. Else it runs in short slices, and who runs in longer ones lets it in at once (Linux 6.12).
    """
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:  # not root, or a group of processes without time of that kind
        if number := SCHED_SETATTR.get(platform.machine()):
            libc.syscall(number, 0, _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, 0, 0, SLICE_NS, 0, 0), 0)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(LATENCY_FILE.open("wb", buffering=0)).write(bytes(4))  # 0 us, while it is open
        yield


if __name__ == "__main__":
    sys.exit(main())
