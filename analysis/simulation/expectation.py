"""Whether a judged run says what its scenario's file expects: every verdict, mechanically."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.checks.finding import Finding
    from analysis.simulation.scenario import Expected


_COMPARE: Final = {
    "equals": operator.eq, "at_least": operator.ge, "at_most": operator.le, "above": operator.gt, "below": operator.lt
}  # fmt: skip


def unmet(expected: Sequence[Expected], statistics: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    """Return one line per expectation that a run's statistics and findings do not meet: what, expected, got."""
    lines = []
    for verdict in expected:
        wanted = "" if verdict.value is None else f" {verdict.value}"
        for where, value in _measured(verdict, statistics, findings):
            if not _complies(verdict, value):
                lines.append(f"{verdict.statement}: {where}: expected {verdict.comparison}{wanted}, got {value!r:.200}")
    return lines


def _measured(
    verdict: Expected, statistics: Mapping[str, Any], findings: Sequence[Finding]
) -> Iterator[tuple[str, Any]]:
    if verdict.finding:
        hits = sum(
            verdict.finding in {"*", finding.code}
            and all(getattr(verdict, name) in {"", getattr(finding, name)} for name in ("severity", "node", "source"))
            for finding in findings
        )
        yield f"findings {verdict.finding}", hits
        return
    yield from list(_at(statistics, verdict.metric.split("/"), "")) or [(verdict.metric, None)]


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


def _complies(verdict: Expected, value: Any) -> bool:
    """Compare; what was not measured complies with nothing but ``absent``."""
    if verdict.comparison == "absent" or value is None:
        return verdict.comparison == "absent" and value is None
    if verdict.comparison == "contains":
        low, high = (end if end is not None else sign * math.inf for end, sign in zip(value, (-1, 1), strict=True))
        return bool(low <= verdict.value <= high)
    if verdict.comparison == "between":
        return bool(verdict.value[0] <= value <= verdict.value[1])
    return bool(_COMPARE[verdict.comparison](value, verdict.value))
