"""``results/NAME.sweep/``: ``cells.csv`` in long form, ``means.csv``, a page, a report, ``results.tex``, a figure."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from analysis import output
from analysis.errors import AnalysisError, cause
from analysis.figures import dots, drawing, labels, style
from analysis.figures.sheet import Panel, Sheet
from analysis.pipeline import run_all
from analysis.report import latex, rates_table
from analysis.report.entries import entries
from analysis.report.page import document
from analysis.report.page.document import Part
from analysis.report.summary import SUMMARY_FILE
from analysis.sweep import runs as sweep_runs
from analysis.sweep.means import CLIPPED, HEADS, as_csv, grid, of_hypotheses, of_share, repeats_needed, without_number
from analysis.sweep.spread import pooled_deviation
from analysis.tables import Grid, between, number
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from analysis.sweep.means import Mean
    from analysis.sweep.runs import SweepRun

CELLS_FILE: Final = "cells.csv"
MEANS_FILE: Final = "means.csv"
REPORT_FILE: Final = "report.md"
PAGE_FILE: Final = "index.html"
LATEX_FILE: Final = "results.tex"
FIGURE: Final = "cells"
OWN_COLUMNS: Final = ("sweep", "cell", "repeat", "attempt")
INTRODUCTION: Final = (
    "{runs} runs of {cells} cells. The run is the unit: mean and Student's 95 % interval over runs. "
    f"*{CLIPPED}*: it would go on beyond what a share, or a difference of two, can be. All means: {MEANS_FILE}."
)
CELLS, VERDICTS, CLAIMS, LEFT_OUT = (
    "Cells", "Verdicts per cell", "What the hypotheses judge, per cell", "Attempts that do not count",
)  # fmt: skip
CLAIMS_NOTE: Final = (
    "Where a run has no such number, or too little evidence for it, *runs* says of how many the mean is."
)
HEADLINES: Final = ("violated_as_points", "violated_as_intervals", "proved")
Shares = dict[tuple[str, str], dict[str, list[float]]]  # by source and metric, by cell: one share a run


def write(
    results_dir: Path,
    sweep: str,
    width_in: float = style.PAGE_IN,
    say: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Analyse what is not analysed, write the sweep's folder and return its report. Raises AnalysisError.

    ``width_in`` is that of the figures. ``say`` is told of each run that was analysed.
    """
    found = sweep_runs.find(results_dir, sweep)
    counted = [run for run in found if run.counts]
    if not counted:
        raise AnalysisError(
            f"sweep {sweep}: expected a collected run that is ok, got none of {len(found)}; run it again"
        )
    left = [run for run in counted if not (run.path / records.STATISTICS_DIR / rates_table.RATES_FILE).is_file()]
    for place, run in enumerate(left, 1):
        run_all(run.path, width_in=width_in)
        say(f"analysed {run.path.name}, {place} of {len(left)}")
    folder = results_dir / f"{sweep}.sweep"
    output.write_text(folder / CELLS_FILE, _cells(sweep, counted))
    by_metric = shares(counted)
    verdicts, claimed = _means(by_metric, counted), of_hypotheses(counted)
    claims_note = CLAIMS_NOTE
    if silent := without_number(counted):
        claims_note += f" No run has one for {', '.join(silent)}."
    output.write_text(folder / MEANS_FILE, as_csv([*verdicts, *claimed]))
    tables = {"cells": grid(verdicts), "hypotheses": grid(claimed)}
    output.write_text(folder / LATEX_FILE, latex.render(sweep, {}, tables))
    sheet = figure(by_metric)
    _files, shown = drawing.write(sheet, folder / records.FIGURES_DIR, FIGURE, width_in)
    image = f"![Verdicts per cell]({records.FIGURES_DIR}/{FIGURE}.png)\n\n" if sheet.drawn else ""
    values = {run.cell: [str(value) for value in run.values.values()] for run in counted}
    cells = Grid.of(("cell", *counted[0].values), [(cell, *settings) for cell, settings in values.items()])
    left_out = Grid.of(
        ("run", "phase, outcome"), [(run.path.name, run.ending) for run in found if not run.counts], "None."
    )
    introduction = INTRODUCTION.format(runs=len(counted), cells=len(values))
    parts = [
        Part(CELLS, (), cells),
        Part(VERDICTS, (), tables["cells"], folded=True, figure=shown, caption=sheet.caption),
        Part(CLAIMS, (claims_note,), tables["hypotheses"], folded=True),
        Part(LEFT_OUT, (), left_out),
    ]
    if pages := tuple(_link(run) for run in counted if (run.path / records.PAGE_FILE).is_file()):
        parts.append(Part("The runs", (), links=pages))
    sentences = (introduction, *_ranges(verdicts), f"Attempts that do not count: {len(left_out.rows) or 'none'}.")
    output.write_text(folder / PAGE_FILE, document.render("Sweep", sweep, sentences, parts))
    text = [
        f"# Sweep {sweep}",
        introduction,
        cells.markdown,
        f"## {VERDICTS}",
        tables["cells"].markdown,
        f"{image}{sheet.caption}",
        f"## {CLAIMS}",
        claims_note,
        tables["hypotheses"].markdown,
        f"## {LEFT_OUT}",
        left_out.markdown,
    ]
    return output.write_text(folder / REPORT_FILE, "\n\n".join(text) + "\n")


