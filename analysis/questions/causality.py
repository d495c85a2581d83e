"""Causality: an event is received after it was sent; which clocks see it, cannot tell, or see the opposite.

Per (event, worker, source), S the send reading and R the receive reading: proved iff S.latest < R.earliest; violated
iff R.latest < S.earliest; else ambiguous; not evaluable if either is missing. As a point: violated iff R.est < S.est.
A violation is a wrong decision whatever the truth, since no packet arrives before it left. Beside it stands what the
reference (and the injected truth, where there is one) can tell of the same flight: its least duration above 0, or not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.questions import judges, rounds, verdicts
from analysis.run.readings import LOST, NO_DATA, NOT_SENT
from analysis.stats.dependence import centred, dependence, segments_of
from analysis.stats.rates import Rate, Spread, rate_of, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.questions.judges import Judge, Judgement
    from analysis.questions.rounds import Rounds
    from analysis.run.readings import Readings, Table
    from analysis.stats.dependence import Dependence, Latent

STATISTICS_FILE = "causality_stats.json"
FIGURE = "causality_violations"
US = 1_000.0
ALL: Final = "all"
INTERVAL_VERDICTS: Final = {
    "proved": (verdicts.BEFORE,),
    "ambiguous": (verdicts.AMBIGUOUS,),
    "violated": (verdicts.AFTER,),
    "decided": (verdicts.BEFORE, verdicts.AFTER),
}
POINT_VERDICTS: Final = {"violated": (verdicts.AFTER,), "equal": (verdicts.AMBIGUOUS,)}


@dataclass(frozen=True)
class Labels:
    """What one source says of one worker's flights, in order of time; ``by_judge``: what each judge says of them.

    ``due``: sent and received, so that there is something to decide, with readings or without.
    """

    due: NDArray[np.bool_]
    intervals: NDArray[np.int8]
    points: NDArray[np.int8]
    segments: NDArray[np.int64]
    interval_latents: tuple[Latent, ...]
    point_latents: tuple[Latent, ...]
    advance_ns: NDArray[np.int64]
    received: NDArray[np.bool_]
    interval_reasons: dict[str, int]
    point_reasons: dict[str, int]
    by_judge: Mapping[str, NDArray[np.int8]]


@dataclass(frozen=True)
class Cell:
    """The verdicts of one source on one worker's receipts, or on all. ``advance_us``: R.est - S.est, in us.

    ``interval_share`` and ``point_share``: of the received pairs, those that are evaluable. ``interval_rates`` and
    ``point_rates`` are shares of the evaluable pairs, by verdict; ``interval_against`` and ``point_against`` what each
    judge says of the decided ones. ``interval_rounds`` and ``point_rounds``: of what was sent and received, what is not
    proved, or was decided wrongly, left open or without a reading.
    """

    source: str
    worker: str
    kind: str
    level: float | None
    events: int
    interval_rates: Mapping[str, Rate]
    interval_reasons: dict[str, int]
    interval_against: tuple[Judgement, ...]
    interval_rounds: Rounds
    point_rates: Mapping[str, Rate]
    point_reasons: dict[str, int]
    point_against: tuple[Judgement, ...]
    point_rounds: Rounds
    interval_share: Rate
    point_share: Rate
    advance_us: Spread

    @property
    def interval_evaluable(self) -> int:
        """Return how many pairs have an interval at both ends."""
        return self.interval_rates["proved"].denominator

    @property
    def point_evaluable(self) -> int:
        """Return how many pairs have a best estimate at both ends."""
        return self.point_rates["violated"].denominator

    @property
    def proved(self) -> int:
        """Return how many pairs are proved."""
        return self.interval_rates["proved"].numerator

    @property
    def ambiguous(self) -> int:
        """Return how many pairs the intervals leave open."""
        return self.interval_rates["ambiguous"].numerator

    @property
    def violated(self) -> int:
        """Return how many pairs the intervals put in the wrong order."""
        return self.interval_rates["violated"].numerator

    @property
    def point_violated(self) -> int:
        """Return how many pairs the best estimates put in the wrong order."""
        return self.point_rates["violated"].numerator

    @property
    def point_equal(self) -> int:
        """Return how many pairs have equal best estimates: nothing is decided."""
        return self.point_rates["equal"].numerator

    def as_dict(self) -> dict[str, Any]:
        """Return the cell as JSON-serialisable data; every rate with its denominator."""
        return {
            "kind": self.kind,
            "level": self.level,
            "events": self.events,
            "intervals": {name: rate.as_dict() for name, rate in self.interval_rates.items()}
            | {
                "evaluable": self.interval_share.as_dict(),
                "not_evaluable": self.interval_reasons,
                "against": judges.as_dict(self.interval_against),
            },
            "points": {name: rate.as_dict() for name, rate in self.point_rates.items()}
            | {
                "evaluable": self.point_share.as_dict(),
                "not_evaluable": self.point_reasons,
                "against": judges.as_dict(self.point_against),
                "receive_minus_send_us": self.advance_us.as_dict(),
            },
        }


@dataclass(frozen=True)
class Causality:
    """All cells, by source and then by worker; ``totals``: all workers of a source together.

    ``received``: of all (event, worker) pairs sent, to every configured worker, those that arrived.
    """

    cells: tuple[Cell, ...]
    totals: tuple[Cell, ...]
    received: Rate

    @property
    def sources(self) -> list[str]:
        """Return the sources in order."""
        return [cell.source for cell in self.totals]

    def of(self, source: str) -> list[Cell]:
        """Return one source's cells."""
        return [cell for cell in self.cells if cell.source == source]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{received: …, sources: {source: {all: …, workers: {worker: …}}}}``; rates with denominators."""
        return {
            "received": self.received.as_dict(),
            "sources": {
                total.source: {
                    ALL: total.as_dict(),
                    "workers": {cell.worker: cell.as_dict() for cell in self.of(total.source)},
                }
                for total in self.totals
            },
        }


def compute(table: Table, known: Sequence[Judge] | None = None) -> Causality:
    """Judge every (event, worker, source) of a run, beside the judges (None: all there are for this run)."""
    found = judges.of(table) if known is None else known
    told = {worker: _judged(found, worker, table) for worker in table.workers}
    cells, totals = [], []
    for source in table.sources:
        parts = {worker: _labels(table, source, worker, told[worker]) for worker in table.workers}
        blocks = [table.readings(worker, source) for worker in table.workers]
        mine = [_cell(source, block.node_id, block.kind, block.level, parts[block.node_id], found) for block in blocks]
        kinds, levels = {one.kind for one in mine}, {one.level for one in mine}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        level = levels.pop() if len(levels) == 1 else None
        totals.append(_cell(source, ALL, kind, level, _together(list(parts.values())), found))
        cells += mine
    return Causality(tuple(cells), tuple(totals), _received(table))


def _received(table: Table) -> Rate:
    """Return how much of what was sent arrived, over all configured workers, those without any data among them."""
    nothing = np.zeros(len(table.event_ids), dtype=np.bool_)
    arrived = np.column_stack([table.received.get(worker, nothing) for worker in table.workers]).ravel()
    sent = np.repeat(table.sent.known, len(table.workers))
    events = np.repeat(np.arange(len(table.event_ids)), len(table.workers))  # one that is lost may be lost to all
    return rate_of(arrived, sent, dependence(events))


def _judged(found: Sequence[Judge], worker: str, table: Table) -> dict[str, NDArray[np.int8]]:
    """Return what each judge that can judge says of a worker's flights; of a worker without data nothing."""
    nothing = np.zeros(len(table.event_ids), dtype=np.int8)
    there = worker in table.present
    return {one.name: one.flights(worker).order if there else nothing for one in found if not one.reason}


