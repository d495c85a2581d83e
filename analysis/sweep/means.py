"""The mean over the runs of each cell, with its interval: of the headline shares, and of what the hypotheses judge."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.comparison import inference
from analysis.comparison.runs import PERCENT, SUMMARY, numbers_of
from analysis.errors import AnalysisError, cause
from analysis.report import hypotheses, rates_table
from analysis.stats.rates import is_rate
from analysis.sweep.spread import POINTS, spread
from analysis.tables import Grid, number
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.comparison.runs import Number
    from analysis.sweep.runs import SweepRun
    from analysis.sweep.spread import Spread

MOST_ROWS: Final = 200  # of a table in the report
CLIPPED: Final = "clipped"
PERCENTAGE_POINTS: Final = rates_table.UNITS["points"]
OF_A_SHARE: Final = (0.0, 100.0)
OF_A_DIFFERENCE: Final = (-100.0, 100.0)  # of two shares, in percentage points
HEADS: Final = (
    "cell",
    "source",
    "metric",
    "unit",
    "runs",
    "mean",
    "95 % over runs",
    "sd",
    f"runs to see {POINTS:g} points",
)
COLUMNS: Final = ("cell", "source", "metric", "unit", "runs", "of_runs", "mean", "low", "high", "clipped", "deviation")


@dataclass(frozen=True)
class Mean:
    """What the runs of one cell say of one metric, ``of_runs`` of which some may have no number.

    ``limits``: what the number cannot leave, if it is a share or a difference of two.
    """

    cell: str
    source: str
    metric: str
    unit: str
    of_runs: int
    over_runs: Spread
    limits: tuple[float, float] | None = None

    @property
    def needed(self) -> int | None:
        """Return how many runs of each of two cells show ``POINTS``; None of what is no share, or where none differ."""
        deviation = self.over_runs.deviation if self.limits else None
        return repeats_needed(deviation) if deviation is not None else None


def repeats_needed(deviation: float) -> int | None:
    """Return how many runs of each of two cells show ``POINTS`` with 80 % power, where runs vary by ``deviation``.

    None where the runs found never differed: that does not tell how much others would.
    """
    return inference.repeats_to_show(POINTS, deviation) if deviation else None


def of_share(cell: str, source: str, metric: str, of_runs: int, values: Sequence[float]) -> Mean:
    """Return the mean of some runs' shares, which are in percent."""
    return Mean(cell, source, metric, PERCENT, of_runs, spread(values, *OF_A_SHARE), OF_A_SHARE)


def of_hypotheses(counted: Sequence[SweepRun]) -> list[Mean]:
    """Return the means of the numbers that the hypotheses judged, where a run of the cell has one.

    Raises AnalysisError for a run that is damaged, or not analysed.
    """
    claims = {claim.name: claim for claim in hypotheses.read()}
    found: dict[tuple[str, str, str, tuple[float, float] | None], dict[str, list[float]]] = {}
    for run in counted:
        for metric, told in numbers_of(run.path, claims).items():
            if not metric.startswith(SUMMARY) and told.value is not None:
                scale = 100 if told.unit == PERCENT else 1
                key = (metric, told.of, told.unit, _limits(run, told))
                found.setdefault(key, {}).setdefault(run.cell, []).append(scale * told.value)
    names = [metric for metric, *_ in found]
    of_cell = {cell: sum(run.cell == cell for run in counted) for cell in {run.cell for run in counted}}
    return [
        Mean(
            cell,
            claims[metric].source if metric in claims else "",
            _named(metric, of, names),
            _unit(unit, claims.get(metric), limits),
            of_cell[cell],
            spread(values, *(limits or ())),
            limits,
        )
        for (metric, of, unit, limits), by_cell in found.items()
        for cell, values in sorted(by_cell.items())
    ]


def without_number(counted: Sequence[SweepRun]) -> list[str]:
    """Return the hypotheses of which no run has a number. Raises AnalysisError for a run that is damaged."""
    claims = {claim.name: claim for claim in hypotheses.read()}
    known: dict[str, bool] = {}
    for run in counted:
        for metric, told in numbers_of(run.path, claims).items():
            if not metric.startswith(SUMMARY):
                known[metric] = known.get(metric, False) or told.value is not None
    return [metric for metric, there in known.items() if not there]


def _limits(run: SweepRun, told: Number) -> tuple[float, float] | None:
    """Return what a number cannot leave: a percentage need not be a share ("40 % fewer rounds")."""
    if told.unit == PERCENTAGE_POINTS:
        return OF_A_DIFFERENCE
    if told.unit != PERCENT or not told.of:
        return None
    topic = told.of.partition("/")[0]
    file = run.path / records.STATISTICS_DIR / f"{topic}_stats.json"
    try:
        statistics = {topic: json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        raise AnalysisError(f"{file}: expected statistics, got: {cause(error)}; analyse the run again") from error
    return OF_A_SHARE if any(map(is_rate, hypotheses.number_at(statistics, told.of))) else None


def _unit(unit: str, claim: hypotheses.Hypothesis | None, limits: tuple[float, float] | None) -> str:
    """Return the unit to show: of a percentage that is no share also what it is of, in the hypothesis' own words."""
    return claim.unit if unit == PERCENT and limits is None and claim and claim.unit.startswith(PERCENT) else unit


def _named(metric: str, of: str, names: Sequence[str]) -> str:
    """Return a hypothesis' name, and its number where runs were analysed with several of that name."""
    return metric if names.count(metric) == 1 else f"{metric} ({of})"


def grid(means: Sequence[Mean]) -> Grid:
    """Return the table of some means; one that is too long has no rows, and says where they are."""
    if len(means) > MOST_ROWS:
        return Grid.of(HEADS, [], f"{len(means)} rows, more than {MOST_ROWS}: they are in means.csv alone.")
    return Grid.of(HEADS, [_row(one) for one in means])


def _row(shown: Mean) -> tuple[str | int | None, ...]:
    over = shown.over_runs
    within = None if over.low is None or over.high is None else f"{number(over.low, 2)} to {number(over.high, 2)}"
    if within and over.clipped:
        within += f" ({CLIPPED})"
    runs = str(over.runs) if over.runs == shown.of_runs else f"{over.runs} of {shown.of_runs}"
    numbers = (number(over.mean, 2), within, number(over.deviation, 2), shown.needed)
    return shown.cell, shown.source, shown.metric, shown.unit, runs, *numbers


def as_csv(means: Iterable[Mean]) -> str:
    """Return all means as a table with a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in means:
        over = row.over_runs
        ends = (over.low, over.high, str(over.clipped).lower() if over.low is not None else None)
        writer.writerow(
            (row.cell, row.source, row.metric, row.unit, over.runs, row.of_runs, over.mean, *ends, over.deviation)
        )
    return text.getvalue()
