"""Which runs a name means, and the numbers of each: of the hypotheses, and of ``overall_summary.json``."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.errors import AnalysisError, NoSuchRun, UsageError, candidates
from analysis.report import hypotheses, rates_table, summary
from analysis.run import load
from analysis.stats.rates import is_rate
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PERCENT: Final = "%"
SUMMARY: Final = "summary/"  # what the metrics of overall_summary.json begin with; those of hypotheses are their names
ROUNDS: Final = "rounds per decision"
_PARTS: Final = ("received", "sources", "reference")  # of the summary: what is a measurement
_DONE: Final = frozenset({records.RUN_OK, records.RUN_DEGRADED})


@dataclass(frozen=True)
class Number:
    """One metric of one run: its value with the run's own 95 % interval, or ``reason`` why there is none.

    ``of`` is which number of the statistics a hypothesis asked for when the run was analysed, "" for the summary's.
    """

    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    reason: str = ""
    of: str = ""


@dataclass(frozen=True)
class MeasuredRun:
    """A run and its numbers by metric; ``cell`` and ``repeat`` where it is part of a sweep."""

    name: str
    manifest: records.Manifest
    numbers: Mapping[str, Number]
    cell: str = ""
    repeat: str = ""


def read(text: str, results_dir: Path) -> tuple[list[MeasuredRun], list[str]]:
    """Return the runs that a text means, and a note on each that is left out.

    It is a list, with commas, of experiments, paths, patterns (``night.c001.*``), sweeps (``night``) and cells of them
    (``night.c001``). Of a run that was repeated (``.a2``) the last attempt that is done counts. Raises NoSuchRun,
    UsageError for a run named twice and for one that was not analysed, AnalysisError for one of another version.
    """
    folders: dict[str, Path] = {}
    for part in text.split(","):
        for path in _folders(part.strip(), results_dir):
            if path.name in folders:
                raise UsageError(f"{text}: expected each run once, got {path.name} twice")
            folders[path.name] = path
    manifests = {name: load.read_manifest(path) for name, path in folders.items()}
    undone = {name for name, told in manifests.items() if told.outcome is not None and told.outcome not in _DONE}
    notes = [f"{name} is left out: its outcome is {manifests[name].outcome}" for name in folders if name in undone]
    kept, earlier = _last_attempts([name for name in folders if name not in undone])
    if not kept:
        raise NoSuchRun(f"{text}: expected a run to compare, got none; {'; '.join(notes)}")
    claims = {claim.name: claim for claim in hypotheses.read()}
    measured = []
    for name in kept:
        place = records.SWEEP_RUN.fullmatch(name)
        of = (place["cell"], place["repeat"]) if place else ("", "")
        measured.append(MeasuredRun(name, manifests[name], numbers_of(folders[name], claims), *of))
    return measured, [*notes, *earlier]


def _folders(name: str, results_dir: Path) -> list[Path]:
    if not name:
        raise UsageError("expected names with commas between them, got an empty one")
    if "/" in name or (results_dir / name / records.MANIFEST_FILE).is_file():
        return [load.resolve(name, results_dir)]
    known = load.experiments(results_dir)
    found = [known_name for known_name in known if fnmatch.fnmatchcase(known_name, name)] if _is_pattern(name) else []
    cells = {
        known_name: (place["sweep"], f"{place['sweep']}.c{place['cell']}")
        for known_name in known
        if (place := records.SWEEP_RUN.fullmatch(known_name))
    }
    if not _is_pattern(name):
        found = [known_name for known_name, names in cells.items() if name in names]
    if found:
        return [results_dir / known_name for known_name in found]
    if own := sorted({cell for sweep, cell in cells.values() if name.rpartition(".c")[0] == sweep}):
        raise NoSuchRun(f"{name}: expected a cell of a sweep, got one without runs; there are {candidates(name, own)}")
    if _is_pattern(name):
        raise NoSuchRun(f"{name}: expected runs in {results_dir}/ that fit, got none of {len(known)}")
    return [load.resolve(name, results_dir)]  # which says what is there


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def _last_attempts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names without the earlier attempts at runs of sweeps, and a note on each of these."""
    attempts: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        place = records.SWEEP_RUN.fullmatch(name)
        first, attempt = (place["first"], int(place["attempt"] or 1)) if place else (name, 1)
        attempts.setdefault(first, []).append((attempt, name))
    last = {max(made)[1]: sorted(made)[:-1] for made in attempts.values()}
    notes = [f"{name} is left out: {latest} took its place" for latest, made in last.items() for _, name in made]
    return [name for name in names if name in last], notes


