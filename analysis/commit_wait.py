"""Commit-wait: how often waiting makes an ambiguous event certain.

Of the (event, worker) pairs ambiguous at first, the share certain with the uncertainty re-measured at each delay, and
how many of these proved and how many violated (certain of what cannot be, or of a wrong window): the estimates stay,
their half-widths become what the source claimed that much later (ntp: the half-width; chronotick: its sigma times the
configured multiplier), at the coordinator as well where it re-measured. Real commit-waits are counted by outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analysis import cli, statistics, verdicts, waits
from analysis.window_assignment import MS_NS, WINDOW_SIZES_MS
from node_agent import records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from analysis.readings import Readings, Table

STATISTICS_FILE = "commit_wait_stats.json"
FIGURE = "commit_wait"
CAUSALITY: Final = "causality"


@dataclass(frozen=True)
class Cell:
    """One source, question and delay: ``ambiguous`` (event, worker) pairs at first, ``remeasured`` of them later.

    ``certain`` of those are decided with the re-measured width: ``proved`` rightly, ``violated`` wrongly. Causality is
    violated whatever the truth; a window only where a truth is known (else both are None). ``contained`` of the
    ``truth_known`` re-measured receive intervals contain the true time.
    """

    source: str
    question: str
    delay_s: float
    evaluable: int
    ambiguous: int
    remeasured: int
    certain: int
    proved: int | None
    violated: int | None
    contained: int
    truth_known: int

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        proved, violated, contained = (
            None if number is None else statistics.rate(number, of).as_dict()
            for number, of in (
                (self.proved, self.remeasured),
                (self.violated, self.remeasured),
                (self.contained if self.truth_known else None, self.truth_known),
            )
        )
        return {
            "ambiguous_at_first": statistics.rate(self.ambiguous, self.evaluable).as_dict(),
            "certain_after": statistics.rate(self.certain, self.remeasured).as_dict(),
            "proved_after": proved,
            "violated_after": violated,
            "receive_interval_contains_truth": contained,
            "not_remeasured": self.ambiguous - self.remeasured,
        }


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


@dataclass(frozen=True)
class CommitWait:
    """All results; empty tuples where nothing was re-measured, or nothing waited."""

    cells: tuple[Cell, ...]
    widths: tuple[Width, ...]
    waits: tuple[waits.Waits, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {question: {delay: …}, uncertainty: {delay: …}}}, commit_waits: …}``."""
        sources: dict[str, Any] = {}
        for cell in self.cells:
            sources.setdefault(cell.source, {}).setdefault(cell.question, {})[f"{cell.delay_s:g}s"] = cell.as_dict()
        for width in self.widths:
            sources.setdefault(width.source, {}).setdefault("uncertainty", {})[f"{width.delay_s:g}s"] = {
                "available": statistics.rate(width.available, width.due).as_dict(),
                "unavailable": width.reasons,
                "uncertainty_ms": width.uncertainty_ms.as_dict(),
                "half_width_ms": width.half_width_ms.as_dict(),
                "claim": width.claim,
                "lateness_ms": width.late_ms.as_dict(),
            }
        return {"sources": sources, "commit_waits": {one.source: one.as_dict() for one in self.waits}}


