"""One finding about a run's data, and how its numbers are written for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Severity = Literal["error", "warning", "note"]
SHOWN: Final = 4


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: ``code`` names its kind, ``numbers`` are what was counted; ``node`` "" means all."""

    code: str
    severity: Severity
    node: str
    source: str
    message: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Return the node it is about, "" if it is about all of them."""
        return self.node

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        names = ("code", "severity", "node", "source", "message")
        return {name: getattr(self, name) for name in names} | {"numbers": dict(self.numbers)}


def reasons(counts: Mapping[str, int]) -> str:
    """Write counts by name: ``stale 12, timeout 1``."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def ids(events: Iterable[int]) -> str:
    """Write event ids as ranges: 11-14, 215-219."""
    ordered = sorted(int(event) for event in events)
    ranges: list[list[int]] = []
    for event in ordered:
        if ranges and event == ranges[-1][1] + 1:
            ranges[-1][1] = event
        else:
            ranges.append([event, event])
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:SHOWN]]
    return ", ".join(shown) + (f" and {len(ranges) - SHOWN} more stretches" if len(ranges) > SHOWN else "")


def clock(instant_ns: int) -> str:
    """Write an instant (ns) as UTC time of day; the date is the run's."""
    return datetime.fromtimestamp(int(instant_ns) // 1_000_000_000, tz=UTC).strftime("%H:%M:%S")
