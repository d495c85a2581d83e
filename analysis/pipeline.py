"""The whole analysis of one run: statistics, merged table, figures, report, and a table of headlines.

It replaces only what analysis wrote before, each file atomically; repeated on the same folder it writes the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analysis import output, results
from analysis.checks import integrity
from analysis.clocks import quality
from analysis.figures import dashboard, drawing, panels, reference
from analysis.imported import older_format
from analysis.questions import causality, commit_wait, coordination, ordering, windows
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.report import cells, hypotheses, latex, markdown, rates_table
from analysis.run import load, merged
from analysis.run.readings import table
from analysis.second_process import Beside
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from analysis.clocks.coverage import Coverage
    from analysis.report.hypotheses import Judged
    from analysis.results import Results
    from analysis.stats import rates

HYPOTHESES_FILE: Final = "hypotheses.json"
VALIDITY_FILE: Final = "validity_findings.json"
PUBLISHED_FILE: Final = "published_stats.json"
HEADLINES: Final = (
    "source",
    "worker",
    "violated as points",
    "proved",
    "ambiguous",
    "violated",
    "half-width",
    "contained / missed / undecided",
)


@dataclass(frozen=True)
class HeadlineTable:
    """The results in one table for a terminal: one row per source and worker."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Outcome:
    """What an analysis wrote. ``errors`` names what could not be done, though the rest was; findings are no errors."""

    report: Path
    paths: tuple[Path, ...]
    table: HeadlineTable
    errors: list[str]
    error_findings: int = 0


def run_all(
    experiment_dir: Path, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS, merged_form: str | None = None
) -> Outcome:
    """Analyse a run folder completely. Raises AnalysisError where it cannot be judged; prints nothing.

    ``merged_form``: one of ``merged.FORMATS`` for the merged table, None for CSV or Parquet by its length.
    """
    readings = table(load.load(experiment_dir))
    with Beside("the merged table", partial(merged.write, readings, experiment_dir, merged_form)) as merging:
        found = results.compute(readings, window_sizes_ms)
        with drawing.Drawing(_drawings(found), experiment_dir / records.FIGURES_DIR) as figures_drawn:
            numbers = found.as_statistics()
            claims = hypotheses.read()
            hypotheses.demand_topics(claims, numbers)
            judged = hypotheses.judge(claims, numbers)
            paths = [*_write_statistics(found, numbers, judged, experiment_dir), merging.result()]
            figure_paths, errors = figures_drawn.finish()
    paths += figure_paths
    for_latex = numbers | {"hypotheses": [judgement.as_dict() for judgement in judged], "findings": _counted(found)}
    text = latex.render(readings.run.name, for_latex, markdown.tables_of(found, judged))
    paths.append(output.write_text(experiment_dir / latex.FILE, text))
    written = output.write_text(experiment_dir / records.REPORT_FILE, markdown.render(found, judged))
    errors += [f"{finding.where} is {finding.message}" for finding in found.findings if finding.code == integrity.CODE]
    return Outcome(written, (*paths, written), _headlines(found, judged), errors, _errors_found(found))


def draw(found: Results, directory: Path) -> tuple[list[Path], list[str]]:
    """Draw all figures as PNG and PDF; return their paths, and why those that failed did."""
    with drawing.Drawing(_drawings(found), directory) as figures_drawn:
        return figures_drawn.finish()


def _write_statistics(
    found: Results, numbers: dict[str, dict[str, Any]], judged: Sequence[Judged], experiment_dir: Path
) -> list[Path]:
    directory = experiment_dir / records.STATISTICS_DIR
    paths = [output.write_json(directory / name, numbers[topic]) for topic, name in results.FILES.items()]
    paths.append(
        output.write_json(directory / HYPOTHESES_FILE, {"hypotheses": [judgement.as_dict() for judgement in judged]})
    )
    found_data = {"findings": [finding.as_dict() for finding in found.findings]}
    paths.append(output.write_json(directory / VALIDITY_FILE, found_data))
    paths.append(output.write_text(directory / rates_table.RATES_FILE, rates_table.as_csv(numbers)))
    summary = rates_table.summary(numbers, judged, _counted(found))
    paths.append(output.write_json(directory / rates_table.SUMMARY_FILE, summary))
    if (comparison := older_format.comparison(found.table.run)) is not None:
        paths.append(output.write_json(directory / PUBLISHED_FILE, comparison))
    return paths


