"""What is wrong with how samples served a run's events: too many on one, rows from before the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from analysis.checks.finding import Finding
from analysis.run import load
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.checks.finding import Severity
    from analysis.run.load import Run

SHARED_ROWS: Final = 20
SHARE_NOTED: Final = 0.2  # of a node's rows on one sample
SHARE_WARNED: Final = 0.5
WARM_STATUSES: Final = (records.NEVER_SAMPLED, records.NOT_YET_VALID)


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about which samples served which rows, detector by detector."""
    yield from _overused(run)
    yield from _warm_up(run)


def _overused(run: Run) -> Iterator[Finding]:
    for node, frame in run.rows_by_node().items():
        for prefix in load.prefixes([frame]):
            codes, names = pd.factorize(frame[f"{prefix}_sample_id"])
            served = codes[codes >= 0]
            if not len(served):
                continue
            counts = np.bincount(served)
            most = int(counts.argmax())
            rows, share = int(counts[most]), float(counts[most] / len(served))
            if rows < SHARED_ROWS or share <= SHARE_NOTED:
                continue
            stamps = frame[run.stamp_column(node)].to_numpy(dtype=np.int64, na_value=0)[codes == most]
            text = (
                f"one sample ({names[most]}) served {rows:,} of {len(served):,} rows, over "
                f"{float(np.ptp(stamps)) / 1e9:.1f} s, and all rows rest on {len(counts):,} samples: "
                f"they stand or fall together, and count as that few trials"
            )
            numbers = {"sample_id": str(names[most]), "rows": rows, "of": len(served), "samples": len(counts)}
            severity: Severity = "warning" if share > SHARE_WARNED else "note"
            yield Finding("overused-sample", severity, node, load.source_name(prefix), text, numbers)


def _warm_up(run: Run) -> Iterator[Finding]:
    """Find the rows before a source had its first answer: events that were sent before the node was ready for them."""
    for node, frame in run.rows_by_node().items():
        for prefix in load.prefixes([frame]):
            status = frame[f"{prefix}_status"]
            ready = (status == records.OK).fillna(value=False).to_numpy(dtype=np.bool_)
            if not ready.any() or ready[0]:
                continue
            warming = int(status.iloc[: int(ready.argmax())].isin(WARM_STATUSES).sum())
            if warming:
                text = (
                    f"the first {warming:,} of {len(frame):,} rows are from before {load.source_name(prefix)} had an "
                    f"answer: events were sent before this node was ready"
                )
                numbers = {"rows": warming, "of": len(frame)}
                yield Finding("warm-up-rows", "warning", node, load.source_name(prefix), text, numbers)
