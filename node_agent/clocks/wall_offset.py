"""When a wall clock is too far off to be an oversight of its discipline, and how that is said."""

from __future__ import annotations

from typing import Final

MAX_WALL_OFFSET_S: Final = 1.0  # clocks.max_wall_offset_s where nothing else is configured
_SECONDS_OF: Final = {"years": 365.25 * 86_400, "days": 86_400.0}
_FEWEST: Final = 2  # of a unit, before it is used


def surely_off(offset_ns: int, bound_ns: int, limit_s: float) -> bool:
    """Tell whether an offset, known within a bound, is beyond a limit whatever the truth within the bound."""
    return abs(offset_ns) - bound_ns > limit_s * 1e9


def in_words(offset_ns: int) -> str:
    """Say how a wall clock stands, given by how much is to be added to it: ``49.000 s behind``."""
    seconds = abs(offset_ns) / 1e9
    name, size = next(((name, size) for name, size in _SECONDS_OF.items() if seconds >= _FEWEST * size), ("s", 1.0))
    amount = f"{seconds / size:.3f} s" if name == "s" else f"{seconds / size:.1f} {name}"
    return f"{amount} {'behind' if offset_ns > 0 else 'ahead of'}"
