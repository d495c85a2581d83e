"""How often a source's intervals miss the truth for sure, or the order of sending, and whether that is too often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.clocks import coverage
from analysis.clocks.calibration import TOO_NARROW
from analysis.run import scopes, verdicts
from analysis.run.joining import joined
from analysis.run.table import INTERVAL
from analysis.stats import rates
from analysis.stats.dependence import dependence, segments_of
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.arrays import Bools, Ints
    from analysis.clocks.calibration import Kappa
    from analysis.clocks.standards import Errors
    from analysis.run.table import Readings, Table
    from analysis.stats.dependence import Latent

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


class _Contradictions(NamedTuple):
    """Which receipts are read as over before their sending began, of which that can be told, and what they share."""

    after: Bools
    evaluable: Bools
    latents: tuple[Latent, ...]
    served: tuple[Ints, ...]


def provable_misses(table: Table, node_id: str, source: str) -> rates.Rate | None:
    """Return how often a receipt's reading ends before its sending's begins; None at the coordinator, and of points."""
    if node_id == table.coordinator_id or source == records.SYSTEM:
        return None
    parts = [_contradictions(part, node_id, source) for part in table.parts()]
    after, evaluable, latents, served = joined(parts)
    return rates.rate_of(after, evaluable, dependence(segments_of(*served), *latents))


def _contradictions(table: Table, node_id: str, source: str) -> _Contradictions:
    send, receive = table.sends(node_id, source), table.readings(node_id, source)
    labels = verdicts.intervals(send, receive)
    about_server = (scopes.about_the_server(table, node, source) for node in (node_id, table.coordinator_id))
    evaluable = (labels != verdicts.NOT_EVALUABLE) & ~np.logical_or(*about_server)
    latents = verdicts.latents(INTERVAL, send, receive)
    return _Contradictions(labels == verdicts.AFTER, evaluable, latents, (send.sample, receive.sample))
