"""What commit_wait.csv says is recomputed from the samples, as far as its rows tell at which stamp they were read.

A look at the clocks is a reading in user space: a raw instant (``done_raw_ns``), a wall instant and half the bracket of
the two, of which only the first is in the row. So of one look

- who is read at it, which sample serves and a predicting source's sigma and asymmetry are recomputed exactly;
- a half-width, and the ends ``assigned_ns`` and ``released_ns``, lie within the error of that look, 0 to
  ``most_error_ns``, of what the samples say; where the half-width itself is in the row, to the nanosecond;
- the wall instant (estimate - offset) is the same for all rows of the look, and mostly what clock_pairs.csv shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from node_agent.clocks.base import NARROW_NS, evaluate
from node_agent.clocks.holdover import stamp_bound_ns
from node_agent.contract import records
from node_agent.contract.hold_rule import GAVE_UP, MAX_LOOKS, WAITING, next_look_ns
from node_agent.contract.records import OK, Available, Reading, Sample, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    from analysis.run.wall_clock import WallClock
    from node_agent.clocks.base import ClockSource
    from node_agent.contract.plan import NodePlan

    class Published(Protocol):
        """One source's good samples in the order of their publication."""

        def before(self, stamp: Stamp) -> Sequence[Sample]:
            """Return the samples that may serve a stamp."""


Wrong = tuple[str, str, str, str]  # row, column, recorded, recomputed
Cell = tuple[str, str, str]  # the same of a row that is known

WIDER: Final = 4  # times the widest bracket of the node's clock pairs: a look's is of the same kind, and of few
_READING: Final = ("status", "offset_ms", "uncertainty_ms", "asymmetry_ms", "sample_id")
ROUNDING_NS: Final = 1  # of cells in ms with six decimals
FEW_LOOKS: Final = 3  # and one in FEW_OF: between two clock pairs a wall clock may be set there and back
FEW_OF: Final = 50
UNSTEADY_NS: Final = 1_000_000_000  # so near to a step, another may have gone unseen


@dataclass
class _Hold:
    """One event held for one source, as far as its rows have been read."""

    first_done_ns: int
    assigned: str = ""
    spins: int = 0
    next_due_ns: tuple[int, int] | None = None
    ended: bool = False


