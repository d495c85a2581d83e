"""What several nodes said to one question, each for itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.errors import RunError

if TYPE_CHECKING:
    from harness.errors import HarnessError

T = TypeVar("T")


@dataclass
class Answers(Generic[T]):
    """What several nodes said to one question: partial failure is data."""

    ok: dict[str, T] = field(default_factory=dict)
    failed: dict[str, HarnessError] = field(default_factory=dict)

    def demand(self) -> None:
        """Raise RunError, one line per node, unless every node answered."""
        if self.failed:
            raise RunError("\n".join(str(error) for error in self.failed.values()))
