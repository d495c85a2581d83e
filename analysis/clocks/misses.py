"""How often a source's intervals miss the truth for sure, how far, and whether it claims too little width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.clocks import coverage
from analysis.clocks.calibration import TOO_NARROW
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.clocks.calibration import Kappa
    from analysis.clocks.standards import Errors
    from analysis.run.table import Readings

US = 1_000.0


@dataclass(frozen=True)
class Misses:
    """One source on one node: ``missed`` of ``of`` intervals miss the truth wherever the standard lets it be.

    ``worst_us``: by how much at least the worst of them does. ``guaranteed``: none may. ``accused``: they are more than
    the source claims; without a kind of claim nobody is.
    """

    node_id: str
    source: str
    standard: str
    relative: bool
    level: float | None
    missed: int
    of: int
    worst_us: float
    guaranteed: bool
    accused: bool


def misses(readings: Readings, errors: Errors, kappa: Callable[[], Kappa | None]) -> Misses:
    """Return how often intervals miss; ``kappa``, which takes long, is asked of probabilistic ones that do."""
    outside = coverage.misses(errors)
    missed, guaranteed = int(outside.sum()), readings.kind == records.GUARANTEED
    accused = missed > 0 and guaranteed
    if missed and readings.kind == records.PROBABILISTIC:
        inflation = kappa()
        accused = inflation is not None and inflation.claims == TOO_NARROW
    beyond_ns = np.maximum(-errors.above - errors.high, errors.low - errors.below)[outside]
    return Misses(
        node_id=readings.node_id,
        source=readings.source,
        standard=errors.standard.name,
        relative=errors.relative,
        level=errors.level,
        missed=missed,
        of=int(errors.bounded.sum()),
        worst_us=float(beyond_ns.max(initial=0)) / US,
        guaranteed=guaranteed,
        accused=accused,
    )
