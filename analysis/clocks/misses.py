"""How often a source's intervals miss the truth for sure, or the order of sending, and whether that is too often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.by_event import scopes, verdicts
from analysis.by_event.table import INTERVAL
from analysis.clocks import coverage
from analysis.clocks.calibration import TOO_NARROW
from analysis.clocks.clock import rate_of
from analysis.stats.segments import Numbering, SegmentSums, longest_tau
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.by_event.table import Table
    from analysis.clocks.calibration import Kappa
    from analysis.clocks.judging import Judged
    from analysis.stats import rates

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


def misses(judged: Judged, kappa: Callable[[], Kappa | None]) -> Misses:
    """Return how often intervals miss; ``kappa``, which takes long, is asked of probabilistic ones that do."""
    clock, missed, worst_ns = judged.clock, 0, 0
    for piece in clock.pieces:
        errors, outside = piece.errors, coverage.misses(piece.errors)
        beyond_ns = np.maximum(-errors.above - errors.high, errors.low - errors.below)[outside]
        missed, worst_ns = missed + len(beyond_ns), max(worst_ns, int(beyond_ns.max(initial=0)))
    guaranteed = judged.kind == records.GUARANTEED
    accused = missed > 0 and guaranteed
    if missed and judged.kind == records.PROBABILISTIC:
        inflation = kappa()
        accused = inflation is not None and inflation.claims == TOO_NARROW
    return Misses(
        node_id=judged.node_id,
        source=judged.source,
        standard=judged.standard,
        relative=clock.relative,
        level=clock.level,
        missed=missed,
        of=clock.bounded,
        worst_us=float(worst_ns) / US,
        guaranteed=guaranteed,
        accused=accused,
    )


class ProvableMisses:
    """How often receipts are read as over before their sending began, of those of which that can be told."""

    def __init__(self, node_id: str, source: str) -> None:
        self._node_id, self._source = node_id, source
        self._numbering = Numbering()
        self._after = SegmentSums()
        self._latents: list[SegmentSums] = []

    def add(self, table: Table) -> None:
        """Add the next part of a run."""
        send, receive = table.sends(self._node_id, self._source), table.readings(self._node_id, self._source)
        labels = verdicts.intervals(send, receive)
        nodes = (self._node_id, table.coordinator_id)
        about_server = (scopes.about_the_server(table, node, self._source) for node in nodes)
        evaluable = (labels != verdicts.NOT_EVALUABLE) & ~np.logical_or(*about_server)
        segments = self._numbering.of(send.sample, receive.sample)
        self._after.add(segments, (labels == verdicts.AFTER) & evaluable, evaluable)
        latents = verdicts.latents(INTERVAL, send, receive)
        self._latents = self._latents or [SegmentSums() for _ in latents]
        for sums, latent in zip(self._latents, latents, strict=True):
            sums.add(segments, latent.values, latent.known)

    @property
    def rate(self) -> rates.Rate:
        """Return the rate of all parts so far."""
        return rate_of(self._after, longest_tau(self._latents))
