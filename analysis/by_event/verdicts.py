"""One relation for every source: A before B is proved iff A.latest < B.earliest.

Two readings are compared only if they come from the same source and refer to the same reference; everything else is
not evaluable, with its reason. Labels are small integers in numpy arrays, so that millions cost little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pandas as pd

from analysis.by_event.table import POINT
from analysis.errors import AnalysisError
from analysis.stats.dependence import Latent
from node_agent.contract import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.arrays import Bools, Ints, Labels
    from analysis.by_event.table import Readings

NOT_EVALUABLE: Final = 0
BEFORE: Final = 1  # proved
AFTER: Final = 2  # the opposite is proved: violated, where before was the truth
AMBIGUOUS: Final = 3

OTHER_REFERENCE: Final = "other_reference"
NO_BOUND: Final = "no_bound"


@dataclass(frozen=True)
class Lag:
    """How much later one instant was than another, event by event, in ns; 0 where not ``known``."""

    low: Ints
    high: Ints
    known: Bools

    @property
    def order(self) -> Labels:
        """Return whether the first instant was before the second, after it, or the lag may have either sign."""
        return order(self.low, self.high, self.known)


def intervals(first: Readings, second: Readings) -> Labels:
    """Label, event by event, whether the first reading is provably before or after the second."""
    comparable = _comparable(first, second) & first.bounded & second.bounded
    return labelled(comparable, first.latest < second.earliest, second.latest < first.earliest)


def points(first: Readings, second: Readings) -> Labels:
    """Label, event by event, the order of the two best estimates; equal ones are ambiguous."""
    comparable = _comparable(first, second) & first.known & second.known
    return labelled(comparable, first.est < second.est, second.est < first.est)


def labels(clock: str, first: Readings, second: Readings) -> Labels:
    """Label the order by this clock: ``POINT`` or ``INTERVAL``."""
    return points(first, second) if clock == POINT else intervals(first, second)


def latents(clock: str, first: Readings, second: Readings) -> tuple[Latent, ...]:
    """Return what is behind these labels, in ns: by how much the second is later; of intervals at least and at most."""
    if clock == POINT:
        return (Latent(second.est - first.est, _comparable(first, second) & first.known & second.known),)
    known = _comparable(first, second) & first.bounded & second.bounded
    return Latent(second.earliest - first.latest, known), Latent(second.latest - first.earliest, known)


def reasons(first: Readings, second: Readings, labels: Labels) -> dict[str, int]:
    """Count why pairs of readings are not evaluable; the second reading's reason is named first, as ``second:``.

    ``lost`` stands alone: a packet that never came has no reading to miss.
    """
    missing = labels == NOT_EVALUABLE
    columns = {"its": second.status, "others": first.status, "to": second.reference, "and_to": first.reference}
    rows = pd.DataFrame({name: column[missing] for name, column in columns.items()})
    counts: dict[str, int] = {}
    for combination, number in rows.groupby(list(columns), observed=True).size().items():
        here, there, its, others = cast("tuple[str, str, str, str]", combination)
        if here == "lost":
            reason = "lost"
        elif here != records.OK:
            reason = f"{second.node_id}: {here}"
        elif there != records.OK:
            reason = f"{first.node_id}: {there}"
        else:
            reason = NO_BOUND if its == others else OTHER_REFERENCE
        counts[reason] = counts.get(reason, 0) + int(number)
    return dict(sorted(counts.items()))


def order(low: Ints, high: Ints, known: Bools) -> Labels:
    """Label the order of two instants by how much later the second is: a lag certain to lie in [low, high]."""
    return labelled(known, low > 0, high < 0)


def decided(labels: NDArray[np.integer[Any]]) -> Bools:
    """Tell which labels say before or after."""
    clear: Bools = (labels == BEFORE) | (labels == AFTER)
    return clear


def wrong(labels: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> Bools:
    """Tell which decided labels contradict the true order; where the truth is unknown or a tie, none does."""
    contradicts: Bools = decided(labels) & decided(truth) & (labels != truth)
    return contradicts


def _comparable(first: Readings, second: Readings) -> Bools:
    if first.source != second.source:
        raise AnalysisError(
            f"{first.node_id} and {second.node_id}: expected readings of one source, got {first.source!r} and "
            f"{second.source!r}; corrected and uncorrected clocks have no common order"
        )
    same: Bools = first.reference == second.reference
    return same


def labelled(known: Bools, before: Bools, after: Bools) -> Labels:
    """Label what is before, what is after, and what else is known as ambiguous."""
    return among(known, np.where(before, BEFORE, np.where(after, AFTER, AMBIGUOUS)))


def among(known: Bools, labels: NDArray[Any]) -> Labels:
    """Return the labels of what is known; the rest is not evaluable."""
    return np.where(known, labels, NOT_EVALUABLE).astype(np.int8)
