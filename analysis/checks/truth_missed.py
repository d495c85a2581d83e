"""Sources whose intervals miss the truth: a guaranteed one may not at all, a probabilistic one as its level allows of.

The truth is the injected one, or what the reference leaves possible of it: an interval misses only if it does wherever
in that the truth is. Where the reference judges, it is the difference of a node's reading and the coordinator's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.checks.finding import ERROR, WARNING, Finding
from analysis.clocks import calibration, coverage, quality
from analysis.questions import judges
from analysis.run import readings
from analysis.stats.dependence import dependence
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.clocks.standards import Errors
    from analysis.reference import Reference
    from analysis.run.load import Run
    from analysis.run.table import Table

GUARANTEED_CODE: Final = "guarantee-missed"
LEVEL_CODE: Final = "level-missed"


def find(run: Run, reference: Reference | None = None, table: Table | None = None) -> Iterator[Finding]:
    """Yield a finding per node and source whose intervals provably miss more than they claim to.

    ``table``: the run's readings, where they were made already.
    """
    table = readings.table(run) if table is None else table
    probed = None if reference is None or not reference.evaluable else judges.of(table, reference)[0]
    flights_of = None if probed is None else (lambda part: probed.of_part(part).flights)
    for node_id in table.nodes:
        for judged, errors, segments in quality.errors_of(table, node_id, flights_of):
            source = judged.source
            outside = coverage.misses(errors)
            missed, of = int(outside.sum()), int(errors.bounded.sum())
            if not missed or judged.kind not in {records.GUARANTEED, records.PROBABILISTIC}:
                continue
            guaranteed = judged.kind == records.GUARANTEED
            if not guaranteed:
                kappa = calibration.kappa(errors, dependence(segments, errors.latent))
                if kappa is None or kappa.claims != calibration.TOO_NARROW:
                    continue
            worst_us = float(_beyond_ns(errors)[outside].max()) / 1e3
            allowed = 0.0 if errors.level is None else 1.0 - errors.level
            what = "differences to the coordinator's readings" if errors.relative else "readings"
            claim = (
                "guaranteed, so that none may" if guaranteed else f"claimed is that at most {100 * allowed:.3g} % do"
            )
            blame = ", one of the two nodes being to blame" if errors.relative else ""
            text = (
                f"{source}'s intervals miss the truth in {missed:,} of {of:,} {what} ({100 * missed / of:.1f} %), by "
                f"up to {worst_us:,.1f} µs, by the {errors.standard.name}{blame}: {claim}"
            )
            numbers = {"missed": missed, "of": of, "share": missed / of, "allowed_share": allowed, "worst_us": worst_us,
                       "by": errors.standard.name}  # fmt: skip
            if guaranteed:
                yield Finding(GUARANTEED_CODE, ERROR, node_id, source, text, numbers)
            else:
                yield Finding(LEVEL_CODE, WARNING, node_id, source, text, numbers)


def _beyond_ns(errors: Errors) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return by how much at least each interval misses the truth; below 0 where it may hold it."""
    beyond: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = np.maximum(
        -errors.above - errors.high, errors.low - errors.below
    )
    return beyond