@dataclass
class Looks:
    """The rows of one node's commit_wait.csv, one after another. ``taken`` are the stamps of its events, by id."""

    plan: NodePlan
    sources: Mapping[str, ClockSource]
    samples: Mapping[str, Published]
    taken: Mapping[str, Stamp]
    clock: WallClock
    _read: dict[tuple[str, int], Reading] = field(default_factory=dict, init=False)
    _first_rows: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict, init=False)
    _walls: dict[int, int] = field(default_factory=dict, init=False)
    _holds: dict[tuple[str, str], _Hold] = field(default_factory=dict, init=False)
    _last: tuple[str, str, str] = field(default=("", "", ""), init=False)

    def __post_init__(self) -> None:
        """Work out how wrong a look may be."""
        widest = WIDER * int(self.clock.error.max()) if len(self.clock) else 0
        self.look_error_ns = max(NARROW_NS // 2, widest)
        self.most_error_ns = stamp_bound_ns(self.look_error_ns, self.plan.clocks.max_drift_ppm)
        self._delays_ns = {f"{delay_s:g}": round(delay_s * 1e9) for delay_s in self.plan.commit_wait_delays_s}

    def check(self, row: Mapping[str, str]) -> Iterator[Wrong]:
        """Yield what is off in the next row, of a re-measurement or of a real commit-wait."""
        source, done_ns = row["source"], int(row["done_raw_ns"])
        where = f"{row['event_id']} {row['kind']} {source} at {done_ns}"
        if source not in self.sources:
            yield where, "source", source, "a configured source"
            return
        reading = self._reading(source, done_ns)
        yield from ((where, *wrong) for wrong in self._reading_cells(row, source, done_ns, reading))
        if row["kind"] == records.REMEASURE:
            yield from ((where, *wrong) for wrong in self._remeasured(row))
        else:
            yield from ((where, *wrong) for wrong in self._held(row, source, done_ns, reading))

    def misplaced(self) -> Iterator[Wrong]:
        """Yield, once all rows are read, that many looks show a wall clock which the node's clock pairs do not."""
        if not len(self.clock) or not self._walls:
            return
        done, wall = (np.array(list(values), dtype=np.int64) for values in (self._walls, self._walls.values()))
        fitting = self.clock.fits(wall, done - self.most_error_ns, done + self.most_error_ns)
        stepped = self.clock.around(done - UNSTEADY_NS, done + UNSTEADY_NS).stepped
        strange = int((~fitting & ~stepped).sum())
        if strange > max(FEW_LOOKS, len(done) // FEW_OF):
            got = f"another wall clock at {strange} of {len(done)} looks"
            yield records.COMMIT_WAIT_FILE, "offset_ms", got, f"as {records.CLOCK_PAIRS_FILE} shows"

    def _reading(self, source: str, done_ns: int) -> Reading:
        if (source, done_ns) not in self._read:
            self._read[source, done_ns] = self._look(source, done_ns, 0)
        return self._read[source, done_ns]

    def _look(self, source: str, done_ns: int, raw_error_ns: int) -> Reading:
        stamp = Stamp(0, done_ns, raw_error_ns, records.USER)
        return evaluate(self.sources[source], self.samples[source].before(stamp), stamp)

    def _reading_cells(self, row: Mapping[str, str], source: str, done_ns: int, reading: Reading) -> Iterator[Cell]:
        """Compare whether there was a reading, of which sample, how sure it was, and that all rows of a look agree."""
        status = OK if row["kind"] == records.COMMIT and row["status"] in {WAITING, GAVE_UP} else row["status"]
        names = [name for name in _READING if name in row]  # an earlier version knew of no asymmetry
        cells = tuple(status if name == "status" else row[name] for name in names)
        if not isinstance(reading, Available):
            for column, cell in zip(names, cells, strict=True):
                expected = reading.reason if column == "status" else ""
                if cell != expected:
                    yield column, cell, expected
                    return
            return
        if (status, row["sample_id"]) != (OK, reading.sample_id):
            yield "sample_id", f"{row['status']} {row['sample_id']}", reading.sample_id
            return
        least_ms = f"{reading.uncertainty_ns / 1e6:.6f}"  # a half-width also holds the error of the look
        if "asymmetry_ms" in row:
            asymmetry_ns = reading.asymmetry_ns
            yield from _other(row, asymmetry_ms="" if asymmetry_ns is None else f"{asymmetry_ns / 1e6:.6f}")
        if reading.kind == records.PROBABILISTIC:
            yield from _other(row, uncertainty_ms=least_ms)
        elif not -ROUNDING_NS <= self._wider_ns(row, reading) <= self.most_error_ns + ROUNDING_NS:
            most_ms = f"{(reading.uncertainty_ns + self.most_error_ns) / 1e6:.6f}"
            yield "uncertainty_ms", row["uncertainty_ms"], f"{least_ms} to {most_ms}"
        first = self._first_rows.setdefault((source, done_ns), cells)
        wall_ns = reading.est_ns - round(float(row["offset_ms"]) * 1e6)
        seen_ns = self._walls.setdefault(done_ns, wall_ns)
        if first != cells:
            yield ", ".join(names[1:-1]), ",".join(cells[1:-1]), ",".join(first[1:-1])
        elif abs(seen_ns - wall_ns) > 2 * (ROUNDING_NS + math.ulp(float(row["offset_ms"])) * 1e6):
            yield "offset_ms", row["offset_ms"], f"{(reading.est_ns - seen_ns) / 1e6:.6f}"

    def _wider_ns(self, row: Mapping[str, str], reading: Available) -> int:
        return round(float(row["uncertainty_ms"]) * 1e6 - reading.uncertainty_ns)

    def _remeasured(self, row: Mapping[str, str]) -> Iterator[Cell]:
        """Compare when it was due with its event's stamp (a killed agent's event may be lost), and when it was done."""
        stamp, delay_ns = self.taken.get(row["event_id"]), self._delays_ns.get(row["delay_s"])
        if delay_ns is None:
            yield "delay_s", row["delay_s"], f"one of {', '.join(self._delays_ns)}"
        elif stamp is not None and stamp.raw_ns is not None:
            due_ns = stamp.raw_ns + delay_ns
            yield from _other(row, due_raw_ns=str(due_ns))
            if int(row["done_raw_ns"]) < due_ns:
                yield "done_raw_ns", row["done_raw_ns"], f"{due_ns} or later"
        event, delay, done = self._last
        if (event, delay) == (row["event_id"], row["delay_s"]) and done != row["done_raw_ns"]:
            yield "done_raw_ns", row["done_raw_ns"], f"{done}, as of its other sources"
        self._last = (row["event_id"], row["delay_s"], row["done_raw_ns"])
        yield from _other(row, assigned_ns="", released_ns="", spins="")

    # --- commit-wait proper -------------------------------------------------------------------------------------------

    def _held(self, row: Mapping[str, str], source: str, done_ns: int, reading: Reading) -> Iterator[Cell]:
        """Compare one look of a commit-wait with the looks before it, and its ends with the reading."""
        key = (row["event_id"], source)
        hold = self._holds.get(key)
        if hold is None:
            hold = self._holds[key] = _Hold(done_ns)
            yield from self._begun(row)
        if hold.ended:
            yield "status", row["status"], "no look after the last"
            return
        due = int(row["due_raw_ns"])
        if hold.next_due_ns is not None and not hold.next_due_ns[0] <= due <= hold.next_due_ns[1]:
            yield "due_raw_ns", row["due_raw_ns"], f"{hold.next_due_ns[0]} to {hold.next_due_ns[1]}"
        elif done_ns < due:
            yield "done_raw_ns", row["done_raw_ns"], f"{due} or later"
        hold.spins += isinstance(reading, Available)
        yield from _other(row, delay_s=f"{(done_ns - hold.first_done_ns) / 1e9:.9f}", spins=str(hold.spins))
        if isinstance(reading, Available):
            yield from self._ends(row, source, done_ns, reading, hold)
        else:
            hold.ended = True
            if (row["assigned_ns"], row["released_ns"]) != (hold.assigned, ""):
                yield "assigned_ns", row["assigned_ns"], hold.assigned

    def _begun(self, row: Mapping[str, str]) -> Iterator[Cell]:
        stamp = self.taken.get(row["event_id"])
        if stamp is not None and stamp.raw_ns is not None:
            earliest = stamp.raw_ns - stamp.raw_error_ns
            if int(row["due_raw_ns"]) < earliest:
                yield "due_raw_ns", row["due_raw_ns"], f"{earliest} or later, its event's stamp"

    def _ends(
        self, row: Mapping[str, str], source: str, done_ns: int, reading: Available, hold: _Hold
    ) -> Iterator[Cell]:
        """Compare the assigned and the released instant with the reading's ends, and the status with the two."""
        if reading.kind == records.PROBABILISTIC:
            worst = self._look(source, done_ns, self.look_error_ns)
            least, most = 0, worst.latest_ns - reading.latest_ns if isinstance(worst, Available) else 0
        else:
            least, most = (self._wider_ns(row, reading) + rounding for rounding in (-ROUNDING_NS, ROUNDING_NS))
        low, high = reading.earliest_ns - most, reading.earliest_ns - least
        if not hold.assigned:
            hold.assigned = row["assigned_ns"]
            if not row["assigned_ns"] or not least <= int(row["assigned_ns"]) - reading.latest_ns <= most:
                yield "assigned_ns", row["assigned_ns"], f"{reading.latest_ns + least} to {reading.latest_ns + most}"
        else:
            yield from _other(row, assigned_ns=hold.assigned)
        if not hold.assigned:
            return
        assigned = int(hold.assigned)
        if row["status"] == OK:
            hold.ended = True
            if not row["released_ns"] or not max(low, assigned + 1) <= int(row["released_ns"]) <= high:
                yield "released_ns", row["released_ns"], f"{max(low, assigned + 1)} to {high}"
            return
        hold.next_due_ns = (next_look_ns(done_ns, assigned, high), next_look_ns(done_ns, assigned, low))
        yield from _other(row, released_ns="")
        if low > assigned:
            yield "status", row["status"], OK
        else:
            yield from _other(row, status=GAVE_UP if hold.spins >= MAX_LOOKS else WAITING)
        hold.ended = row["status"] == GAVE_UP


def _other(row: Mapping[str, str], **expected: str) -> Iterator[Cell]:
    """Yield the cells of a row that are not what is expected in their columns."""
    yield from ((column, row[column], text) for column, text in expected.items() if row[column] != text)
