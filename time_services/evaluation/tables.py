"""The tables of the models: as text, as JSON, and written into METHODOLOGY."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from time_services.evaluation.scores import BASELINES, WARM_UP, Score, evaluate
from time_services.evaluation.series import Series, SeriesError, read_series, thinned
from time_services.evaluation.simulated import ASYMMETRIC, SYMMETRIC, Cell, judge, settings, simulate
from time_services.models import DEFAULT, MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Scores = Mapping[str, Mapping[str, Score]]

SIMULATED: Final = "simulated"
BEGIN: Final = "<!-- made by invoke calibrate-models: begin -->"
END: Final = "<!-- made by invoke calibrate-models: end -->"
COLUMNS: Final = tuple(Score.__dataclass_fields__)
LEGEND: Final = (
    f"n: samples foretold, each from all before it ({WARM_UP} at least); unavailable: those for which the model had no "
    "number; restarts: how often it took the clock for set; cover: the share within 1 or 3 sigma, the sample's noise "
    "included"
)
ENOUGH: Final = 20  # settings that have to be met, of 24


def chosen_models(name: str) -> tuple[str, ...]:
    """Return the models that ``name`` names: all of them for "". Raises SeriesError."""
    if name and name not in MODELS:
        raise SeriesError(f"--model: expected one of {', '.join(MODELS)}, got {name!r}")
    return (name,) if name else tuple(MODELS)


def load_series(named: Sequence[str], cadence_s: float) -> list[Series]:
    """Read the named files; "simulated" is every simulated setting of one seed. Raises SeriesError."""
    loaded: list[Series] = []
    for name in named:
        if name == SIMULATED:
            loaded += [
                Series(
                    f"{s.path.name} {s.walk_per_s:g}/s every {s.interval_s:g} s",
                    thinned(simulate(s, 0).samples, cadence_s),
                )
                for s in settings(SYMMETRIC)
            ]
        else:
            loaded.append(read_series(Path(name), cadence_s))
    names = [series.name for series in loaded]
    for series in loaded:
        if (count := len(series.samples)) <= WARM_UP:
            why = f", at most one every {cadence_s:g} s" if cadence_s else ""
            raise SeriesError(f"{series.name}: expected more than {WARM_UP} samples to foretell one, got {count}{why}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SeriesError(f"--series: {', '.join(twice)} is named twice; give every file a name of its own")
    return loaded


def scores_of(loaded: Sequence[Series], models: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Return {series: {model or baseline: score}}."""
    return {series.name: evaluate(series.samples, models) for series in loaded}


def as_json(scores: Scores) -> str:
    """Return {series: {model: {n, unavailable, restarts, mae_ms, ...}}}; null where there is no figure."""
    return json.dumps({s: {m: asdict(score) for m, score in of.items()} for s, of in scores.items()}, indent=1)


def series_table(scores: Scores) -> str:
    """Return the scores as a Markdown table."""
    lines = ["| series | model | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for series, of in scores.items():
        for model, score in of.items():
            figures = [_figure(getattr(score, column)) for column in COLUMNS]
            lines.append(f"| {series} | {model} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def cells(seeds: int, say: Callable[[str], None], model: str = DEFAULT) -> tuple[list[Cell], list[Cell]]:
    """Judge the model in every setting, on symmetric and on asymmetric paths."""
    judged: list[list[Cell]] = []
    for paths in (SYMMETRIC, ASYMMETRIC):
        judged.append([])
        for setting in settings(paths):
            judged[-1].append(judge(setting, model, seeds))
            say(_cell_row(judged[-1][-1]))
    return judged[0], judged[1]


def document(symmetric: Sequence[Cell], asymmetric: Sequence[Cell], scores: Scores, seeds: int) -> str:
    """Return what METHODOLOGY says of the models."""
    met = sum(cell.met for cell in symmetric)
    exceptions = ", ".join(_name(cell) for cell in symmetric if not cell.met) or "none"
    head = "| path | random walk, 1/s | NTP every, s | RMS, us | / tuned | sigma, us | 1 sigma | 3 sigma "
    head += "| 3 sigma + asymmetry | unavailable |"
    said = (
        f"`{DEFAULT}`, simulated nodes, {seeds} seeds that it was not developed on, asked between the samples, against "
        "the truth. RMS at most 1.3 of the tuned filter's, 1 sigma covering 60 to 80 %, 3 sigma at least 98.5 %: "
        f"met in {met} of {len(symmetric)} settings; exceptions: {exceptions}."
    )
    lines = [
        said,
        "",
        head,
        "|---" * 10 + "|",
        *map(_cell_row, symmetric),
        "",
        "The same on asymmetric paths, where the bias of the path is asymmetry and not sigma:",
        "",
        head,
        "|---" * 10 + "|",
        *map(_cell_row, asymmetric),
    ]
    if scores:
        lines += ["", "Recorded series, one step ahead:", "", series_table(scores)]
    return "\n".join(lines)


def written_into(text: str, tables: str) -> str:
    """Return a document with what stands between its marks replaced. Raises SeriesError where it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SeriesError(f"expected the marks {BEGIN} and {END} in the document, found none; put them back")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def unmet(symmetric: Sequence[Cell], asymmetric: Sequence[Cell], scores: Scores) -> list[str]:
    """Return what is promised and was not reached, a line each."""
    short = []
    if (met := sum(cell.met for cell in symmetric)) < ENOUGH:
        short.append(f"settings: RMS and coverage as promised in {met} of {len(symmetric)}, expected {ENOUGH}")
    short += [f"{_name(cell)}: RMS {_ratio(cell)} of the tuned" for cell in symmetric if _ratio(cell) > 1.3]
    short += [f"{_name(c)}: {c.cover_3s_asymmetry:.3f} held" for c in asymmetric if c.cover_3s_asymmetry < 0.99]
    for series, of in scores.items():
        best = min(of[name].mae_ms or 0.0 for name in BASELINES)
        if DEFAULT in of and (of[DEFAULT].mae_ms is None or (of[DEFAULT].mae_ms or 0.0) > 1.1 * best):
            short.append(f"{series}: MAE {_figure(of[DEFAULT].mae_ms)} ms, the best baseline's is {_figure(best)} ms")
    return short


def _ratio(cell: Cell) -> float:
    return round(cell.rms_ms / cell.tuned_rms_ms, 3)


def _name(cell: Cell) -> str:
    setting = cell.setting
    return f"{setting.path.name} {setting.walk_per_s:g}/s every {setting.interval_s:g} s"


def _cell_row(cell: Cell) -> str:
    setting = cell.setting
    return (
        f"| {setting.path.name} | {setting.walk_per_s:g} | {setting.interval_s:g} | {cell.rms_ms * 1e3:.1f} "
        f"| {_ratio(cell):.2f} | {cell.sigma_ms * 1e3:.1f} | {cell.cover_1s:.3f} | {cell.cover_3s:.3f} "
        f"| {cell.cover_3s_asymmetry:.3f} | {cell.unavailable} |"
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
