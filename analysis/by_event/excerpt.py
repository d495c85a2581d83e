"""Which events of a long run are shown one by one: some of every kind of verdict, and some evenly spread.

A run may have millions of events, a page or a figure shows some thousand at most. Nothing is counted or judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event import verdicts
from analysis.by_event.table import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analysis.arrays import Bools, Ints
    from analysis.by_event.table import Table

MOST: Final = 1500  # events
OF_KINDS: Final = 0.6  # so much of them for the kinds of verdicts, in equal parts, the rest evenly spread


def choose(table: Table, workers: Sequence[str], most: int = MOST) -> Ints:
    """Return the positions of at most ``most`` events that some of these workers received, in their order.

    Of every source's verdicts at these workers, some events that were violated, ambiguous, or wrong as points.
    """
    there = table.sent.known & np.any([table.received[worker] for worker in workers], axis=0)
    possible = np.flatnonzero(there)
    if len(possible) <= most:
        return possible
    chosen = [thinned(possible, most - int(OF_KINDS * most))]
    chosen += evenly([Places(kind & there) for kind in _kinds(table, workers)], int(OF_KINDS * most))
    return np.unique(np.concatenate(chosen))


class Places:
    """The positions of the events of one kind, of which there may be many."""

    def __init__(self, there: Bools) -> None:
        self._there = there
        self._length = int(np.count_nonzero(there))

    def __len__(self) -> int:
        return self._length

    def thinned(self, most: int) -> Ints:
        """Return at most so many of them, as ``thinned`` does."""
        return thinned(np.flatnonzero(self._there), most)


def thinned(positions: Ints, most: int) -> Ints:
    """Return at most so many of some positions, evenly picked, the first and the last among them."""
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).round().astype(np.int64)]


def evenly(kinds: Iterable[Places], most: int) -> list[Ints]:
    """Return so many positions of all kinds together: of each the same number, of rare ones all."""
    some = sorted((kind for kind in kinds if len(kind)), key=len)
    chosen = []
    for place, kind in enumerate(some):
        picked = kind.thinned(most // (len(some) - place))
        most -= len(picked)
        chosen.append(picked)
    return chosen


def _kinds(table: Table, workers: Sequence[str]) -> Iterator[Bools]:
    """Yield, per clock, which events any of these workers' readings order wrongly and, of intervals, leave open."""
    parts = [[_worst(part, workers, source, clock) for source, clock in table.clocks] for part in table.parts()]
    for (_, clock), of_parts in zip(table.clocks, zip(*parts, strict=True), strict=True):
        wrong, ambiguous = map(np.concatenate, zip(*of_parts, strict=True))
        yield wrong
        if clock == INTERVAL:
            yield ambiguous


def _worst(table: Table, workers: Sequence[str], source: str, clock: str) -> tuple[Bools, Bools]:
    """Tell of which events some worker's readings are in the wrong order, and of which the order is left open."""
    labels = [verdicts.labels(clock, table.sends(worker, source), table.readings(worker, source)) for worker in workers]
    return tuple(
        np.any([label == wanted for label in labels], axis=0) for wanted in (verdicts.AFTER, verdicts.AMBIGUOUS)
    )