def compute(table: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> CommitWait:
    """Judge causality and windows again with every re-measured uncertainty."""
    measured = _Remeasured(table)
    cells: list[Cell] = []
    widths: list[Width] = []
    for source in table.sources:
        delays = measured.delays(source)
        if not delays:
            continue
        widths += [measured.first_width(source), *(measured.width(source, delay) for delay in delays)]
        if (factor := waits.half_width_per_uncertainty(table.run, source)) is None:
            continue
        for delay in delays:
            grown = {node: measured.growth_ns(node, source, delay, factor) for node in table.nodes}
            cells.append(_causality(table, source, delay, grown))
            cells += [_window(table, source, delay, grown, width) for width in window_sizes_ms]
    return CommitWait(tuple(cells), tuple(widths), waits.judge(table.run))


class _Remeasured:
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


def _again(readings: Readings, growth_ns: NDArray[np.float64] | None) -> Readings:
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


def _causality(table: Table, source: str, delay: float, grown: dict[str, NDArray[np.float64] | None]) -> Cell:
    evaluable = ambiguous = remeasured = proved = violated = contained = truth_known = 0
    for worker in table.present:
        send, receive = table.sends(worker, source), table.readings(worker, source)
        first = verdicts.intervals(send, receive)
        unclear = first == verdicts.AMBIGUOUS
        received = _again(receive, grown[worker])
        again = verdicts.intervals(_again(send, grown[table.coordinator_id]), received)
        judged = unclear & (again != verdicts.NOT_EVALUABLE) & (grown[worker] is not None)
        evaluable += int((first != verdicts.NOT_EVALUABLE).sum())
        ambiguous += int(unclear.sum())
        remeasured += int(judged.sum())
        proved += int((judged & (again == verdicts.BEFORE)).sum())
        violated += int((judged & (again == verdicts.AFTER)).sum())
        inside, known = _contained(table, worker, received, judged)
        contained, truth_known = contained + inside, truth_known + known
    certain = proved + violated
    return Cell(
        source, CAUSALITY, delay, evaluable, ambiguous, remeasured, certain, proved, violated, contained, truth_known
    )


def _window(
    table: Table, source: str, delay: float, grown: dict[str, NDArray[np.float64] | None], width_ms: int
) -> Cell:
    """Ambiguous at first means here: the worker was not certain of the receipt's window."""
    evaluable = ambiguous = remeasured = certain = contained = truth_known = 0
    proved = violated = 0
    told = True  # the true window of all that is certain
    width = width_ms * MS_NS
    for worker in table.present:
        first = table.readings(worker, source)
        unclear = first.bounded & (first.earliest // width != first.latest // width)
        again = _again(first, grown[worker])
        judged = unclear & again.bounded & (grown[worker] is not None)
        decided = judged & (again.earliest // width == again.latest // width)
        evaluable += int(first.bounded.sum())
        ambiguous += int(unclear.sum())
        remeasured += int(judged.sum())
        certain += int(decided.sum())
        inside, known = _contained(table, worker, again, judged)
        contained, truth_known = contained + inside, truth_known + known
        true = table.truth(worker)
        if true is None or not true.known[decided].all():
            told = False
            continue
        right = decided & (true.ns // width == again.earliest // width)
        proved += int(right.sum())
        violated += int((decided & ~right).sum())
    return Cell(
        source,
        f"window_{width_ms}ms",
        delay,
        evaluable,
        ambiguous,
        remeasured,
        certain,
        proved if told else None,
        violated if told else None,
        contained,
        truth_known,
    )


def _contained(table: Table, worker: str, readings: Readings, judged: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many of a worker's intervals contain the true time, and of how many the true time is known."""
    true = table.truth(worker)
    if true is None:
        return 0, 0
    known = judged & true.known & readings.bounded
    inside = known & (readings.earliest <= true.ns) & (true.ns <= readings.latest)
    return int(inside.sum()), int(known.sum())


def analyze(experiment_dir: str | Path) -> dict[str, Any]:
    """Return the commit-wait statistics of a run folder."""
    return compute(cli.table_of(experiment_dir)).as_statistics()


def generate_figure(experiment_dir: str | Path, output_dir: str | Path) -> list[Path]:
    """Draw ``commit_wait`` of a run folder as PNG and PDF; return their paths."""
    return cli.draw(FIGURE, compute(cli.table_of(experiment_dir)), output_dir)


def main(argv: list[str] | None = None) -> int:
    """Print the statistics of one experiment as JSON and draw its figure."""
    return cli.main(__doc__, analyze, generate_figure, argv)


if __name__ == "__main__":
    raise SystemExit(main())
