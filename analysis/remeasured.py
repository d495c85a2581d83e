"""The uncertainties re-measured some time after each event: what sources claim then, and how wide readings become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import statistics, waits
from analysis.window_assignment import MS_NS
from node_agent import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.readings import Readings, Table


@dataclass(frozen=True)
class Width:
    """What a source claimed as its uncertainty (as claimed) over the events: at the event and at each delay.

    ``half_width_ms`` is the same times what the configuration multiplies it by, and ``claim`` says what that is.
    """

    source: str
    delay_s: float
    due: int
    available: int
    reasons: dict[str, int]
    uncertainty_ms: statistics.Spread
    half_width_ms: statistics.Spread
    claim: str
    late_ms: statistics.Spread


class Remeasured:
    """The re-measured rows of all nodes, looked up by (node, source, delay)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._groups: dict[tuple[str, str, float], pd.DataFrame] = {}
        for node_id, frame in table.run.commit_wait.items():
            rows = frame[frame["kind"] == records.REMEASURE]
            for (source, delay), group in rows.groupby(["source", "delay_s"], sort=True):
                self._groups[node_id, str(source), float(str(delay))] = group.drop_duplicates("event_id")

    def delays(self, source: str) -> list[float]:
        """Return the delays at which a source was re-measured on any worker, in s."""
        present = self._table.present
        return sorted({delay for node, name, delay in self._groups if name == source and node in present})

    def growth_ns(self, node_id: str, source: str, delay: float, factor: float) -> NDArray[np.float64] | None:
        """Return how much wider the claimed half-width is than at the event, in ns; negative where it is narrower.

        NaN where either claim is missing, None if the node never measured again. Only the change of the claim counts:
        what else widens a reading (ageing, the stamp's error) is the same before and after, so like stands with like.
        """
        group = self._groups.get((node_id, source, delay))
        run = self._table.run
        rows = run.coordinator if node_id == self._table.coordinator_id else run.workers.get(node_id)
        if group is None or rows is None:
            return None
        prefix = records.COLUMN_PREFIX.get(source, source)
        again = group.set_index("event_id")["uncertainty_ms"].reindex(self._table.event_ids)
        first = rows.drop_duplicates("event_id").set_index("event_id")[f"{prefix}_uncertainty_ms"]
        change = again.to_numpy(np.float64) - first.reindex(self._table.event_ids).to_numpy(np.float64)
        return np.asarray(np.ceil(change * factor * 1e6))

    def width(self, source: str, delay: float) -> Width:
        """Return what the workers' source claimed at one delay."""
        groups = [self._groups.get((worker, source, delay)) for worker in self._table.present]
        rows = pd.concat([group for group in groups if group is not None])
        good = rows["status"] == records.OK
        reasons = rows.loc[~good, "status"].fillna("no_status").value_counts().sort_index()
        claimed = rows.loc[good, "uncertainty_ms"].dropna().to_numpy()
        late = (rows["done_raw_ns"] - rows["due_raw_ns"]).dropna().to_numpy(dtype=np.int64)
        return Width(
            source=source,
            delay_s=delay,
            due=len(rows),
            available=int(good.sum()),
            reasons={str(reason): int(number) for reason, number in reasons.items()},
            uncertainty_ms=statistics.spread(claimed),
            half_width_ms=self._half_width(source, claimed),
            claim=waits.claim(self._table.run, source),
            late_ms=statistics.spread(late, MS_NS),
        )

    def first_width(self, source: str) -> Width:
        """Return what the workers' source claimed at the events themselves (delay 0)."""
        prefix = records.COLUMN_PREFIX.get(source, source)
        frames = [frame.drop_duplicates("event_id") for frame in self._table.run.workers.values()]
        status = pd.concat([frame[f"{prefix}_status"] for frame in frames])
        good = status == records.OK
        reasons = status[~good].fillna("no_status").value_counts().sort_index()
        claimed = (
            pd.concat([frame[f"{prefix}_uncertainty_ms"] for frame in frames])[good.to_numpy()].dropna().to_numpy()
        )
        return Width(
            source=source,
            delay_s=0.0,
            due=len(status),
            available=int(good.sum()),
            reasons={str(reason): int(number) for reason, number in reasons.items()},
            uncertainty_ms=statistics.spread(claimed),
            half_width_ms=self._half_width(source, claimed),
            claim=waits.claim(self._table.run, source),
            late_ms=statistics.spread(np.zeros(0)),
        )

    def _half_width(self, source: str, claimed: NDArray[np.float64]) -> statistics.Spread:
        """Return the claims as half-widths; of none, where nobody says how many sigmas they are."""
        factor = waits.half_width_per_uncertainty(self._table.run, source)
        return statistics.spread(claimed[:0] if factor is None else factor * claimed)


def again_as_wide(readings: Readings, growth_ns: NDArray[np.float64] | None) -> Readings:
    """Return the readings as wide as the re-measured claim makes them; unmeasured ones lose their interval."""
    if growth_ns is None:
        return readings
    measured = ~np.isnan(growth_ns)
    growth = np.where(measured, growth_ns, 0.0).astype(np.int64)
    return replace(
        readings,
        bounded=readings.bounded & measured,
        earliest=np.minimum(readings.earliest - growth, readings.est),
        latest=np.maximum(readings.latest + growth, readings.est),
    )