def _labels(table: Table, source: str, worker: str, by_judge: Mapping[str, NDArray[np.int8]]) -> Labels:
    send, receive = table.sends(worker, source), table.readings(worker, source)
    labels, points = verdicts.intervals(send, receive), verdicts.points(send, receive)
    return Labels(
        due=_there(send) & _there(receive),
        intervals=labels,
        points=points,
        segments=segments_of(send.sample, receive.sample),
        interval_latents=verdicts.interval_latents(send, receive),
        point_latents=verdicts.point_latents(send, receive),
        advance_ns=(receive.est - send.est)[points != verdicts.NOT_EVALUABLE],
        received=table.received.get(worker, np.zeros(len(labels), dtype=np.bool_)),
        interval_reasons={} if source == "system" else verdicts.reasons(send, receive, labels),
        point_reasons=verdicts.reasons(send, receive, points),
        by_judge=by_judge,
    )


def _there(block: Readings) -> NDArray[np.bool_]:
    """Tell which events left a row at all."""
    there: NDArray[np.bool_] = ~block.status.isin([LOST, NO_DATA, NOT_SENT])
    return there


def _together(parts: Sequence[Labels]) -> Labels:
    """Take all workers' flights together, still in order of time: what shares a sample stays together."""
    return Labels(
        due=np.column_stack([one.due for one in parts]).ravel(),
        intervals=np.column_stack([one.intervals for one in parts]).ravel(),
        points=np.column_stack([one.points for one in parts]).ravel(),
        segments=np.repeat(segments_of(*(part.segments for part in parts)), len(parts)),
        interval_latents=_centred([part.interval_latents for part in parts]),
        point_latents=_centred([part.point_latents for part in parts]),
        advance_ns=np.concatenate([one.advance_ns for one in parts]),
        received=np.column_stack([one.received for one in parts]).ravel(),
        interval_reasons=_sum([one.interval_reasons for one in parts]),
        point_reasons=_sum([one.point_reasons for one in parts]),
        by_judge={name: np.column_stack([one.by_judge[name] for one in parts]).ravel() for name in parts[0].by_judge},
    )