def _ranges(means: Sequence[Mean]) -> list[str]:
    """Return, in a sentence per headline share, between which means the cells lie, source by source."""
    sentences = []
    for metric in dict.fromkeys(mean.metric for mean in means):
        parts = []
        for source in dict.fromkeys(mean.source for mean in means if mean.metric == metric):
            of_cells = [mean.over_runs.mean for mean in means if (mean.source, mean.metric) == (source, metric)]
            known = [value for value in of_cells if value is not None]
            if known:
                parts.append(f"{style.label(source)} {between(min(known), max(known), 2)} %")
        if parts:
            sentences.append(f"Of all cells, the mean share that was {metric.replace('_', ' ')}: {', '.join(parts)}.")
    return sentences


def _link(run: SweepRun) -> tuple[str, str]:
    """Return a run's name, and where its page is from the sweep's."""
    return run.path.name, f"../{quote(run.path.name)}/{records.PAGE_FILE}"


def shares(counted: Sequence[SweepRun]) -> Shares:
    """Return the headline shares of the runs that are analysed; one that a run cannot evaluate is not among them."""
    by_metric: Shares = defaultdict(lambda: defaultdict(list))
    for run in counted:
        file = run.path / records.STATISTICS_DIR / SUMMARY_FILE
        if not file.is_file():
            continue
        try:
            sources: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))["sources"]
        except (OSError, ValueError, KeyError) as error:
            raise AnalysisError(
                f"{file}: expected a run's summary, got: {cause(error)}; analyse the run again"
            ) from error
        for source, said in sources.items():
            for entry in entries(said):
                if entry.path[0] in HEADLINES and entry.value is not None:
                    by_metric[source, "/".join(entry.path)][run.cell].append(entry.value)
    return by_metric


def needed(results_dir: Path, sweep: str) -> Grid:
    """Return, per headline share of the runs analysed so far, the deviation found and how many runs it asks for."""
    rows = []
    for (source, metric), by_cell in shares([run for run in sweep_runs.find(results_dir, sweep) if run.counts]).items():
        if (deviation := pooled_deviation(list(by_cell.values()))) is not None:
            rows.append((source, metric, number(100 * deviation, 2), repeats_needed(100 * deviation)))
    return Grid.of(("source", "metric", "sd, points", HEADS[-1]), rows)


def _cells(sweep: str, counted: Sequence[SweepRun]) -> str:
    """Return every row of every run's rates, with the run's place in the sweep and its cell's values before it."""
    text = io.StringIO()
    paths = tuple(counted[0].values)
    writer = csv.DictWriter(text, (*OWN_COLUMNS, *paths, *rates_table.COLUMNS), restval="", lineterminator="\n")
    writer.writeheader()
    for run in counted:
        own = dict(zip(OWN_COLUMNS, (sweep, run.cell, run.repeat, run.attempt), strict=True))
        file = run.path / records.STATISTICS_DIR / rates_table.RATES_FILE
        with file.open(encoding="utf-8", newline="") as rates:
            for row in csv.DictReader(rates):
                if unknown := set(row) - set(rates_table.COLUMNS):
                    told = f"expected the columns of this version, got {', '.join(map(str, unknown))}"
                    raise AnalysisError(f"{file}: {told}; analyse the run again")
                writer.writerow(own | dict(run.values) | row)
    return text.getvalue()


def _means(by_metric: Shares, counted: Sequence[SweepRun]) -> list[Mean]:
    """Return the means of the headline shares, in percent."""
    of_cell = Counter(run.cell for run in counted)
    return [
        of_share(cell, source, metric, of_cell[cell], [100 * value for value in values])
        for (source, metric), by_cell in sorted(by_metric.items())
        for cell, values in by_cell.items()
    ]


def figure(by_metric: Shares) -> Sheet:
    """Return the figure of each run's headline shares by cell: a panel per metric that any run has, a dot per run."""
    panels = [_panel(name, by_metric) for name in HEADLINES if any(metric == name for _, metric in by_metric)]
    nothing = Panel("Shares", "no run has a share that could be judged")
    return Sheet("Verdicts per cell", tuple(panels) or (nothing,), "A dot per run; strokes: means of the cells")


def _panel(metric: str, by_metric: Shares) -> Panel:
    title = metric.replace("_", " ").capitalize()
    sources = {source: by_cell for (source, name), by_cell in by_metric.items() if name == metric}
    cells = sorted({cell for by_cell in by_metric.values() for cell in by_cell})
    runs = {source: sum(map(len, by_cell.values())) for source, by_cell in sources.items()}
    says = f"share per run; {', '.join(f'{style.label(source)} {count} runs' for source, count in runs.items())}"
    values = {value for by_cell in sources.values() for shares_of in by_cell.values() for value in shares_of}
    if len(values) == 1:
        of = ", ".join(style.label(source) for source in sources)
        return Panel(title, says, line=f"{100 * values.pop():g} % in every run for {of}")

    def draw(axes: Axes) -> None:
        for place, (source, by_cell) in enumerate(sources.items()):
            aside = 0.6 * (place + 0.5) / len(sources) - 0.3
            runs_at = [(cells.index(cell) + aside, 100 * value) for cell in cells for value in by_cell.get(cell, ())]
            means = [
                (cells.index(cell) + aside, 100 * statistics.fmean(by_cell[cell])) for cell in cells if cell in by_cell
            ]
            looks: dict[str, Any] = {"color": style.colour(source), "clip_on": False}
            axes.plot(*zip(*runs_at, strict=True), ".", markersize=4, **looks)
            axes.plot(*zip(*means, strict=True), "_", markersize=9, **looks)  # cells have no order: no line joins them
            labels.at_end(axes, style.label(source), means[-1][1], style.colour(source))
        axes.set_xticks(range(len(cells)), cells)
        axes.set_xlim(-0.5, len(cells) - 0.5)
        axes.set_xlabel("cell")
        dots.percent_axis(axes, "share (%)", upright=True)

    return Panel(title, says, draw, whole=True, group=FIGURE)
