"""Whose wall clock is far off: from NTP, as the node itself was answered, or else from the other nodes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node_agent.clocks.wall_offset import in_words, surely_off
from node_agent.contract.records import NTP, OK

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Heard:
    """What a node said of itself, and between which two instants of the controller's monotonic clock, in ns.

    The node's own part of that time is ``took_ns`` of the facts, up to its look at its wall clock.
    """

    facts: dict[str, Any]
    asked_ns: int
    answered_ns: int

    @property
    def standing_ns(self) -> tuple[int, int]:
        """Return its wall clock minus the controller's monotonic one, in ns: at least, at most."""
        wall_ns, took_ns = int(self.facts["wall_ns"]), int(self.facts["took_ns"])
        return wall_ns - self.answered_ns, wall_ns - (self.asked_ns + took_ns)


def far_off(heard: Mapping[str, Heard], limit_s: float) -> dict[str, str]:
    """Return, by node, in a line, that its wall clock is further off than ``limit_s`` and from what.

    By NTP where a node was answered well; by the majority of the other nodes elsewhere. Of two nodes that differ and
    have no NTP both are named: nobody can tell which is wrong. Raises KeyError or TypeError for other facts than those
    of this version.
    """
    told = {}
    for node_id, said in heard.items():
        answers = [row for row in said.facts["sources"][NTP] if row["outcome"] == OK]
        if answers:
            offset_ns = round(statistics.median(row["offset_ms"] for row in answers) * 1e6)
            bound_ns = round(max(row["bound_ms"] for row in answers) * 1e6)
            line, off = "NTP", surely_off(offset_ns, bound_ns, limit_s)
        else:
            others = {peer: _between(said, other) for peer, other in heard.items() if peer != node_id}
            far = {peer: offset for peer, offset in others.items() if surely_off(*offset, limit_s)}
            off = 2 * len(far) > len(others)
            offset_ns = round(statistics.median(offset for offset, _bound in far.values())) if off else 0
            line = ", ".join(far)
        if off:
            told[node_id] = f"its wall clock is {in_words(offset_ns)} {line}"
    return told


def _between(said: Heard, other: Heard) -> tuple[int, int]:
    """Return the other node's wall clock minus this one's, and by how much that may be wrong, in ns."""
    least = other.standing_ns[0] - said.standing_ns[1]
    most = other.standing_ns[1] - said.standing_ns[0]
    return (least + most) // 2, (most - least + 1) // 2
