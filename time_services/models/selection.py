"""Which servers are left out: the rule of the agent's NTP source, held equal to it by a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Interval = tuple[float, float]


def joint_interval(intervals: Iterable[Interval]) -> Interval | None:
    """Return the hull of all points that more than half of the intervals hold; None where there is no such point.

    An interval with low > high holds nothing. The rule is K. Marzullo's (Maintaining the Time in a Distributed System,
    1984) with the most falsetickers below half.
    """
    given = list(intervals)
    needed = len(given) - (len(given) - 1) // 2
    valid = [(low, high) for low, high in given if low <= high]
    held = [low for low, _ in valid if sum(a <= low <= b for a, b in valid) >= needed]
    until = [high for _, high in valid if sum(a <= high <= b for a, b in valid) >= needed]
    return (min(held), max(until)) if held else None


def falsetickers(intervals: Mapping[str, Interval]) -> tuple[str, ...]:
    """Return the servers whose interval misses the joint one; all of them where there is no joint one."""
    joint = joint_interval(intervals.values())
    return tuple(
        server
        for server, (low, high) in intervals.items()
        if joint is None or low > high or max(low, joint[0]) > min(high, joint[1])
    )
