"""Whether a judged run says what its scenario's file expects: every verdict, mechanically."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.checks.finding import Finding
    from analysis.simulation.scenario import Expected


def unmet(expected: Sequence[Expected], statistics: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    """Return one line per expectation that a run's statistics and findings do not meet: what, expected, got."""
    lines = []
    for one in expected:
        for where, value in _measured(one, statistics, findings):
            if not _complies(one, value):
                wanted = "" if one.value is None else f" {one.value}"
                lines.append(f"{one.statement}: {where}: expected {one.comparison}{wanted}, got {value!r:.200}")
    return lines


def _measured(one: Expected, statistics: Mapping[str, Any], findings: Sequence[Finding]) -> Iterator[tuple[str, Any]]:
    if one.finding:
        hits = [
            found
            for found in findings
            if one.finding in {"*", found.code}
            and one.severity in {"", found.severity}
            and one.node in {"", found.node}
            and one.source in {"", found.source}
        ]
        yield f"findings {one.finding}", len(hits)
        return
    found = list(_at(statistics, one.metric.split("/"), ""))
    yield from found or [(one.metric, None)]


def _at(data: Any, keys: list[str], where: str) -> Iterator[tuple[str, Any]]:
    """Yield what a metric names: ``*`` is every key or entry, and a key may itself contain slashes."""
    if not keys:
        yield where, data
        return
    entries = dict(enumerate(data)) if isinstance(data, list) else data
    if not isinstance(entries, dict):
        return
    if keys[0] == "*":
        for key, value in entries.items():
            yield from _at(value, keys[1:], f"{where}/{key}")
        return
    for length in range(1, len(keys) + 1):
        key = "/".join(keys[:length])
        if key in entries:
            yield from _at(entries[key], keys[length:], f"{where}/{key}")
            return


def _complies(one: Expected, value: Any) -> bool:
    """Compare; what was not measured complies with nothing but ``absent``."""
    if one.comparison == "absent":
        return value is None
    if value is None:
        return False
    if one.comparison == "equals":
        return bool(value == one.value)
    if one.comparison == "contains":
        low, high = (end if end is not None else sign * math.inf for end, sign in zip(value, (-1, 1), strict=True))
        return bool(low <= one.value <= high)
    if one.comparison == "between":
        return bool(one.value[0] <= value <= one.value[1])
    compare = {
        "at_least": value >= one.value,
        "at_most": value <= one.value,
        "above": value > one.value,
        "below": value < one.value,
    }
    return bool(compare[one.comparison])
