"""The whole analysis of a run without events: statistics, figures, report, and a table of headlines.

Like that of a run with events it replaces only what analysis wrote, each file atomically, with the same bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analysis import output
from analysis.analyses import reference as reference_analysis
from analysis.by_event.readings import table
from analysis.checks.validate import breaches
from analysis.figures import drawing, style
from analysis.outcome import HeadlineTable, Outcome
from analysis.report import rates_table
from analysis.run import series
from analysis.series import agreement_figure, analyses, page, report, standards, tables, timeline
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from analysis.analyses.analysis import Results
    from analysis.figures.sheet import Sheet

VALIDITY_FILE: Final = "validity_findings.json"
SUMMARY_FILE: Final = "overall_summary.json"
VERDICT_FILE: Final = "verdict.json"
BESIDE_REFERENCE: Final = "Offsets beside the reference by probes"
RELATIVE: Final = "offset − that of the first"  # noqa: RUF001 - a minus sign
HEADLINES: Final = ("source", "node", "readings", "over", "offset, median (ms)", "half-width, median (ms)")


def run_all(experiment_dir: Path, width_in: float = style.PAGE_IN) -> Outcome:
    """Analyse a run folder without events completely. Raises AnalysisError where it cannot; prints nothing."""
    results = analyses.compute(table(series.load(experiment_dir)))
    numbers = results.as_statistics()
    said = report.sentence(results)
    drawings, figures_dir = _drawings(results), experiment_dir / records.FIGURES_DIR
    with drawing.Drawing(drawings, figures_dir, width_in) as figures:
        paths = list(_write_statistics(results, numbers, said, experiment_dir / records.STATISTICS_DIR))
        figure_paths, errors = figures.finish()
    captions = drawing.captions(drawings)
    paths += [*figure_paths, drawing.write_captions(captions, figures_dir)]
    written = output.write_text(experiment_dir / records.REPORT_FILE, report.render(results, said))
    shown = page.render(results, said, figures.within_page, captions)
    on_page = output.write_text(experiment_dir / records.PAGE_FILE, shown)
    errors += breaches(results.findings)
    wrong = sum(finding.severity == "error" for finding in results.findings)
    return Outcome(written, on_page, (*paths, written, on_page), _headlines(results), said, errors, wrong)


def _write_statistics(results: Results, numbers: dict[str, Any], said: str, directory: Path) -> Iterator[Path]:
    severities = [finding.severity for finding in results.findings]
    findings = [finding.as_dict() for finding in results.findings]
    run = results.table.run
    summary = {
        "kind": run.manifest.kind,
        "verdict": said,
        "findings": {kind: severities.count(kind) for kind in ("error", "warning", "note")},
        "nodes": {node: int(stamps.known.sum()) for node, stamps in results.table.stamps.items()},
        "coverage": analyses.QUALITY in results.analyses,
        "found": findings,
    }
    for analysis in results.analyses:
        yield output.write_json(directory / analysis.file, numbers[analysis.name])
    yield output.write_json(directory / VALIDITY_FILE, {"findings": findings})
    yield output.write_json(directory / VERDICT_FILE, {"sentence": said})
    yield output.write_json(directory / SUMMARY_FILE, summary)
    yield output.write_text(directory / rates_table.RATES_FILE, rates_table.as_csv(results.analyses, numbers))


def _drawings(results: Results) -> dict[str, Callable[[], Sheet]]:
    """Return what is drawn; of a figure that has nothing to show the report says why."""
    courses, found = analyses.courses_of(results), analyses.agreement_of(results)
    drawings: dict[str, Callable[[], Sheet]] = {
        timeline.FIGURE: partial(timeline.draw, courses.courses, courses.truths)
    }
    if any(pair.count for pair in found.pairs):
        drawings[agreement_figure.FIGURE] = partial(agreement_figure.draw, courses.courses, found)
    if courses.differences:
        drawings[standards.FIGURE] = partial(
            timeline.draw, courses.differences, courses.by_probes, BESIDE_REFERENCE, RELATIVE
        )
    for analysis in (analyses.QUALITY, reference_analysis.ANALYSIS):
        if analysis in results.analyses and analysis.draw is not None:
            drawings[analysis.figure] = partial(analysis.draw, results.done[analysis.name])
    return drawings


def _headlines(results: Results) -> HeadlineTable:
    rows = tables.headlines(analyses.courses_of(results).courses)
    return HeadlineTable(
        f"{results.table.run.name}: {results.table.run.manifest.kind} of clocks", list(HEADLINES), rows
    )
