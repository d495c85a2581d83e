"""Stream windows: whether all workers put an event into the same window, and can prove it.

A window of width W has the index floor(t / W), aligned to the epoch, in integers. A node is certain of it iff
floor(earliest / W) = floor(latest / W). Per event received by at least two workers: they agree iff all that received it
have the same point index; they provably agree iff all are certain and equal; certain but unequal is a contradiction.
Where indices differ, a judge says whether the windows had differed with one clock for all, or the clocks caused it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.questions import judges, rounds, true_windows, verdicts
from analysis.questions.true_windows import DIFFER, SAME, UNKNOWN
from analysis.run import utc
from analysis.stats import rates
from analysis.stats.dependence import Latent, dependence, segments_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.questions.judges import Judge, Judgement
    from analysis.questions.rounds import Rounds
    from analysis.run.readings import Readings, Table
    from analysis.stats.dependence import Dependence

STATISTICS_FILE = "window_stats.json"
FIGURE = "window_assignment"
WINDOW_SIZES_MS: Final = (50, 100, 500, 1000)
MS_NS: Final = 1_000_000


@dataclass(frozen=True)
class Split:
    """Why point indices differ, by one judge: of ``disagreements``, the windows really do, or the clocks caused it.

    The rest is unknown. None of it where the judge has a ``reason``.
    """

    judge: str
    reason: str
    disagreements: int
    truly_differ: int
    by_clocks: int

    def as_dict(self) -> dict[str, Any]:
        """Return the split as JSON-serialisable data."""
        if self.reason:
            return {"status": "not_evaluable", "reason": self.reason}
        return {
            "status": "evaluated",
            "disagreements": self.disagreements,
            "true_windows_differ": self.truly_differ,
            "caused_by_clocks": self.by_clocks,
            "unknown": self.disagreements - self.truly_differ - self.by_clocks,
        }


@dataclass(frozen=True)
class Cell:
    """One source's windows of one width. Rates count events received by at least two workers (``shared``).

    ``agreement``: equal point indices, of events where every receiving worker has a reading.
    ``provable`` and ``contradictions``: of events where every receiving worker has an interval.
    ``point_against``, ``interval_against`` and ``splits``: by each judge, with one clock for all (see ``windows_of``).
    With the absolute truth known: ``true_windows_differ`` counts evaluable events whose true windows differ (agreement
    would be wrong there), ``clock_disagreements`` those whose true windows are equal and the point indices are not,
    ``wrong_certain`` those a worker was certain about, wrongly even with its server's root distance (see ``utc``; None
    where that is not known), ``certain_open`` those about which that leaves open whether a certain worker is right, and
    ``wrong_points`` those a worker's point index is wrong for. ``point_rounds`` and ``interval_rounds``: of the shared
    events those not (provably) agreed on, or agreed on wrongly, by the absolute truth or else by the first judge that
    can judge; each asks every other receiving worker.
    """

    source: str
    width_ms: int
    shared: int
    agreement: rates.Rate
    provable_agreement: rates.Rate
    contradiction: rates.Rate
    point_against: tuple[Judgement, ...]
    interval_against: tuple[Judgement, ...]
    splits: tuple[Split, ...]
    truth_known: int | None
    true_windows_differ: int | None
    clock_disagreements: int | None
    wrong_certain: int | None
    certain_open: int | None
    wrong_points: int | None
    point_rounds: Rounds
    interval_rounds: Rounds

    @property
    def evaluable(self) -> int:
        """Return how many shared events every receiving worker has a reading of."""
        return self.agreement.denominator

    @property
    def bounded(self) -> int:
        """Return how many shared events every receiving worker has an interval of."""
        return self.provable_agreement.denominator

    @property
    def agree(self) -> int:
        """Return how many events have equal point indices."""
        return self.agreement.numerator

    @property
    def provable(self) -> int:
        """Return how many events all receiving workers provably put into the same window."""
        return self.provable_agreement.numerator

    @property
    def contradictions(self) -> int:
        """Return about how many events two workers are certain of different windows."""
        return self.contradiction.numerator

    def as_dict(self) -> dict[str, Any]:
        """Return the cell as JSON-serialisable data."""
        truth: dict[str, Any] | None = None
        if self.truth_known is not None:
            truth = {
                "events": self.truth_known,
                "true_windows_differ": self.true_windows_differ,
                "disagreements_caused_by_clocks": self.clock_disagreements,
                "wrong_certain": self.wrong_certain,
            }
            if self.wrong_certain is None:
                truth["wrong_certain_reason"] = utc.NO_ROOT_DISTANCE
            if self.certain_open:
                truth["certain_left_open_by_root_distance"] = self.certain_open
        return {
            "agreement": self.agreement.as_dict(),
            "provable_agreement": self.provable_agreement.as_dict(),
            "contradictions": self.contradiction.as_dict(),
            "not_evaluable_events": self.shared - self.evaluable,
            "disagreements": {split.judge: split.as_dict() for split in self.splits},
            "points_against": judges.as_dict(self.point_against),
            "intervals_against": judges.as_dict(self.interval_against),
            "truth": truth,
        }


@dataclass(frozen=True)
class Windows:
    """All cells, by source and then by width; the ``silent_workers`` left no row and have no part in any number."""

    workers: tuple[str, ...]
    silent_workers: tuple[str, ...]
    cells: tuple[Cell, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {"50": {agreement, provable, contradictions, …}}}}``, widths in ms."""
        sources: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            sources.setdefault(cell.source, {})[str(cell.width_ms)] = cell.as_dict()
        return {"workers": list(self.workers), "silent_workers": list(self.silent_workers), "sources": sources}


