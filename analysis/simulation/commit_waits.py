"""The commit_wait.csv of a simulated node: every event measured again after each delay, and some really held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from node_agent.contract import records
from node_agent.contract.cells import remeasured_cells
from node_agent.contract.hold_rule import Choice, Hold
from node_agent.contract.records import Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.arrays import Ints, Texts
    from analysis.simulation.asked import Asked
    from analysis.simulation.files import Write
    from analysis.simulation.oscillator import Stamps
    from analysis.simulation.world import World


_GRAIN_NS: Final = 10_000_000  # events due in succession are measured together
_USER_ERROR_NS: Final = 150  # half the bracket of a reading in user space


class Waits:
    """What one node writes after its events. ``done`` counts events measured again, as an agent's status does."""

    def __init__(self, world: World, place: int, asked: dict[str, Asked], write: Write) -> None:
        self._clock = world.oscillators[place]
        self._dice = world.dice("waits", place)
        self._asked = asked
        self._delays = [(round(delay * 1e9), f"{delay:g}") for delay in world.scenario.timing.commit_wait_delays]
        self._choice = Choice(world.scenario.timing.commit_wait_share)
        self.done = 0
        self._write = write

    def write(self, event_ids: Ints, stamps: Stamps) -> list[list[str]]:
        """Write what follows some events, and return the ``ct_uncertainty_*`` cells of their rows, delay by delay."""
        ids, raw = event_ids[stamps.usable], stamps.raw[stamps.usable]
        self._write(self._held(ids, raw))
        columns = []
        for delay, text in self._delays:
            cells = np.full(len(event_ids), "", dtype=object)
            cells[stamps.usable] = self._measure_again(ids, raw + delay, text)
            columns.append(cells.tolist())
        return columns

    def _looks_at(self, done: Ints) -> list[Stamp]:
        """Return the stamps of looks at the clock at these raw instants, in user space."""
        instants = zip(self._clock.wall(self._clock.true_of_raw(done)).tolist(), done.tolist(), strict=True)
        return [Stamp(wall, raw, _USER_ERROR_NS, records.USER) for wall, raw in instants]

    def _measure_again(self, ids: Ints, due: Ints, delay: str) -> Texts:
        """Write one delay's rows, and return each event's claimed ChronoTick uncertainty, "" where there is none."""
        batches, batch_of = np.unique(due // _GRAIN_NS, return_inverse=True)
        # each batch is done once, shortly after its last event is due: the same instant whoever asks
        done = (batches + 1) * _GRAIN_NS + 60_000 + (batches * 2_654_435_761 >> 8) % 400_000
        looks = self._looks_at(done)
        claimed = np.full(len(ids), "", dtype=object)
        rows = [""] * (len(ids) * len(self._asked))
        for number, (name, source) in enumerate(self._asked.items()):
            cells = [remeasured_cells(source.reading(look), look.wall_ns) for look in looks]
            tails = [f",{look.raw_ns},{delay},{cell},,," for look, cell in zip(looks, cells, strict=True)]
            middle = f",{name},{records.REMEASURE},"
            rows[number :: len(self._asked)] = [
                f"{event}{middle}{at}{tails[batch]}"
                for event, at, batch in zip(ids.tolist(), due.tolist(), batch_of.tolist(), strict=True)
            ]
            if name == records.CHRONOTICK:
                claimed = np.array([cell.split(",")[2] for cell in cells], dtype=object)[batch_of]
        self._write(rows)
        self.done += len(ids)
        return claimed

    def _held(self, ids: Ints, raw: Ints) -> Iterator[str]:
        """Yield one row per look at the clock, for the events that are really held, in the order of the looks."""
        stamped = zip(ids.tolist(), raw.tolist(), strict=True)
        chosen = [(event_id, raw_ns) for event_id, raw_ns in stamped if self._choice.takes(event_id, raw_ns)]
        late = self._dice.integers(80_000, 400_000, len(chosen)).tolist()
        rows: list[tuple[int, str]] = []
        for name in self._asked:
            holds = [Hold(event_id, name, raw_ns + by) for (event_id, raw_ns), by in zip(chosen, late, strict=True)]
            rows.extend(self._looks(holds))
        rows.sort(key=lambda row: row[0])
        return (text for _done, text in rows)

    def _looks(self, holds: list[Hold]) -> Iterator[tuple[int, str]]:
        """Yield (raw instant, row) of every look, until all holds are over."""
        while holds:
            due = np.array([hold.due_ns for hold in holds], dtype=np.int64)
            looks = self._looks_at(due + self._dice.integers(5_000, 90_000, len(holds)))
            for hold, look in zip(holds, looks, strict=True):
                yield look.raw_ns or 0, hold.look(look, self._asked[hold.source].reading(look))
            holds = [hold for hold in holds if hold.due_ns is not None]
