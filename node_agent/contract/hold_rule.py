"""The rule of commit-wait proper: when a held event is looked at next, and how often. Pure, for whoever replays it."""

from __future__ import annotations

from typing import Final

WAITING: Final = "waiting"
GAVE_UP: Final = "gave_up"
MAX_LOOKS: Final = 1_000  # a bound that grows as fast as time passes would hold an event for ever
MIN_LOOK_NS: Final = 20_000


def next_look_ns(done_raw_ns: int, assigned_ns: int, earliest_ns: int) -> int:
    """Return the raw instant of the next look, after one at ``done_raw_ns`` that saw ``earliest_ns`` <= assigned."""
    return done_raw_ns + max(assigned_ns - earliest_ns + 1, MIN_LOOK_NS)