def compute(
    table: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS, known: Sequence[Judge] | None = None
) -> Windows:
    """Assign every receipt to windows of every width, by every source, and compare the workers and the judges."""
    if not table.heard:
        return Windows((), table.silent, ())
    found = judges.of(table) if known is None else known
    told = {one.name: windows_of(table, one, window_sizes_ms) for one in found if not one.reason}
    cells = []
    for source in table.sources:
        roots = [utc.of(table, worker, source) for worker in table.heard]
        cells += [_cell(table, source, width, found, told, roots) for width in window_sizes_ms]
    return Windows(table.heard, table.silent, tuple(cells))


def windows_of(table: Table, judge: Judge, window_sizes_ms: Sequence[int]) -> dict[tuple[str, int], NDArray[np.int8]]:
    """Say, per (source, width) and event, whether the windows had been the same with one clock for all: SAME, DIFFER.

    A judge knows how much later one worker received than another, not what time it was. So every worker that received
    is asked in turn: had all read this worker's clock, its reading plus the lag, had they got the same window? SAME if
    the answer is yes for every worker's clock, DIFFER if it is no for every one, else UNKNOWN: it depends on the clock,
    or the lag is not known well enough. Both answers hold for every lag in the judge's interval. Where the judge knows
    no lag at all it says nothing.
    """
    received = np.array([table.received[worker] for worker in table.heard])
    keys = [(source, width) for source in table.sources for width in window_sizes_ms]
    same = {key: np.ones(len(table.event_ids), dtype=np.bool_) for key in keys}
    differ = {key: np.ones(len(table.event_ids), dtype=np.bool_) for key in keys}
    known = np.zeros(len(table.event_ids), dtype=np.bool_)
    for anchor, worker in enumerate(table.heard):
        all_same = {key: np.ones(len(table.event_ids), dtype=np.bool_) for key in keys}
        any_differ = {key: np.zeros(len(table.event_ids), dtype=np.bool_) for key in keys}
        for place, other in enumerate(table.heard):
            if place == anchor:
                continue
            lag, there = judge.receipts(worker, other), received[place]
            known |= received[anchor] & there & lag.known
            for source, width_ms in keys:
                width, est = width_ms * MS_NS, table.readings(worker, source).est
                index, low, high = est // width, (est + lag.low) // width, (est + lag.high) // width
                all_same[source, width_ms] &= ~there | (lag.known & (low == index) & (high == index))
                any_differ[source, width_ms] |= there & lag.known & ((low > index) | (high < index))
        for key in keys:
            same[key] &= ~received[anchor] | all_same[key]
            differ[key] &= ~received[anchor] | any_differ[key]
    shared = received.sum(axis=0) >= 2
    return {key: _labels(shared & known, shared, same[key], differ[key]) for key in keys}


def _labels(
    judged: NDArray[np.bool_], decided: NDArray[np.bool_], same: NDArray[np.bool_], differ: NDArray[np.bool_]
) -> NDArray[np.int8]:
    told = np.where(decided & same, SAME, np.where(decided & differ, DIFFER, UNKNOWN))
    return np.where(judged, told, verdicts.NOT_EVALUABLE).astype(np.int8)


