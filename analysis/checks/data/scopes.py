"""Which answers are about the server's own clock and not the node's: what that means for every number made from them.

A warning and no error: to ask a plain server is allowed, and where it runs on the node itself the two clocks are one,
which no run folder can tell (``scopes``). The numbers that would accuse the clock are not made, so none misleads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks.finding import Finding
from analysis.run import load, scopes
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from analysis.run.load import Run

CODE: Final = "server-scope"


def find(run: Run) -> Iterator[Finding]:
    """Yield one finding per node and source that has answers about the server's clock."""
    rows = run.rows_by_node()
    for node, samples in run.samples.items():
        for source, (about, good) in scopes.counts(samples).items():
            served, of = _readings(rows.get(node), samples, source)
            text = (
                f"{about:,} of {good:,} answers of {source} do not echo the node that asked (scope server): they "
                f"predict the server's clock, not this node's. {served:,} of {of:,} readings rest on them: their clock "
                "quality and releases too early are not evaluable, and orders and windows are what this node would "
                "decide by a clock that is not its own"
            )
            numbers = {"answers": about, "of": good, "readings": served, "of_readings": of}
            yield Finding(CODE, "warning", node, source, text, numbers)


def _readings(frame: pd.DataFrame | None, samples: pd.DataFrame, source: str) -> tuple[int, int]:
    """Return how many of a node's readings of a source rest on answers about the server's clock, and of how many."""
    prefix = records.COLUMN_PREFIX.get(source, source)
    if frame is None or prefix not in load.prefixes([frame]) or f"{prefix}_sample_id" not in frame:
        return 0, 0
    ids = load.plain(frame[[f"{prefix}_status", f"{prefix}_sample_id"]])
    there = (ids[f"{prefix}_status"] == records.OK).fillna(value=False).to_numpy(dtype=bool)
    return int(scopes.of_samples(samples, source, ids[f"{prefix}_sample_id"])[there].sum()), int(there.sum())
