"""The rule of commit-wait proper: which events are held, and when each is looked at next. Pure, for whoever replays it.

s = now().latest; release when now().earliest > s (TrueTime's commit wait: J. C. Corbett et al., Spanner, OSDI 2012,
section 4.1.2). Every look at the clock is a row, so that the whole way from assignment to release can be drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from node_agent.contract.cells import claim_cells
from node_agent.contract.records import COMMIT, OK, Available, Reading, Stamp

WAITING: Final = "waiting"
GAVE_UP: Final = "gave_up"
MAX_LOOKS: Final = 1_000  # a bound that grows as fast as time passes would hold an event for ever
MIN_LOOK_NS: Final = 20_000
_EVERY_NS: Final = 10_000_000  # watching more events would take from the machine what is measured on it
_AT_ONCE: Final = 50
_SHARES: Final = 1_000_000  # a share is told apart to a millionth, exactly
_NEVER: Final = 1 << 63


def next_look_ns(done_raw_ns: int, assigned_ns: int, earliest_ns: int) -> int:
    """Return the raw instant of the next look, after one at ``done_raw_ns`` that saw ``earliest_ns`` <= assigned."""
    return done_raw_ns + max(assigned_ns - earliest_ns + 1, MIN_LOOK_NS)


class Choice:
    """Chooses the events that are held: a share of all, and no more than a bucket grants."""

    def __init__(self, share: float) -> None:
        chosen = Fraction(share).limit_denominator(_SHARES)
        self._chosen_of = chosen.numerator, chosen.denominator
        self._bucket_ns = -_NEVER

    def takes(self, event_id: int, raw_ns: int) -> bool:
        """Tell whether an event is held that was stamped at ``raw_ns``; events come in the order of their stamps."""
        return self.chosen(event_id) and self._granted(raw_ns)

    def chosen(self, event_id: int) -> bool:
        """Choose the given share of all events, evenly: those at which id * share passes a whole number."""
        some, of = self._chosen_of
        return event_id * some // of > (event_id - 1) * some // of

    def _granted(self, raw_ns: int) -> bool:
        """Grant an event one of the holds of a bucket, which gains one every ``_EVERY_NS`` of the stamps' time."""
        self._bucket_ns = max(self._bucket_ns, raw_ns - _AT_ONCE * _EVERY_NS)
        if self._bucket_ns + _EVERY_NS > raw_ns:
            return False
        self._bucket_ns += _EVERY_NS
        return True


@dataclass
class Hold:
    """One event held for one source until ``due_ns``, None once it is over.

    The first look at the clock assigns its timestamp and begins its wait.
    """

    event_id: int
    source: str
    due_ns: int | None
    begun_raw_ns: int | None = None
    assigned_ns: int | None = None
    spins: int = 0

    def look(self, stamp: Stamp, reading: Reading) -> str:
        """Look at the clock, which says ``reading`` at ``stamp``; return the row of commit_wait.csv."""
        now, due_ns = stamp.raw_ns or 0, self.due_ns
        if self.begun_raw_ns is None:
            self.begun_raw_ns = now
        start = f"{self.event_id},{self.source},{COMMIT},{due_ns},{now},{(now - self.begun_raw_ns) / 1e9:.9f}"
        self.due_ns = None
        if not isinstance(reading, Available):
            assigned = "" if self.assigned_ns is None else self.assigned_ns
            return f"{start},{reading.reason},,,,,{assigned},,{self.spins}"
        self.spins += 1
        if self.assigned_ns is None:
            self.assigned_ns = reading.latest_ns
        released = reading.earliest_ns > self.assigned_ns
        status = OK if released else WAITING if self.spins < MAX_LOOKS else GAVE_UP
        if status == WAITING:
            self.due_ns = next_look_ns(now, self.assigned_ns, reading.earliest_ns)
        end = reading.earliest_ns if released else ""
        return f"{start},{status},{claim_cells(reading, stamp.wall_ns)},{self.assigned_ns},{end},{self.spins}"
