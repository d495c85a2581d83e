"""How a part of a node waits: clock pairs keep coming meanwhile, and the node's end ends the wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from node_agent.node import Node

_LOOK_EVERY_S: Final = 0.05


class Waits:
    """The waits of one thread. They have no deadline of their own: that is the lease, and the controller's stop."""

    def __init__(self, node: Node, stopping: threading.Event) -> None:
        self._node = node
        self._stopping = stopping

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, or the node is to stop."""
        while not self._stopping.is_set() and not condition():
            self._node.keep_pair(self._node.clock.pair())
            self._stopping.wait(_LOOK_EVERY_S)

    def until_instant(self, due_ns: int) -> bool:
        """Wait until ``due_ns`` (``time.monotonic_ns()``); return False if the node is to stop before."""
        while not self._stopping.is_set():
            self._node.keep_pair(self._node.clock.pair())
            left_ns = due_ns - time.monotonic_ns()
            if left_ns <= 0:
                return True
            self._stopping.wait(min(left_ns / 1e9, _LOOK_EVERY_S))
        return False

    def let_probes_lead(self, first: str) -> None:
        """Wait before the ``first`` thing that needs a reference until probes have gone for as long as is planned."""
        probes = self._node.plan.probes
        if probes is not None:
            self._node.held_by = (f"probing for {probes.lead_s:g} s before the first {first}",)
            self.until_instant(time.monotonic_ns() + round(probes.lead_s * 1e9))
            self._node.held_by = ()
