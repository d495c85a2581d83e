"""The table for a terminal: causality at every worker, by every source; of many workers how they lie, and the worst."""

from __future__ import annotations

from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from analysis.analyses import causality, judged
from analysis.outcome import HeadlineTable
from analysis.report import hypotheses
from analysis.report.rates_table import RATES_FILE
from analysis.tables import NONE, NOT_EVALUABLE
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.analyses.analysis import Results
    from analysis.clocks.coverage import Coverage
    from analysis.clocks.quality import Quality
    from analysis.questions.answers import Answer
    from analysis.report.hypotheses import Judged
    from analysis.stats.rates import Rate

COLUMNS: Final = (
    "source", "worker", "violated as points", "proved", "ambiguous", "violated", "half-width",
    "contained / missed / undecided",
)  # fmt: skip


class _Worker(NamedTuple):
    """What one source is at one worker: as points, as intervals, and how good its clock is, None if nobody knows."""

    points: Answer
    intervals: Answer
    clock: Quality | None

    @property
    def violated(self) -> Rate:
        """Return the rate of events that its points put before they were sent."""
        return self.points.rates["violated"]

    @property
    def verdicts(self) -> list[Rate]:
        """Return the rates of ``causality.VERDICTS``; a point clock has none."""
        return [] if self._is_point else [self.intervals.rates[verdict] for verdict in causality.VERDICTS]

    @property
    def coverage(self) -> Coverage | None:
        """Return how many of its intervals hold the truth; a point clock has none."""
        return None if self.clock is None or self._is_point else self.clock.coverage

    @property
    def cells(self) -> list[str]:
        """Return the cells below ``COLUMNS``."""
        verdicts = [_percent(rate) for rate in self.verdicts] or [NONE] * len(causality.VERDICTS)
        width = NONE if self.clock is None else _half_width(self.clock)
        covered = NONE if self.coverage is None else _coverage(self.coverage)
        return [self.points.source, self.points.subject, _percent(self.violated), *verdicts, width, covered]

    @property
    def _is_point(self) -> bool:
        return self.points.source == records.SYSTEM


def of(results: Results, claims: Sequence[Judged]) -> HeadlineTable:
    """Return the table of a run; of a source at many workers a row of medians, and one for each of the worst."""
    clocks = {(clock.source, clock.node_id): clock for clock in results.done["clock_quality"].clocks}
    workers = [
        _Worker(points, intervals, clocks.get((points.source, points.subject)))
        for points, intervals in causality.by_worker(results.done["causality"])
    ]
    rows, folded = [], False
    for _, group in groupby(workers, key=lambda worker: worker.points.source):
        of_source = list(group)
        if len(of_source) <= judged.MOST_ALONE:
            rows += [worker.cells for worker in of_source]
            continue
        worst = judged.worst_of(of_source, lambda worker: worker.violated.value, most=True)
        rows += [_medians(of_source), *(worker.cells for worker in worst)]
        folded = True
    supported = sum(claim.status == hypotheses.SUPPORTED for claim in claims)
    not_evaluable = sum(claim.status == hypotheses.NOT_EVALUABLE for claim in claims)
    title = (
        f"{results.table.run.name}: causality of the {len(results.table.event_ids):,} events sent, at each worker; "
        f"{supported} of {len(claims)} hypotheses supported, {not_evaluable} not evaluable"
    )
    everywhere = f"{records.STATISTICS_DIR}/{RATES_FILE}"
    note = f"below each median the worst by violations as points; every worker is in {everywhere}"
    return HeadlineTable(title, list(COLUMNS), rows, note if folded else "")


def _medians(workers: Sequence[_Worker]) -> list[str]:
    """Return the cells of many workers: the median of each number over those that have it."""
    columns = [[worker.violated for worker in workers]]
    columns += [list(rates) for rates in zip(*(worker.verdicts for worker in workers), strict=True)]
    shares = [_median_percent(rates) for rates in columns] + [NONE] * (1 + len(causality.VERDICTS) - len(columns))
    halves = [half for worker in workers if worker.clock is not None and (half := _half_us(worker.clock)) is not None]
    coverages = [_shares(worker.coverage) for worker in workers if worker.coverage is not None]
    known = [shares for shares in coverages if shares is not None]
    middle = " / ".join(f"{100 * median(column):.1f}" for column in zip(*known, strict=True))
    covered = f"{middle} %" if known else NOT_EVALUABLE if coverages else NONE
    width = f"{median(halves):.1f} µs" if halves else NONE
    return [workers[0].points.source, f"median of {len(workers)}", *shares, width, covered]


def _median_percent(rates: Sequence[Rate]) -> str:
    known = [rate.value for rate in rates if rate.value is not None]
    return f"{100 * median(known):.1f} %" if known else NOT_EVALUABLE


def _half_us(clock: Quality) -> float | None:
    """Return half of the median width of what was judged where that is a difference, else of a reading, in us."""
    judged_width, width = clock.judged_width_us.median, clock.width_us.median
    shown = judged_width if judged_width is not None and clock.relative else width
    return None if shown is None else shown / 2


def _half_width(clock: Quality) -> str:
    """Return the half-width of what was judged: a reading (with a root distance beside it), or a difference of two."""
    half, judged_width, width = _half_us(clock), clock.judged_width_us.median, clock.width_us.median
    if half is None:
        return NONE
    if judged_width is None:
        return f"{half:.1f} µs"
    if clock.relative:
        return f"{half:.1f} µs (difference)"
    return f"{half:.1f} µs" + (f" ({judged_width / 2:.1f} to UTC)" if clock.judged_as and judged_width != width else "")


def _shares(coverage: Coverage) -> list[float] | None:
    """Return which share is contained, missed and undecided (what nobody can decide is no miss), None without any."""
    shares = [rate.value for rate in (coverage.contained, coverage.missed, coverage.undecided)]
    known = [share for share in shares if share is not None]
    return known if len(known) == len(shares) else None


def _coverage(coverage: Coverage) -> str:
    if (shares := _shares(coverage)) is None:
        return NOT_EVALUABLE
    return f"{' / '.join(f'{100 * share:.1f}' for share in shares)} % of {coverage.contained.denominator:,}"


def _percent(rate: Rate) -> str:
    return NOT_EVALUABLE if rate.value is None else f"{100 * rate.value:.1f} % of {rate.denominator:,}"
