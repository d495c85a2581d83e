"""Who knows how much later one event was than another: the reference, the injected truth, a worker's own oscillator.

A judge gives a *lag*: an interval [low, high] that is certain to contain how much later the second instant was. No
source under test has a hand in it. Where a judge cannot say anything, the lag is not known, and where it can say
nothing at all (no probes, a self-check that failed, no truth injected) it has a reason, and every verdict against it
is not evaluable for that reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from analysis import reference
from analysis.by_event import verdicts
from analysis.by_event.verdicts import Lag

if TYPE_CHECKING:
    from analysis.arrays import Bools, Ints, Labels
    from analysis.by_event.event_rows import Instants, RawStamps
    from analysis.by_event.table import Table
    from analysis.reference import Reference
    from analysis.reference.relation import Shown

REFERENCE: Final = "reference"
TRUTH: Final = "injected_truth"
OSCILLATOR: Final = "own_oscillator"
ORDER_OF_SENDING: Final = "order_of_sending"  # of causality: no packet arrives before it left

NO_TRUTH: Final = "no truth was injected"


class Judge(Protocol):
    """Knows lags between nodes, or has a ``reason`` why it knows none."""

    name: str
    reason: str

    def receipts(self, first: str, second: str) -> Lag:
        """Return how much later the second worker received each event than the first."""

    def flights(self, worker: str) -> Lag:
        """Return how much later a worker received each event than it was sent to it."""

    def of_part(self, table: Table) -> Judge:
        """Return the judge of some events of the same run."""


class Probed:
    """The reference of the probe mesh. It is silent where there were no probes, or where a self-check of it failed."""

    name = REFERENCE

    def __init__(self, table: Table, reference: Reference) -> None:
        self._table = table
        self._reference = reference
        self._flights: dict[str, Lag] = {}  # every analysis asks for them; receipts are kept by none, of n² pairs
        self.reason = "" if reference.evaluable else reference.reason

    def receipts(self, first: str, second: str) -> Lag:
        """Return how much later the second worker received each event than the first."""
        stamps = self._table.raw_stamps
        return self.lag(first, stamps[first], second, stamps[second])

    def flights(self, worker: str) -> Lag:
        """Return how much later a worker received each event than it was sent to it."""
        if worker not in self._flights:
            table = self._table
            sent, received = table.raw_sends[worker], table.raw_stamps[worker]
            self._flights[worker] = self.lag(table.coordinator_id, sent, worker, received)
        return self._flights[worker]

    def of_part(self, table: Table) -> Probed:
        """Return the judge of some events of the same run."""
        return self if table is self._table else Probed(table, self._reference)

    def lag(self, first: str, first_stamps: RawStamps, second: str, second_stamps: RawStamps) -> Lag:
        """Return how much later raw stamps of one node are than those of another, one by one."""
        return self.lag_from(first, first_stamps, second, self.shown(first, second, second_stamps))

    def shown(self, first: str, second: str, second_stamps: RawStamps) -> Shown:
        """Return what the first node's oscillator showed at raw stamps of the second one."""
        shown = self._reference.shown(first, second, second_stamps.ns, second_stamps.error_ns)
        return shown._replace(segment=np.where(second_stamps.known, shown.segment, -1))

    def lag_from(self, first: str, first_stamps: RawStamps, second: str, shown: Shown) -> Lag:
        """Return how much later raw stamps of one node are than those of another that its oscillator has ``shown``."""
        lags = self._reference.lag_from(first, first_stamps.ns, second, shown, first_stamps.error_ns)
        known = lags.known & first_stamps.known
        return Lag(np.where(known, lags.low_ns, 0), np.where(known, lags.high_ns, 0), known)


class TrueTime:
    """The injected truth of virtual clocks: lags of no width."""

    name = TRUTH

    def __init__(self, table: Table) -> None:
        self._table = table
        self.reason = "" if any(map(table.has_truth, table.present)) else NO_TRUTH

    def receipts(self, first: str, second: str) -> Lag:
        """Return how much later the second worker received each event than the first."""
        return self._lag(self._table.truth(first), self._table.truth(second))

    def flights(self, worker: str) -> Lag:
        """Return how much later a worker received each event than it was sent to it."""
        return self._lag(self._table.true_sends(worker), self._table.truth(worker))

    def of_part(self, table: Table) -> TrueTime:
        """Return the judge of some events of the same run."""
        return self if table is self._table else TrueTime(table)

    def _lag(self, first: Instants | None, second: Instants | None) -> Lag:
        if first is None or second is None:  # one of the nodes has no virtual clock
            nothing = np.zeros(len(self._table.event_ids), dtype=np.int64)
            return Lag(nothing, nothing, nothing.astype(np.bool_))
        known = first.known & second.known
        lag = np.where(known, second.ns - first.ns, 0)
        return Lag(lag, lag, known)


def own_order(stamps: RawStamps, first: Ints, second: Ints) -> tuple[Labels, Bools]:
    """Label the order of two receipts of one worker by its own raw oscillator, and say where it has both stamps.

    However fast or slow it is: as long as it runs forward, a later reading of it is a later instant.
    """
    earlier, later = stamps.take(first), stamps.take(second)
    lag, error = later.ns - earlier.ns, earlier.error_ns + later.error_ns
    known = earlier.known & later.known
    return verdicts.order(lag - error, lag + error, known), known


def of(table: Table, known: Reference | None = None) -> tuple[Judge, ...]:
    """Return the judges of a run: the reference first, then the injected truth; each may have a reason to be silent.

    The reference is built where it is not given.
    """
    return (Probed(table, reference.build(table.run) if known is None else known), TrueTime(table))
