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

from analysis.questions import held_events, judges, verdicts
from analysis.questions.judges import Judgement
from analysis.questions.remeasurement import Remeasured, Width, again_as_wide
from analysis.questions.windows import MS_NS, WINDOW_SIZES_MS
from analysis.run import scopes, utc
from analysis.stats import rates
from analysis.stats.dependence import Latent, centred, dependence, segments_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from analysis.questions.judges import Judge
    from analysis.run.readings import Readings, Table
    from analysis.stats.dependence import Dependence

STATISTICS_FILE = "commit_wait_stats.json"
FIGURE = "commit_wait"
CAUSALITY: Final = "causality"
ABSOLUTE: Final = "which window it was is absolute, and the reference knows lags only"


@dataclass(frozen=True)
class Cell:
    """One source, question and delay: of the (event, worker) pairs ambiguous at first, those re-measured later.

    ``certain`` of those are decided with the re-measured width: ``proved`` rightly, ``violated`` wrongly. Causality is
    violated whatever the truth; a window only where a truth is known (else both are None). ``contained``: of the
    re-measured receive intervals, those with the true time in them. Both know the server's root distance (see ``utc``):
    a certain window may be neither, and where the root distance is not known nothing is told. ``against``: each judge
    of what was ambiguous.
    """

    source: str
    question: str
    delay_s: float
    at_first: rates.Rate
    certain_after: rates.Rate
    proved_after: rates.Rate | None
    violated_after: rates.Rate | None
    contained_after: rates.Rate | None
    against: tuple[Judgement, ...]

    @property
    def evaluable(self) -> int:
        """Return how many pairs there were to judge."""
        return self.at_first.denominator

    @property
    def ambiguous(self) -> int:
        """Return how many pairs were ambiguous at first."""
        return self.at_first.numerator

    @property
    def remeasured(self) -> int:
        """Return how many of these have a re-measured claim."""
        return self.certain_after.denominator

    @property
    def certain(self) -> int:
        """Return how many of these the re-measured width decides."""
        return self.certain_after.numerator

    @property
    def violated(self) -> int | None:
        """Return how many of these it decides wrongly, None where nobody knows."""
        return None if self.violated_after is None else self.violated_after.numerator

    @property
    def proved(self) -> int | None:
        """Return how many of these it decides rightly, None where nobody knows."""
        return None if self.proved_after is None else self.proved_after.numerator

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        proved, violated, contained = (
            None if rate is None else rate.as_dict()
            for rate in (self.proved_after, self.violated_after, self.contained_after)
        )
        return {
            "ambiguous_at_first": self.at_first.as_dict(),
            "certain_after": self.certain_after.as_dict(),
            "proved_after": proved,
            "violated_after": violated,
            "receive_interval_contains_truth": contained,
            "not_remeasured": self.ambiguous - self.remeasured,
            "against": judges.as_dict(self.against),
        }


