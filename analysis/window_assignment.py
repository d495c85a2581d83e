"""Stream windows: whether all workers put an event into the same window, and can prove it.

A window of width W has the index floor(t / W), aligned to the epoch, in integers. A node is certain of it iff
floor(earliest / W) = floor(latest / W). Per event received by at least two workers: they agree iff all that received it
have the same point index; they provably agree iff all are certain and equal; certain but unequal is a contradiction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import cli, statistics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from analysis.readings import Table

STATISTICS_FILE = "window_stats.json"
FIGURE = "window_assignment"
WINDOW_SIZES_MS: Final = (50, 100, 500, 1000)
MS_NS: Final = 1_000_000


@dataclass(frozen=True)
class Cell:
    """One source's windows of one width. Rates count events received by at least two workers (``shared``).

    ``agree``: equal point indices, of ``evaluable`` events, where every receiving worker has a reading.
    ``provable`` and ``contradictions``: of ``bounded`` events, where every receiving worker has an interval.
    With the truth known: ``true_windows_differ`` counts evaluable events whose true windows differ (agreement would be
    wrong there), ``clock_disagreements`` those whose true windows are equal and the point indices are not,
    ``wrong_certain`` those a worker was certain about, wrongly.
    """

    source: str
    width_ms: int
    shared: int
    evaluable: int
    agree: int
    bounded: int
    provable: int
    contradictions: int
    truth_known: int | None
    true_windows_differ: int | None
    clock_disagreements: int | None
    wrong_certain: int | None


@dataclass(frozen=True)
class Windows:
    """All cells, by source and then by width."""

    workers: tuple[str, ...]
    cells: tuple[Cell, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {"50": {agreement, provable, contradictions, …}}}}``, widths in ms."""
        sources: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            sources.setdefault(cell.source, {})[str(cell.width_ms)] = {
                "agreement": statistics.rate(cell.agree, cell.evaluable).as_dict(),
                "provable_agreement": statistics.rate(cell.provable, cell.bounded).as_dict(),
                "contradictions": statistics.rate(cell.contradictions, cell.bounded).as_dict(),
                "not_evaluable_events": cell.shared - cell.evaluable,
                "truth": None
                if cell.truth_known is None
                else {
                    "events": cell.truth_known,
                    "true_windows_differ": cell.true_windows_differ,
                    "disagreements_caused_by_clocks": cell.clock_disagreements,
                    "wrong_certain": cell.wrong_certain,
                },
            }
        return {"workers": list(self.workers), "sources": sources}


def compute(table: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Windows:
    """Assign every receipt to windows of every width, by every source, and compare the workers."""
    cells = [_cell(table, source, width) for source in table.sources for width in window_sizes_ms]
    return Windows(table.present, tuple(cells))


def _cell(table: Table, source: str, width_ms: int) -> Cell:
    """Compare all workers' windows of one width; lists hold one array per worker."""
    width = width_ms * MS_NS
    blocks = [table.readings(worker, source) for worker in table.present]
    received = np.array([table.received[worker] for worker in table.present])
    known, bounded = np.array([one.known for one in blocks]), np.array([one.bounded for one in blocks])
    shared = received.sum(axis=0) >= 2
    evaluable = shared & (known | ~received).all(axis=0) & _one_reference(table, source, received & known)
    provable_here = evaluable & (bounded | ~received).all(axis=0)
    index = np.array([one.est for one in blocks]) // width
    low = np.array([one.earliest for one in blocks]) // width
    high = np.array([one.latest for one in blocks]) // width
    certain = (low == high) & bounded
    agree = evaluable & _all_equal(index, received)
    all_certain = provable_here & (certain | ~received).all(axis=0)
    true = [table.truth(worker) for worker in table.present]
    known_truth = differ = clocks = wrong_certain = None
    if all(one is not None for one in true):
        true_index = np.array([one.ns for one in true if one is not None]) // width
        true_known = (np.array([one.known for one in true if one is not None]) | ~received).all(axis=0) & evaluable
        same = _all_equal(true_index, received)
        known_truth = int(true_known.sum())
        differ = int((true_known & ~same).sum())
        clocks = int((true_known & same & ~agree).sum())
        wrong_certain = int((true_known & (certain & received & (low != true_index)).any(axis=0)).sum())
    return Cell(
        source=source,
        width_ms=width_ms,
        shared=int(shared.sum()),
        evaluable=int(evaluable.sum()),
        agree=int(agree.sum()),
        bounded=int(provable_here.sum()),
        provable=int((all_certain & _all_equal(low, received)).sum()),
        contradictions=int((provable_here & ~_all_equal(low, certain & received)).sum()),
        truth_known=known_truth,
        true_windows_differ=differ,
        clock_disagreements=clocks,
        wrong_certain=wrong_certain,
    )


def _all_equal(values: np.ndarray[Any, Any], there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell, column by column, whether all values that are there are equal (no value or one is equal to itself)."""
    limits = np.iinfo(np.int64)
    highest = np.where(there, values, limits.min).max(axis=0)
    lowest = np.where(there, values, limits.max).min(axis=0)
    equal: np.ndarray[Any, Any] = (highest == lowest) | ~there.any(axis=0)
    return equal


def _one_reference(table: Table, source: str, there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell, event by event, whether all readings that are there refer to the same reference."""
    codes: dict[str, int] = {}
    names = [table.readings(worker, source).reference for worker in table.present]
    for column in names:
        for name in dict.fromkeys(column):
            codes.setdefault(name, len(codes))
    coded = np.array([[codes[name] for name in column] for column in names])
    return _all_equal(coded, there)


def analyze(experiment_dir: str | Path, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> dict[str, Any]:
    """Return the window statistics of a run folder."""
    return compute(cli.table_of(experiment_dir), window_sizes_ms).as_statistics()


def generate_figure(
    experiment_dir: str | Path, output_dir: str | Path, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS
) -> list[Path]:
    """Draw ``window_assignment`` of a run folder as PNG and PDF; return their paths."""
    return cli.draw(FIGURE, compute(cli.table_of(experiment_dir), window_sizes_ms), output_dir)


def main(argv: list[str] | None = None) -> int:
    """Print the statistics of one experiment as JSON and draw its figure."""
    return cli.main(__doc__, analyze, generate_figure, argv, windows=True)


if __name__ == "__main__":
    raise SystemExit(main())
