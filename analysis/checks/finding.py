"""One finding about a run: what is wrong, of which scope, how bad and where; and how its numbers are written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Severity = Literal["error", "warning", "note"]
Scope = Literal["contract", "data"]
ERROR: Final = "error"
WARNING: Final = "warning"
NOTE: Final = "note"
CONTRACT: Final = "contract"  # the files are not what the contract says, or do not fit together
DATA: Final = "data"  # the files are in order, and what they say is no good measurement
SHOWN: Final = 4


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: ``code`` names its kind, ``numbers`` are what was counted.

    ``node`` is "" if it is about all of them; ``file`` is relative to the run folder, "" if it is about no single one.
    """

    code: str
    severity: Severity
    node: str
    source: str
    message: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    scope: Scope = DATA
    file: str = ""

    @property
    def where(self) -> str:
        """Return the file it is about, else the node, "" if it is about all of them."""
        return self.file or self.node

    @property
    def told(self) -> str:
        """Return where it is, if it is somewhere, and what it is: as a report's head says it."""
        return f"{f'{self.where}: ' * bool(self.where)}{self.message}"

    @property
    def line(self) -> str:
        """Return the finding as one line, whatever is in the names that it tells of."""
        return " ".join(f"{self.severity}: {self.where or 'the run'}: {self.message}".split())

    @property
    def breaks_contract(self) -> bool:
        """Tell whether the run folder is not in order: `invoke validate` then ends with exit code 7."""
        return self.scope == CONTRACT and self.severity == ERROR

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return asdict(self)


def error(code: str, file: str, message: str, node: str = "", source: str = "", /, **numbers: Any) -> Finding:
    """Return a breach of the contract."""
    return Finding(code, ERROR, node, source, message, numbers, CONTRACT, file)


def warning(code: str, file: str, message: str, node: str = "", source: str = "", /, **numbers: Any) -> Finding:
    """Return what the contract allows for, and a reader should know."""
    return Finding(code, WARNING, node, source, message, numbers, CONTRACT, file)


def reasons(counts: Mapping[str, int]) -> str:
    """Write counts by name: ``stale 12, timeout 1``."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def some(texts: Sequence[str], between: str = ", ", of: str = "") -> str:
    """Write the first few of many texts, and how many more there are."""
    return between.join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more{of}" if len(texts) > SHOWN else "")


def ids(events: Iterable[int]) -> str:
    """Write event ids as ranges: 11-14, 215-219."""
    ranges: list[list[int]] = []
    for event in sorted(int(event) for event in events):
        if ranges and event == ranges[-1][1] + 1:
            ranges[-1][1] = event
        else:
            ranges.append([event, event])
    return some([f"{first}" if first == last else f"{first}-{last}" for first, last in ranges], of=" ranges")


def clock(instant_ns: int) -> str:
    """Write an instant (ns) as UTC time of day; the date is the run's."""
    return datetime.fromtimestamp(int(instant_ns) // 1_000_000_000, tz=UTC).strftime("%H:%M:%S")


def one_line(failure: BaseException) -> str:
    """Write what was raised, in one line; what a damaged file raises most in words."""
    if isinstance(failure, UnicodeDecodeError):
        return "bytes that are no text in UTF-8"
    if isinstance(failure, KeyError):
        return f"nothing named {failure}"
    return " ".join(f"{type(failure).__name__}: {failure}".split())