@dataclass(frozen=True)
class CommitWait:
    """All results; empty tuples where nothing was re-measured, or nothing waited."""

    cells: tuple[Cell, ...]
    widths: tuple[Width, ...]
    waits: tuple[held_events.Waits, ...]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{sources: {source: {question: {delay: …}, uncertainty: {delay: …}}}, commit_waits: …}``."""
        sources: dict[str, Any] = {}
        for cell in self.cells:
            sources.setdefault(cell.source, {}).setdefault(cell.question, {})[f"{cell.delay_s:g}s"] = cell.as_dict()
        for width in self.widths:
            sources.setdefault(width.source, {}).setdefault("uncertainty", {})[f"{width.delay_s:g}s"] = {
                "available": rates.rate(width.available, width.due).as_dict(),
                "unavailable": width.reasons,
                "uncertainty_ms": width.uncertainty_ms.as_dict(),
                "half_width_ms": width.half_width_ms.as_dict(),
                "read_half_width_ms": width.read_half_width_ms.as_dict(),
                "claim": width.claim,
                "lateness_ms": width.late_ms.as_dict(),
            }
        return {"sources": sources, "commit_waits": {wait.source: wait.as_dict() for wait in self.waits}}


def compute(
    table: Table,
    window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS,
    known: Sequence[Judge] | None = None,
    remeasured: Remeasured | None = None,
) -> CommitWait:
    """Judge causality and windows again with every re-measured uncertainty, beside the judges (None: all there are)."""
    found = judges.of(table) if known is None else known
    flights = {one.name: {w: one.flights(w).order for w in table.present} for one in found if not one.reason}
    measured = Remeasured(table) if remeasured is None else remeasured
    cells: list[Cell] = []
    widths: list[Width] = []
    for source in table.sources:
        delays = measured.delays(source)
        if not delays:
            continue
        widths += [measured.first_width(source), *(measured.width(source, delay) for delay in delays)]
        if (factor := held_events.half_width_per_uncertainty(table.run, source)) is None:
            continue
        for delay in delays:
            grown = {node: measured.growth_ns(node, source, delay, factor) for node in table.nodes}
            cells.append(_causality(table, source, delay, grown, found, flights))
            cells += [_window(table, source, delay, grown, found, width) for width in window_sizes_ms]
    probed = next((one for one in found if isinstance(one, judges.Probed)), None)
    return CommitWait(tuple(cells), tuple(widths), held_events.judge(table.run, probed, measured.looks))


@dataclass(frozen=True)
class _Pairs:
    """One worker's pairs of one question, event by event; labels are ``verdicts``'."""

    evaluable: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]
    judged: NDArray[np.bool_]  # ambiguous at first, and measured again
    again: NDArray[np.int8]
    proved: NDArray[np.bool_]
    violated: NDArray[np.bool_]
    contained: NDArray[np.bool_]
    truth_known: NDArray[np.bool_]
    segments: NDArray[np.int64]
    latents: tuple[Latent, ...]


def _causality(
    table: Table,
    source: str,
    delay: float,
    grown: dict[str, NDArray[np.float64] | None],
    known: Sequence[Judge],
    flights: Mapping[str, Mapping[str, NDArray[np.int8]]],
) -> Cell:
    parts = []
    for worker in table.present:
        send, receive = table.sends(worker, source), table.readings(worker, source)
        first = verdicts.intervals(send, receive)
        unclear = first == verdicts.AMBIGUOUS
        received = again_as_wide(receive, grown[worker])
        again = verdicts.intervals(again_as_wide(send, grown[table.coordinator_id]), received)
        judged = unclear & (again != verdicts.NOT_EVALUABLE) & (grown[worker] is not None)
        segments = segments_of(send.sample, receive.sample)
        latents = verdicts.interval_latents(send, receive)
        inside, told = _contained(table, worker, received, judged)
        proved, violated = again == verdicts.BEFORE, again == verdicts.AFTER
        evaluable = first != verdicts.NOT_EVALUABLE
        parts.append(_Pairs(evaluable, unclear, judged, again, proved, violated, inside, told, segments, latents))
    cell = _cell(source, CAUSALITY, delay, parts, verdicts_known=True)
    labels, shared = _labels(parts), _dependence(parts)
    by_judge = {name: np.column_stack([of[worker] for worker in table.present]).ravel() for name, of in flights.items()}
    return replace(
        cell, against=tuple(judges.judge(judge, labels, by_judge.get(judge.name), shared) for judge in known)
    )


def _window(
    table: Table,
    source: str,
    delay: float,
    grown: dict[str, NDArray[np.float64] | None],
    known: Sequence[Judge],
    width_ms: int,
) -> Cell:
    """Ambiguous at first means here: the worker was not certain of the receipt's window."""
    parts, told_all = [], True
    width = width_ms * MS_NS
    for worker in table.present:
        first = table.readings(worker, source)
        unclear = first.bounded & (first.earliest // width != first.latest // width)
        again = again_as_wide(first, grown[worker])
        judged = unclear & again.bounded & (grown[worker] is not None)
        decided = judged & (again.earliest // width == again.latest // width)
        true, root = table.truth(worker), utc.of(table, worker, source)
        right = wrong = np.zeros(len(decided), dtype=np.bool_)
        if true is None or not (true.known & root.known)[decided].all():
            told_all = False
        else:
            right, wrong = utc.window_verdicts(again, root, true, width)
        labels = np.where(decided, verdicts.BEFORE, verdicts.AMBIGUOUS).astype(np.int8)
        inside, told = _contained(table, worker, again, judged)
        wide = Latent((first.latest - first.earliest).astype(np.float64), first.bounded)
        segments = segments_of(first.sample)
        parts.append(_Pairs(first.bounded, unclear, judged, labels, right, wrong, inside, told, segments, (wide,)))
    silent = tuple(Judgement(judge.name, judge.reason or ABSOLUTE) for judge in known if judge.name == judges.REFERENCE)
    return _cell(source, f"window_{width_ms}ms", delay, parts, verdicts_known=told_all, against=silent)


def _cell(
    source: str,
    question: str,
    delay: float,
    parts: Sequence[_Pairs],
    *,
    verdicts_known: bool,
    against: tuple[Judgement, ...] = (),
) -> Cell:
    """Take all workers' pairs together, in order of time."""

    def together(name: str) -> NDArray[Any]:
        return np.column_stack([getattr(part, name) for part in parts]).ravel()

    judged = together("judged")
    labels, shared = _labels(parts), _dependence(parts)

    def rate(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> rates.Rate:
        return rates.rate_of(hits, of, shared)

    truth_known = together("truth_known")
    return Cell(
        source=source,
        question=question,
        delay_s=delay,
        at_first=rate(together("ambiguous"), together("evaluable")),
        certain_after=rate(verdicts.decided(labels), judged),
        proved_after=rate(together("proved"), judged) if verdicts_known else None,
        violated_after=rate(together("violated"), judged) if verdicts_known else None,
        contained_after=rate(together("contained"), truth_known) if truth_known.any() else None,
        against=against,
    )


def _labels(parts: Sequence[_Pairs]) -> NDArray[np.int8]:
    """Return the labels of all workers' re-measured pairs, in order of time."""
    labels = [np.where(part.judged, part.again, verdicts.NOT_EVALUABLE).astype(np.int8) for part in parts]
    return np.column_stack(labels).ravel()


def _dependence(parts: Sequence[_Pairs]) -> Dependence:
    """Return what all workers' pairs share, in order of time."""
    segments = np.repeat(segments_of(*(part.segments for part in parts)), len(parts))
    return dependence(segments, *(centred(columns) for columns in zip(*(part.latents for part in parts), strict=True)))


def _contained(
    table: Table, worker: str, readings: Readings, judged: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of a worker's intervals contain the true time, and of which that can be told.

    Of readings of a server's time with its root distance added; not of those that are about the server's own clock.
    """
    true = table.truth(worker)
    if true is None:
        nothing = np.zeros(len(judged), dtype=np.bool_)
        return nothing, nothing
    to_utc = utc.absolute(readings, utc.of(table, worker, readings.source))
    known = judged & true.known & to_utc.bounded & ~scopes.about_the_server(table, worker, readings.source)
    return known & (to_utc.earliest <= true.ns) & (true.ns <= to_utc.latest), known
