"""The whole analysis of one run: statistics, merged table, figures, report, and a table of headlines.

It replaces only what analysis wrote before, each file atomically; repeated on the same folder it writes the same bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analysis import output, registry
from analysis.analyses import dashboard
from analysis.by_event import merged, open_run
from analysis.checks.validate import breaches
from analysis.errors import UsageError
from analysis.figures import drawing, style
from analysis.imported import older_format
from analysis.outcome import HeadlineTable, Outcome
from analysis.processes.second_process import Beside
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.report import headlines, hypotheses, latex, markdown, rates_table, run_counts, summary, verdict
from analysis.report import opening as openings
from analysis.report.page import events, run_page
from analysis.run import csv_tables, load, series
from analysis.run.alone import alone
from analysis.series import pipeline as series_pipeline
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from analysis.analyses.analysis import Analysis, Results
    from analysis.figures.sheet import Sheet
    from analysis.processes.slurm_array import SlurmArray
    from analysis.report.hypotheses import Judged
    from analysis.report.opening import Opening

__all__ = ["HeadlineTable", "Outcome", "draw", "run_all"]

VALIDITY_FILE: Final = "validity_findings.json"
PUBLISHED_FILE: Final = "published_stats.json"


def run_all(
    experiment_dir: Path,
    window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS,
    merged_form: str | None = None,
    width_in: float = style.PAGE_IN,
    jobs: int | None = None,
    array: SlurmArray | None = None,
) -> Outcome:
    """Analyse a run folder completely. Raises AnalysisError where it cannot be judged; prints nothing.

    ``merged_form``: one of ``merged.FORMATS`` for the merged table, None for CSV or Parquet by its length. ``width_in``
    is that of every figure. ``jobs``: see ``registry.compute``. ``array``: what judges parts and nodes instead of
    processes of this machine. A run without events has neither windows nor a merged table, and no parts; asking for any
    is an error, and so is another analysis of the run that is under way.
    """
    manifest = load.read_manifest(experiment_dir)
    with alone(experiment_dir):
        if series.has_events(manifest):
            return _of_events(experiment_dir, window_sizes_ms, merged_form, width_in, jobs, array)
        of = f"of a {manifest.kind} of clocks, which has no events"
        if merged_form is not None or window_sizes_ms is not WINDOW_SIZES_MS:
            raise UsageError(f"{experiment_dir}: expected neither windows nor a merged table, {of}")
        if array is not None:
            raise UsageError(f"{experiment_dir}: expected no --slurm, for there are no parts to share out, {of}")
        return series_pipeline.run_all(experiment_dir, width_in)


def _of_events(
    experiment_dir: Path,
    window_sizes_ms: Sequence[int],
    merged_form: str | None,
    width_in: float,
    jobs: int | None,
    array: SlurmArray | None,
) -> Outcome:
    readings = open_run.table_of(experiment_dir, scratch=None if array is None else array.scratch, jobs=jobs)
    csv_tables.release_memory()
    merge = partial(merged.write, readings, experiment_dir, merged_form)
    results = registry.compute(readings, window_sizes_ms, merge, jobs, None if array is None else array.results)
    drawings, figures_dir = _drawings(results), experiment_dir / records.FIGURES_DIR
    with (
        Beside("the events of the page", partial(events.of, results)) as interactive,
        drawing.Drawing(drawings, figures_dir, width_in) as figures_drawn,
    ):
        numbers = results.as_statistics()
        claims = hypotheses.read()
        hypotheses.demand_topics(claims, numbers)
        judged = hypotheses.judge(claims, numbers, partial(rates_table.unit_of_rate, results.analyses))
        opening = openings.of(results, judged)
        paths = _write_statistics(results, numbers, judged, opening, experiment_dir)
        paths += [results.merged] if results.merged is not None else []
        figure_paths, errors = figures_drawn.finish()
        shown = interactive.result()
    captions = drawing.captions(drawings)
    paths += [*figure_paths, drawing.write_captions(captions, figures_dir)]
    text = latex.render(readings.run.name, _cited(results, numbers, judged), {**opening.tables, **results.texts()})
    paths.append(output.write_text(experiment_dir / latex.FILE, text))
    written = output.write_text(experiment_dir / records.REPORT_FILE, markdown.render(opening))
    rendered = run_page.render(opening, results, figures_drawn.within_page, captions, shown)
    page = output.write_text(experiment_dir / records.PAGE_FILE, rendered)
    errors += breaches(results.findings)
    sentence = verdict.of(results).sentence
    return Outcome(
        written,
        page,
        (*paths, written, page),
        headlines.of(results, judged),
        sentence,
        errors,
        summary.counted(results.findings)["error"],
    )


def draw(results: Results, directory: Path, width_in: float = style.PAGE_IN) -> tuple[list[Path], list[str]]:
    """Draw all figures as PNG and PDF, with their captions; return the paths, and why those that failed did."""
    drawings = _drawings(results)
    with drawing.Drawing(drawings, directory, width_in) as figures_drawn:
        paths, errors = figures_drawn.finish()
    return [*paths, drawing.write_captions(drawing.captions(drawings), directory)], errors


def _write_statistics(
    results: Results,
    numbers: dict[str, dict[str, Any]],
    judged: Sequence[Judged],
    opening: Opening,
    experiment_dir: Path,
) -> list[Path]:
    directory = experiment_dir / records.STATISTICS_DIR
    said = verdict.of(results)
    data = {
        **{analysis.file: numbers[analysis.name] for analysis in results.analyses},
        hypotheses.RESULTS_FILE: {"hypotheses": [judgement.as_dict() for judgement in judged]},
        VALIDITY_FILE: {"findings": [finding.as_dict() for finding in results.findings]},
        verdict.FILE: said.as_dict(),
        summary.SUMMARY_FILE: summary.summary(
            numbers, judged, results.findings, said, run_counts.of(results.table), opening.clocks
        ),
    }
    topics: list[Analysis | rates_table.Topic] = list(results.analyses)
    in_topics = dict(numbers)
    if (comparison := older_format.comparison(results.table.run)) is not None:
        data[PUBLISHED_FILE] = in_topics[rates_table.PUBLISHED.name] = comparison
        topics.append(rates_table.PUBLISHED)
    paths = [output.write_json(directory / name, content) for name, content in data.items()]
    table_of_rates = rates_table.as_csv(topics, in_topics)
    return [*paths, output.write_text(directory / rates_table.RATES_FILE, table_of_rates)]


def _cited(results: Results, numbers: dict[str, dict[str, Any]], judged: Sequence[Judged]) -> dict[str, Any]:
    """Return what a paper would cite: of every analysis what it says, the hypotheses, and how many findings."""
    cited = {analysis.name: latex.chosen(numbers[analysis.name], analysis.cited) for analysis in results.analyses}
    names = ("name", "threshold", "status", "reason", "measured")
    claims = [{name: judgement.as_dict()[name] for name in names} for judgement in judged]
    return {**cited, "hypotheses": claims, "findings": summary.counted(results.findings)}


def _drawings(results: Results) -> dict[str, Callable[[], Sheet]]:
    drawings: dict[str, Callable[[], Sheet]] = {
        analysis.figure: partial(analysis.draw, results.done[analysis.name])
        for analysis in results.analyses
        if analysis.draw is not None
    }
    return {**drawings, dashboard.FIGURE: partial(dashboard.draw, results.done)}
