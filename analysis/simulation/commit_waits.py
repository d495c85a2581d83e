"""The commit_wait.csv of a simulated node: every event measured again after each delay, and some really held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.simulation.files import Table
from node_agent.contract import records
from node_agent.contract.hold_rule import GAVE_UP, MAX_LOOKS, MIN_LOOK_NS, WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from analysis.simulation.oscillator import Stamps
    from analysis.simulation.readings import Source
    from analysis.simulation.world import World

    Ints = NDArray[np.int64]

_GRAIN_NS: Final = 10_000_000  # events due in succession are measured together
_HOLD_EVERY_NS: Final = 10_000_000  # an agent holds at most 100 events a second ...
_HOLDS_AT_ONCE: Final = 50  # ... and so many at once
_USER_ERROR_NS: Final = 150  # half the bracket of a reading in user space


class Waits:
    """The open file of one node. ``done`` counts events measured again, as an agent's status does."""

    def __init__(self, world: World, place: int, asked: dict[str, Source], path: Path) -> None:
        self._clock = world.oscillators[place]
        self._dice = world.dice("waits", place)
        self._asked = asked
        self._delays = [(round(delay * 1e9), f"{delay:g}") for delay in world.scenario.timing.commit_wait_delays]
        self._share = world.scenario.timing.commit_wait_share
        self._bucket_ns = -(1 << 62)
        self.done = 0
        self.table = Table(path, records.COMMIT_WAIT_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.table.__exit__(kind, error, trace)

    def write(self, event_ids: Ints, stamps: Stamps) -> list[list[str]]:
        """Write what follows some events, and return the ``ct_uncertainty_*`` cells of their rows, delay by delay."""
        ids, raw = event_ids[stamps.usable], stamps.raw[stamps.usable]
        self.table.write(self._held(ids, raw))
        columns = []
        for delay, text in self._delays:
            cells = np.full(len(event_ids), "", dtype=object)
            cells[stamps.usable] = self._measure_again(ids, raw + delay, text)
            columns.append(cells.tolist())
        return columns

    def _measure_again(self, ids: Ints, due: Ints, delay: str) -> NDArray[np.object_]:
        """Write one delay's rows, and return each event's claimed ChronoTick uncertainty, "" where there is none."""
        batches, batch_of = np.unique(due // _GRAIN_NS, return_inverse=True)
        # each batch is done once, shortly after its last event is due: the same instant whoever asks
        done = (batches + 1) * _GRAIN_NS + 60_000 + (batches * 2_654_435_761 >> 8) % 400_000
        wall = self._clock.wall(self._clock.true_of_raw(done))
        claimed = np.full(len(ids), "", dtype=object)
        rows = [""] * (len(ids) * len(self._asked))
        for number, (name, source) in enumerate(self._asked.items()):
            said = source.at(done, np.full(len(done), _USER_ERROR_NS))
            middle = f",{name},{records.REMEASURE},"
            cells = zip(done.tolist(), said.waiting_cells(wall), strict=True)
            tails = np.array([f",{at},{delay},{cell},,," for at, cell in cells], dtype=object)[batch_of].tolist()
            rows[number :: len(self._asked)] = [
                f"{event}{middle}{at}{tail}" for event, at, tail in zip(ids.tolist(), due.tolist(), tails, strict=True)
            ]
            if name == records.CHRONOTICK:
                claimed = np.where(said.ok, said.claims(), "")[batch_of]
        self.table.write(rows)
        self.done += len(ids)
        return claimed

    # --- commit-wait proper -------------------------------------------------------------------------------------------

    def _held(self, ids: Ints, raw: Ints) -> Iterator[str]:
        """Yield one row per look at the clock, for the events that are really held, in the order of the looks."""
        chosen = self._chosen(ids, raw)
        begun = raw[chosen] + self._dice.integers(80_000, 400_000, len(chosen))
        rows: list[tuple[int, str]] = []
        for name, source in self._asked.items():
            rows.extend(self._looks(name, source, ids[chosen], begun))
        rows.sort(key=lambda row: row[0])
        return (text for _done, text in rows)

    def _chosen(self, ids: Ints, raw: Ints) -> NDArray[np.intp]:
        """Return which events are held: the agent's even share of all, no more than its bucket grants."""
        share = ids * self._share
        wanted = np.flatnonzero(np.floor(share) != np.floor((ids - 1) * self._share))
        granted = []
        for place, at in zip(wanted.tolist(), raw[wanted].tolist(), strict=True):
            self._bucket_ns = max(self._bucket_ns, at - _HOLDS_AT_ONCE * _HOLD_EVERY_NS)
            if self._bucket_ns + _HOLD_EVERY_NS <= at:
                self._bucket_ns += _HOLD_EVERY_NS
                granted.append(place)
        return np.array(granted, dtype=np.intp)

    def _looks(self, name: str, source: Source, ids: Ints, begun: Ints) -> Iterator[tuple[int, str]]:
        """Yield (raw instant, row) of every look: the first assigns the timestamp, the others see whether it passed."""
        due, assigned, first = begun, np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.int64)
        for spin in range(1, MAX_LOOKS + 1):
            done = due + self._dice.integers(5_000, 90_000, len(ids))
            said = source.at(done, np.full(len(ids), _USER_ERROR_NS))
            cells = said.waiting_cells(self._clock.wall(self._clock.true_of_raw(done)))
            if spin == 1:
                assigned, first = said.latest, done
            ok, released = said.ok, said.earliest > assigned
            for place in range(len(ids)):
                start = (
                    f"{ids[place]},{name},{records.COMMIT},{due[place]},{done[place]},"
                    f"{(done[place] - first[place]) / 1e9:.9f}"
                )
                known = "" if spin == 1 and not ok[place] else assigned[place]
                if not ok[place]:
                    yield int(done[place]), f"{start},{cells[place]},{known},,{spin - 1}"
                    continue
                status = records.OK if released[place] else WAITING if spin < MAX_LOOKS else GAVE_UP
                numbers = cells[place].partition(",")[2]
                end = said.earliest[place] if released[place] else ""
                yield int(done[place]), f"{start},{status},{numbers},{known},{end},{spin}"
            again = np.flatnonzero(ok & ~released)
            if not len(again):
                return
            left = np.maximum(assigned[again] - said.earliest[again] + 1, MIN_LOOK_NS)
            ids, assigned, first, due = ids[again], assigned[again], first[again], done[again] + left
