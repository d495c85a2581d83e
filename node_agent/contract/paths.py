"""The network paths of an embedded cluster: how long a packet is made to take, between which ends.

The controller's cluster file says it (``paths``), the manifest keeps it, and the report repeats it. No node is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LAN: Final = "lan"  # between two nodes: events and probes. The paths to the time services are called as these are.


@dataclass(frozen=True)
class NetworkPath:
    """One path. A packet takes the fixed delay of its direction, and a queueing delay on top, drawn for each anew.

    ``delay_ms``: the fixed delay one way, the mean of both directions; ``asymmetry``: that of the way there over that
    of the way back; ``tail_ms``: the mean of the exponentially distributed queueing delay.
    """

    delay_ms: float
    tail_ms: float = 0.0
    asymmetry: float = 1.0

    @property
    def fixed_ms(self) -> tuple[float, float]:
        """Return the fixed delay of the way there, and of the way back."""
        there = 2 * self.delay_ms * self.asymmetry / (1 + self.asymmetry)
        return there, 2 * self.delay_ms - there


def in_words(paths: Mapping[str, Any] | None) -> str:
    """Return what a cluster's configured ``paths`` say, in a line; empty where there are none."""
    given = {name: NetworkPath(**options) for name, options in (paths or {}).items() if options is not None}
    words = []
    for name, path in given.items():
        there, back = path.fixed_ms
        fixed = f"{path.delay_ms:g} ms one way" if path.asymmetry == 1 else f"{there:.4g} ms there, {back:.4g} ms back"
        words.append(f"{name} {fixed} + {path.tail_ms:g} ms in queues" if path.tail_ms else f"{name} {fixed}")
    return "; ".join(words)
