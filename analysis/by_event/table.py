"""What a run's readings are, as arrays: one source on one node, and all of them in one table, in event order."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analysis.by_event.event_rows import Instants, RawStamps, Rows
from analysis.by_event.lazily import Lazily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analysis.arrays import Bools, Ints
    from analysis.by_event.facts import Facts
    from analysis.run.load import Run
    from analysis.storage.scratch import Scratch

# Statuses the analysis adds to the agents' own; each says why there is no reading.
LOST: Final = "lost"
NO_DATA: Final = "no_data"
NOT_SENT: Final = "not_in_coordinator_csv"
NO_RAW_STAMP: Final = "no_raw_stamp"
NO_STATUS: Final = "no_status"
NOT_ASKED: Final = "not_asked"  # of a log that was imported: its line is about another source
LOCAL: Final = "local"  # what a system clock refers to: itself

SECOND_NS: Final = 1_000_000_000

POINT: Final = "point"
INTERVAL: Final = "interval"
UNSTATED: Final = "unstated"


@dataclass(frozen=True)
class Readings:
    """What one source says on one node, event by event.

    ``stamped``: the node has a stamp of the event. ``known``: there is a best estimate ``est``. ``bounded``: there is
    an interval [``earliest``, ``latest``]. Numbers are 0 where the mask says no. A point clock is never bounded.
    ``status`` and ``reference`` are words with categories common to the run, so that millions of them cost little.
    ``sample``: the number of the sample that served, -1 for none; of a clock without samples the second of the stamp,
    for such a clock is not measured anew at every event either.
    """

    node_id: str
    source: str
    kind: str
    level: float | None
    stamped: Bools
    known: Bools
    bounded: Bools
    est: Ints
    earliest: Ints
    latest: Ints
    status: pd.Categorical
    reference: pd.Categorical
    sample: Ints

    def take(self, positions: Ints) -> Readings:
        """Return the readings of some events, in the order given."""
        chosen: dict[str, Any] = {
            spec.name: array[positions]
            for spec in fields(self)
            if isinstance(array := getattr(self, spec.name), (np.ndarray, pd.Categorical))
        }
        return replace(self, **chosen)

    def statuses(self, events: Bools) -> dict[str, int]:
        """Return how many of some events have which status, by name."""
        counts = np.bincount(self.status.codes[events], minlength=len(self.status.categories))
        return {str(word): int(count) for word, count in zip(self.status.categories, counts, strict=True) if count}


@dataclass(frozen=True)
class Table:
    """All readings of a run, or of some of its events. ``workers`` are all configured ones; ``present`` left data."""

    run: Run
    event_ids: Ints
    sequence: Instants
    sent: Instants
    sources: tuple[str, ...]
    workers: tuple[str, ...]
    present: tuple[str, ...]
    received: Mapping[str, Bools]
    duplicates: Mapping[str, int]
    stamps: Mapping[str, Instants]
    own_sends: Mapping[str, Instants]
    raw_stamps: Mapping[str, RawStamps]  # by node: of the receipts, at the coordinator of the first transmits
    raw_sends: Mapping[str, RawStamps]  # by worker: of the transmits to it, like own_sends
    rows: Mapping[str, Rows]  # by node that left data
    facts: Facts
    begins_at: int  # the place of the first event of this part among those of the run
    _true: Mapping[str, Instants | None]
    _true_sends: Mapping[str, Instants | None]
    _receive: Mapping[tuple[str, str], Readings]
    _send: Mapping[tuple[str, str], Readings]

    @property
    def coordinator_id(self) -> str:
        """Return the coordinator's node id."""
        return self.run.manifest.coordinator_id

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the coordinator and the workers that left data."""
        return (self.coordinator_id, *self.present)

    @property
    def heard(self) -> tuple[str, ...]:
        """Return the workers that left at least one row."""
        return tuple(worker for worker in self.present if worker in self.facts.heard)

    @property
    def clocks(self) -> tuple[tuple[str, str], ...]:
        """Return every (source, clock) to judge: each source as a point, and as an interval where it has any."""
        bounded = {source for _, source in self.facts.bounded}
        return tuple(
            (source, clock)
            for source in self.sources
            for clock in (POINT, INTERVAL)
            if clock == POINT or source in bounded
        )

    @property
    def silent(self) -> tuple[str, ...]:
        """Return the configured workers without any row."""
        return tuple(worker for worker in self.workers if worker not in self.heard)

    @property
    def number_of_parts(self) -> int:
        """Return how many parts there are: one, of a run that is in memory as a whole."""
        return 1

    @property
    def in_memory(self) -> bool:
        """Tell whether all of it is in memory, where a second process has it too."""
        return True

    @property
    def scratch(self) -> Scratch | None:
        """Return where that is kept which does not fit into memory; None where all of it does."""
        return None

    def parts(self) -> Iterator[Table]:
        """Yield the table part by part; every part knows what holds for the whole run."""
        return map(self.numbered, range(self.number_of_parts))

    def numbered(self, number: int) -> Table:  # noqa: ARG002 - of one
        """Return one part of the run."""
        return self

    def part(self, begin: int, end: int) -> Table:
        """Return the table of some consecutive events; what is said of the run (who was heard, say) stays the run's."""
        whole = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        chosen = {name: _part(value, slice(begin, end)) for name, value in whole.items()}
        return replace(self, **chosen | {"begins_at": self.begins_at + begin})

    def take(self, positions: Ints) -> Table:
        """Return the table of some events, in the order given; who was heard, and which clocks, stays the run's."""
        whole = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        return replace(self, **{name: _part(value, positions) for name, value in whole.items()})

    def loaded(self) -> Table:
        """Return the same table with everything made that is made when it is asked for."""
        made: dict[str, Any] = {name: dict(value) for name, value in vars(self).items() if isinstance(value, Lazily)}
        return replace(self, **made)

    def readings(self, node_id: str, source: str) -> Readings:
        """Return a node's readings: a worker's of its receipts, the coordinator's of its earliest transmit stamps."""
        return self._receive[node_id, source]

    def sends(self, worker: str, source: str) -> Readings:
        """Return the coordinator's readings of the sends to one worker (its own transmit stamp where there is one)."""
        return self._send[worker, source]

    def instants(self, node_id: str) -> Instants:
        """Return when a node stamped every event: by its raw oscillator, or its wall clock if it has no raw stamps."""
        raw = self.raw_stamps[node_id]
        return Instants(raw.ns, raw.known) if node_id in self.facts.with_raw else self.stamps[node_id]

    def has_truth(self, node_id: str) -> bool:
        """Tell whether truth was injected into a node's clock."""
        return self.run.manifest.nodes[node_id].virtual_clock is not None

    def truth(self, node_id: str) -> Instants | None:
        """Return the true instants of a node's stamps, or None where no truth was injected.

        A stamp that a clock set back shows twice has none.
        """
        return self._true[node_id]

    def true_sends(self, worker: str) -> Instants | None:
        """Return the true instants of the sends to one worker, or None where no truth was injected."""
        return self._true_sends[worker]


def _part(value: Any, events: slice | Ints) -> Any:
    """Return what is by event, of some of them; anything else as it is."""
    if isinstance(value, (np.ndarray, pd.Categorical)):
        return value[events]
    if isinstance(value, (Instants, RawStamps, Readings)):
        return replace(value, **{spec.name: _part(getattr(value, spec.name), events) for spec in fields(value)})
    if isinstance(value, Rows):
        place = np.arange(len(value.there)) if value.place is None else value.place
        return Rows(value.frame, place[events], value.there[events])
    if isinstance(value, Lazily):
        return value.then(partial(_part, events=events))
    if isinstance(value, dict):
        return {key: _part(entry, events) for key, entry in value.items()}
    return value