def _drawings(found: Results) -> dict[str, Callable[[], Figure]]:
    parts: dict[str, Any] = {
        causality.FIGURE: found.causality,
        ordering.FIGURE: found.ordering,
        windows.FIGURE: found.windows,
        coordination.FIGURE: found.coordination,
        commit_wait.FIGURE: found.commit_wait,
        quality.FIGURE: found.clocks,
        reference.FIGURE: found.reference,
    }
    drawings: dict[str, Callable[[], Figure]] = {name: partial(panels.DRAW[name], part) for name, part in parts.items()}
    drawings[dashboard.FIGURE] = partial(
        dashboard.draw,
        causality=found.causality,
        ordering=found.ordering,
        windows=found.windows,
        coordination=found.coordination,
        commit_wait=found.commit_wait,
    )
    return drawings


def _headlines(found: Results, judged: Sequence[Judged]) -> HeadlineTable:
    clocks = {(one.source, one.node_id): one for one in found.clocks.clocks}
    rows = []
    for cell in found.causality.cells:
        clock = clocks.get((cell.source, cell.worker))
        point_clock = cell.source == records.SYSTEM
        intervals = [
            cells.NONE if point_clock else _percent(cell.interval_rates[verdict])
            for verdict in ("proved", "ambiguous", "violated")
        ]
        rows.append(
            [
                cell.source,
                cell.worker,
                _percent(cell.point_rates["violated"]),
                *intervals,
                cells.NONE if clock is None else _half_width(clock),
                cells.NONE if clock is None or point_clock else _coverage(clock.coverage),
            ]
        )
    supported = sum(judgement.status == hypotheses.SUPPORTED for judgement in judged)
    not_evaluable = sum(one.status == hypotheses.NOT_EVALUABLE for one in judged)
    title = (
        f"{found.table.run.name}: causality of {len(found.table.event_ids)} events at each worker; "
        f"{supported} of {len(judged)} hypotheses supported, {not_evaluable} not evaluable"
    )
    return HeadlineTable(title, list(HEADLINES), rows)


def _counted(found: Results) -> dict[str, int]:
    return {kind: sum(finding.severity == kind for finding in found.findings) for kind in ("error", "warning", "note")}


def _errors_found(found: Results) -> int:
    return sum(finding.severity == "error" for finding in found.findings)


def _half_width(clock: quality.Quality) -> str:
    """Return the half-width of what the coverage beside it is about: the reading, or a difference of two.

    Where a server's root distance was added to judge the reading, both are told.
    """
    judged, median = clock.judged_width_us.median, clock.width_us.median
    if judged is not None and clock.relative:
        return f"{judged / 2:.1f} µs (difference)"
    to_utc = f" ({judged / 2:.1f} to UTC)" if judged is not None and clock.judged_as and judged != median else ""
    return cells.NONE if median is None else f"{median / 2:.1f} µs{to_utc}"


def _coverage(found: Coverage) -> str:
    """Return the three shares of a coverage: what nobody can decide is no miss."""
    shares = [rate.value for rate in (found.contained, found.missed, found.undecided)]
    if None in shares:
        return "not evaluable"
    return f"{' / '.join(f'{100 * (share or 0.0):.1f}' for share in shares)} % of {found.contained.denominator}"


def _percent(rate: rates.Rate) -> str:
    return "not evaluable" if rate.value is None else f"{100 * rate.value:.1f} % of {rate.denominator}"