def _cell(
    table: Table,
    source: str,
    width_ms: int,
    known: Sequence[Judge],
    told: Mapping[str, Mapping[tuple[str, int], NDArray[np.int8]]],
    roots: Sequence[utc.RootDistance],
) -> Cell:
    """Compare all workers' windows of one width; lists hold one array per worker."""
    width = width_ms * MS_NS
    blocks = [table.readings(worker, source) for worker in table.heard]
    received = np.array([table.received[worker] for worker in table.heard])
    known_here, bounded = np.array([one.known for one in blocks]), np.array([one.bounded for one in blocks])
    shared = received.sum(axis=0) >= 2
    evaluable = shared & (known_here | ~received).all(axis=0) & _one_reference(table, source, received & known_here)
    provable_here = evaluable & (bounded | ~received).all(axis=0)
    index = np.array([block.est for block in blocks]) // width
    low = np.array([one.earliest for one in blocks]) // width
    high = np.array([one.latest for one in blocks]) // width
    certain = (low == high) & bounded
    agree = evaluable & true_windows.all_equal(index, received)
    all_certain = provable_here & (certain | ~received).all(axis=0)
    provable = all_certain & true_windows.all_equal(low, received)
    contradiction = provable_here & ~true_windows.all_equal(low, certain & received)
    points = _labels(evaluable, evaluable, agree, ~agree)
    intervals = _labels(provable_here, provable | contradiction, provable, contradiction)
    of_points, of_intervals = _dependence(blocks, received, evaluable, provable_here)
    messages = rounds.MESSAGES_PER_ROUND * (received.sum(axis=0, dtype=np.int64) - 1)
    by_judge = {name: labels[source, width_ms] for name, labels in told.items()}
    true = true_windows.of(table, blocks, roots, width, received)

    def needed(alike: NDArray[np.bool_], told_by_truth: NDArray[np.int8] | None, shared_by: Dependence) -> Rounds:
        judge, right = judges.TRUTH, told_by_truth
        if right is None:  # nobody knows the windows of true time: had they been alike with one clock for all?
            judge, right = next(iter(by_judge.items()), ("", np.full(len(shared), UNKNOWN, dtype=np.int8)))
        return rounds.count(judge, shared, ~alike | (right == DIFFER), ~verdicts.decided(right), shared_by, messages)

    return Cell(
        source=source,
        width_ms=width_ms,
        shared=int(shared.sum()),
        agreement=rates.rate_of(agree, evaluable, of_points),
        provable_agreement=rates.rate_of(provable, provable_here, of_intervals),
        contradiction=rates.rate_of(contradiction, provable_here, of_intervals),
        point_against=tuple(judges.judge(one, points, by_judge.get(one.name), of_points) for one in known),
        interval_against=tuple(judges.judge(one, intervals, by_judge.get(one.name), of_intervals) for one in known),
        splits=tuple(_split(one, points, by_judge.get(one.name)) for one in known),
        point_rounds=needed(agree, true_windows.right_points(true, received, index), of_points),
        interval_rounds=needed(provable, true_windows.right_intervals(true, received, certain), of_intervals),
        **true_windows.counts(true, received, evaluable, agree, certain, index),
    )


def _dependence(
    blocks: Sequence[Readings],
    received: NDArray[np.bool_],
    evaluable: NDArray[np.bool_],
    provable: NDArray[np.bool_],
) -> tuple[Dependence, Dependence]:
    """Return what events share for the windows of points, and of intervals: how far the receipts' readings reach."""
    limits = np.iinfo(np.int64)

    def reach(highs: list[NDArray[np.int64]], lows: list[NDArray[np.int64]], known: NDArray[np.bool_]) -> Latent:
        highest = np.max(np.where(received, np.array(highs), limits.min), axis=0)
        lowest = np.min(np.where(received, np.array(lows), limits.max), axis=0)
        return Latent(np.where(known, highest - lowest, 0).astype(np.float64), known)

    segments = segments_of(*(block.sample for block in blocks))
    points = reach([block.est for block in blocks], [block.est for block in blocks], evaluable)
    intervals = reach([block.latest for block in blocks], [block.earliest for block in blocks], provable)
    return dependence(segments, points), dependence(segments, points, intervals)


def _split(judge: Judge, points: NDArray[np.int8], told: NDArray[np.int8] | None) -> Split:
    if judge.reason or told is None:
        return Split(judge.name, judge.reason, 0, 0, 0)
    unequal = points == DIFFER
    return Split(
        judge.name,
        "",
        int(unequal.sum()),
        int((unequal & (told == DIFFER)).sum()),
        int((unequal & (told == SAME)).sum()),
    )


def _one_reference(table: Table, source: str, there: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell, event by event, whether all readings that are there refer to the same reference."""
    coded = np.array([table.readings(worker, source).reference.codes for worker in table.heard], dtype=np.int64)
    return true_windows.all_equal(coded, there)
