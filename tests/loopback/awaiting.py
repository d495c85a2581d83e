"""Wait for a condition, never for a time: every wait has a deadline and says what it waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
DEADLINE_S = 30.0  # far beyond what any of it takes, for a machine that is busy with something else


def until(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Return the first true value of ``condition``; fail with ``what`` when the deadline has passed."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {deadline_s:g} s in vain for: {what}"
        time.sleep(0.02)
    return value