def _centred(parts: Sequence[tuple[Latent, ...]]) -> tuple[Latent, ...]:
    return tuple(centred(columns) for columns in zip(*parts, strict=True))


def _cell(source: str, worker: str, kind: str, level: float | None, found: Labels, known: Sequence[Judge]) -> Cell:
    of_intervals = dependence(found.segments, *found.interval_latents)
    of_points = dependence(found.segments, *found.point_latents)
    of_gaps = dependence(found.segments)

    def rates(labels: NDArray[np.int8], named: Mapping[str, tuple[int, ...]], shared: Dependence) -> dict[str, Rate]:
        judged = labels != verdicts.NOT_EVALUABLE
        return {name: rate_of(np.isin(labels, values), judged, shared) for name, values in named.items()}

    def share(labels: NDArray[np.int8]) -> Rate:
        return rate_of(labels != verdicts.NOT_EVALUABLE, found.received, of_gaps)

    def against(labels: NDArray[np.int8], shared: Dependence) -> tuple[Judgement, ...]:
        return tuple(judges.judge(judge, labels, found.by_judge.get(judge.name), shared) for judge in known)

    def needed(labels: NDArray[np.int8], shared: Dependence) -> Rounds:
        nothing = np.zeros(len(labels), dtype=np.bool_)
        return rounds.count(judges.ORDER_OF_SENDING, found.due, labels != verdicts.BEFORE, nothing, shared)

    return Cell(
        source=source,
        worker=worker,
        kind=kind,
        level=level,
        events=len(found.points),
        interval_rates=rates(found.intervals, INTERVAL_VERDICTS, of_intervals),
        interval_reasons=found.interval_reasons,
        interval_against=against(found.intervals, of_intervals),
        interval_rounds=needed(found.intervals, of_intervals),
        point_rates=rates(found.points, POINT_VERDICTS, of_points),
        point_reasons=found.point_reasons,
        point_against=against(found.points, of_points),
        point_rounds=needed(found.points, of_points),
        interval_share=share(found.intervals),
        point_share=share(found.points),
        advance_us=spread(found.advance_ns, US),
    )


def _sum(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
