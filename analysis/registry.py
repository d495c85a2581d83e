"""The analyses of a run, in the order in which they are computed: each may use the results of those before it.

An analysis of your own is one module below ``analyses/`` and one line here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analysis import reference as reference_by_probes
from analysis.analyses import (
    causality,
    clock_quality,
    commit_wait,
    coordination,
    ordering,
    reference,
    timeline,
    windows,
)
from analysis.analyses.analysis import Analysis, Context, Results
from analysis.checks import validity
from analysis.questions import judges
from analysis.questions.answers import added
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.run import csv_tables
from analysis.second_process import Beside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.checks.finding import Finding
    from analysis.run.table import Table

ANALYSES: Final[tuple[Analysis, ...]] = (
    reference.ANALYSIS,
    clock_quality.ANALYSIS,
    clock_quality.AGAINST_TRUTH,
    timeline.ANALYSIS,
    causality.ANALYSIS,
    ordering.ANALYSIS,
    windows.ANALYSIS,
    coordination.ANALYSIS,
    commit_wait.ANALYSIS,
)


def compute(readings: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Results:
    """Compute everything about a run, each thing once; what takes long beside the rest, in a second process."""
    done: dict[str, Any] = {}
    given = _context(readings, window_sizes_ms, done)
    with Beside("commit-wait and the checks", partial(_beside, given), later=not readings.in_memory) as beside:
        for analysis in ANALYSES:
            if analysis.count is not None and analysis.name not in given.counted:
                _count(given, ANALYSES)  # of all of them in one go, and only now: counts of a long run are large
            if not analysis.takes_long:
                done[analysis.name] = analysis.compute(given)
            given.counted.pop(analysis.name, None)
        long, findings = beside.result()
    return Results(readings, ANALYSES, done | long, findings)


def _beside(given: Context) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Compute the analyses that take long and need no other, and then what is wrong with the run.

    Checksums are of files that were read here: those of ``commit_wait.csv``, the longest, are read by its analysis.
    """
    long = {analysis.name: analysis.compute(given) for analysis in ANALYSES if analysis.takes_long}
    return long, tuple(validity.find(given.table.run, given.window_sizes_ms, given.reference, given.table))


def only(analysis: Analysis, readings: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Any:
    """Return the result of one analysis, and compute no others than it needs."""
    done: dict[str, Any] = {}
    given = _context(readings, window_sizes_ms, done)
    needed = [other for other in ANALYSES if other.name in analysis.needs]
    _count(given, [*needed, analysis])
    for other in needed:
        done[other.name] = other.compute(given)
    return analysis.compute(given)


def _count(given: Context, analyses: Sequence[Analysis]) -> None:
    """Count the decisions of all parts of a run, for some analyses."""
    counting = {analysis.name: analysis.count for analysis in analyses if analysis.count is not None}
    for part in given.parts() if counting else ():
        for name, count in counting.items():
            counted = count(part)
            given.counted[name] = added(given.counted[name], counted) if name in given.counted else counted


def _context(readings: Table, window_sizes_ms: Sequence[int], done: Mapping[str, Any]) -> Context:
    built = reference_by_probes.build(readings.run)
    csv_tables.release_memory()
    return Context(readings, built, judges.of(readings, built), window_sizes_ms, done)
