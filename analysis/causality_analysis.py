"""Causality: an event is received after it was sent; which clocks see it, cannot tell, or see the opposite.

Per (event, worker, source), S the send reading and R the receive reading: proved iff S.latest < R.earliest; violated
iff R.latest < S.earliest; else ambiguous; not evaluable if either is missing. As a point: violated iff R.est < S.est.
A violation is a wrong decision whatever the truth, since no packet arrives before it left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import cli, statistics, verdicts

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.readings import Table

STATISTICS_FILE = "causality_stats.json"
FIGURE = "causality_violations"
US = 1_000.0


@dataclass(frozen=True)
class Cell:
    """The verdicts of one source on one worker's receipts. ``advance_us``: R.est - S.est, in us."""

    source: str
    worker: str
    kind: str
    level: float | None
    events: int
    interval_evaluable: int
    proved: int
    ambiguous: int
    violated: int
    interval_reasons: dict[str, int]
    point_evaluable: int
    point_violated: int
    point_reasons: dict[str, int]
    advance_us: statistics.Spread


@dataclass(frozen=True)
class Causality:
    """All cells, by source and then by worker."""

    cells: tuple[Cell, ...]

    @property
    def sources(self) -> list[str]:
        """Return the sources in order."""
        return list(dict.fromkeys(cell.source for cell in self.cells))

    def of(self, source: str) -> list[Cell]:
        """Return one source's cells."""
        return [cell for cell in self.cells if cell.source == source]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {all: …, workers: {worker: …}}}}``; every rate with its denominator."""
        result: dict[str, Any] = {}
        for source in self.sources:
            cells = self.of(source)
            result[source] = {"all": rates(cells), "workers": {cell.worker: rates([cell]) for cell in cells}}
        return {"sources": result}


def rates(cells: list[Cell]) -> dict[str, Any]:
    """Return the rates of some cells taken together."""
    evaluable = sum(cell.interval_evaluable for cell in cells)
    points = sum(cell.point_evaluable for cell in cells)
    merged: dict[str, Any] = {
        "kind": cells[0].kind if len({cell.kind for cell in cells}) == 1 else "mixed",
        "level": cells[0].level,
        "events": sum(cell.events for cell in cells),
        "intervals": {
            name: statistics.rate(sum(getattr(cell, name) for cell in cells), evaluable).as_dict()
            for name in ("proved", "ambiguous", "violated")
        },
        "points": {"violated": statistics.rate(sum(cell.point_violated for cell in cells), points).as_dict()},
    }
    decided = sum(cell.proved + cell.violated for cell in cells)
    merged["intervals"]["decided"] = statistics.rate(decided, evaluable).as_dict()
    merged["intervals"]["not_evaluable"] = _sum_reasons([cell.interval_reasons for cell in cells])
    merged["points"]["not_evaluable"] = _sum_reasons([cell.point_reasons for cell in cells])
    if len(cells) == 1:
        merged["points"]["receive_minus_send_us"] = cells[0].advance_us.as_dict()
    return merged


def compute(table: Table) -> Causality:
    """Judge every (event, worker, source) of a run."""
    return Causality(tuple(_cell(table, source, worker) for source in table.sources for worker in table.workers))


def _cell(table: Table, source: str, worker: str) -> Cell:
    send, receive = table.sends(worker, source), table.readings(worker, source)
    labels, points = verdicts.intervals(send, receive), verdicts.points(send, receive)
    judged = points != verdicts.NOT_EVALUABLE
    point_clock = source == "system"
    return Cell(
        source=source,
        worker=worker,
        kind=receive.kind,
        level=receive.level,
        events=len(labels),
        interval_evaluable=int((labels != verdicts.NOT_EVALUABLE).sum()),
        proved=verdicts.count(labels, verdicts.BEFORE),
        ambiguous=verdicts.count(labels, verdicts.AMBIGUOUS),
        violated=verdicts.count(labels, verdicts.AFTER),
        interval_reasons={} if point_clock else verdicts.reasons(send, receive, labels),
        point_evaluable=int(judged.sum()),
        point_violated=verdicts.count(points, verdicts.AFTER),
        point_reasons=verdicts.reasons(send, receive, points),
        advance_us=statistics.spread((receive.est - send.est)[judged], US),
    )


def _sum_reasons(counts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for reason, number in one.items():
            total[reason] = total.get(reason, 0) + number
    return dict(sorted(total.items()))


def analyze(experiment_dir: str | Path) -> dict[str, Any]:
    """Return the causality statistics of a run folder."""
    return compute(cli.table_of(experiment_dir)).as_statistics()


def generate_figure(experiment_dir: str | Path, output_dir: str | Path) -> list[Path]:
    """Draw ``causality_violations`` of a run folder as PNG and PDF; return their paths."""
    return cli.draw(FIGURE, compute(cli.table_of(experiment_dir)), output_dir)


def main(argv: list[str] | None = None) -> int:
    """Print the statistics of one experiment as JSON and draw its figure."""
    return cli.main(__doc__, analyze, generate_figure, argv)


if __name__ == "__main__":
    raise SystemExit(main())