def numbers_of(path: Path, claims: Mapping[str, hypotheses.Hypothesis]) -> dict[str, Number]:
    """Return a run's numbers by metric.

    Raises UsageError for a run that is not analysed, AnalysisError for one that is damaged. ``claims`` are the
    hypotheses of today by name: statistics of earlier versions do not say their units.
    """
    try:
        return dict(_numbers(path, claims))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"expected statistics of this version, got {type(error).__name__}: {error}; analyse it again"
        raise AnalysisError(f"{path}: {told}") from error


def _numbers(path: Path, claims: Mapping[str, hypotheses.Hypothesis]) -> Iterator[tuple[str, Number]]:
    for judged in _json(path, hypotheses.RESULTS_FILE)["hypotheses"]:
        claim = claims.get(judged["name"])
        # Statistics of earlier versions do not say their unit; the hypotheses of today may be others, or say none.
        unit = judged.get("unit", claim.unit if claim else "")
        low, high = judged.get("interval") or (None, None)
        missing = judged["status"] == hypotheses.NOT_EVALUABLE or judged["value"] is None
        yield (
            judged["name"],
            Number(
                None if missing else float(judged["value"]),
                _unit(unit),
                low,
                high,
                reason=(judged["reason"] or judged["measured"]) if missing else "",
                of=judged.get("metric", ""),
            ),
        )
    told = _json(path, summary.SUMMARY_FILE)
    for part in _PARTS:
        yield from _of(f"{SUMMARY}{part}", told.get(part))


def _unit(words: str) -> str:
    """Return the unit that a hypothesis' own words for it begin with; the words where it is none that is known."""
    known = (unit for unit in (PERCENT, *rates_table.UNITS.values()) if f"{words} ".startswith(f"{unit} "))
    return next(known, words)


def _of(metric: str, data: Any) -> Iterator[tuple[str, Number]]:
    """Yield what is a number in a part of the summary: rates, and numbers whose key ends with a unit."""
    if is_rate(data):
        unit = ROUNDS if "/rounds_per_decision/" in metric else PERCENT
        low, high = data["interval"] or (None, None)
        yield metric, Number(data["value"], unit, low, high, "" if data["value"] is not None else data["method"])
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _of(f"{metric}/{key}", value)
    elif isinstance(data, (int, float, type(None))) and not isinstance(data, bool):
        word = metric.rpartition("_")[2]
        if word in rates_table.UNITS:
            reason = "" if data is not None else "no such number in this run"
            yield metric, Number(data, rates_table.UNITS[word], reason=reason)


def _named(path: Path) -> str:
    """Return how a command line names a run: by its name where it is among the results, else by its path."""
    return path.name if path.parent == load.RESULTS_DIR else str(path)


def _json(path: Path, name: str) -> dict[str, Any]:
    file = path / records.STATISTICS_DIR / name
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if (kind := load.read_manifest(path).kind) != records.EXPERIMENT:
            got = f"got a {kind} of clocks, which no hypothesis is about"
            raise UsageError(f"{path}: expected a run with events to compare, {got}") from error
        advice = f"analyse it first: uv run invoke analyze --experiment {_named(path)}"
        raise UsageError(f"{path}: expected a run that is analysed, got one without {name}; {advice}") from error
    except OSError as error:
        raise AnalysisError(f"{file}: expected statistics of the run, got: {error.strerror}") from error
    except ValueError as error:
        raise AnalysisError(f"{file}: expected JSON, got: {' '.join(str(error).split())}; analyse it again") from error
    return data
