"""All results of one run together: what the figures, the statistics and the report are made from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis import reference
from analysis.analyses.analysis import Context
from analysis.checks import validity
from analysis.questions import judges
from analysis.questions.remeasurement import Remeasured
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.registry import ANALYSES
from analysis.second_process import Beside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.analyses.analysis import Analysis
    from analysis.checks.finding import Finding
    from analysis.run.readings import Table


@dataclass(frozen=True)
class Results:
    """Everything computed from one run: the result of every analysis by its name, and what the checks found."""

    table: Table
    done: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        """Return the analyses, in order."""
        return ANALYSES

    def as_statistics(self) -> dict[str, dict[str, Any]]:
        """Return the statistics by topic, as the hypotheses' metrics name them."""
        return {analysis.name: analysis.statistics(self.done[analysis.name]) for analysis in ANALYSES}

    def texts(self) -> dict[str, str]:
        """Return the tables of all analyses, and the words between them, by name."""
        return {name: text for analysis in ANALYSES for name, text in analysis.texts(self.done).items()}


def compute(readings: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Results:
    """Compute everything about a run, each thing once; what takes long beside the rest, in a second process."""
    done: dict[str, Any] = {}
    remeasured = Remeasured(readings)  # first: the longest files take most memory, and the checks want them read here
    given = _context(readings, window_sizes_ms, done, remeasured)
    with ExitStack() as stack:
        beside = {
            analysis.name: stack.enter_context(Beside(analysis.title.lower(), partial(analysis.compute, given)))
            for analysis in ANALYSES
            if analysis.takes_long
        }
        for analysis in ANALYSES:
            if not analysis.takes_long:
                done[analysis.name] = analysis.compute(given)
        findings = tuple(validity.find(readings.run, window_sizes_ms, given.reference))
        done |= {name: waited.result() for name, waited in beside.items()}
    return Results(readings, done, findings)


def only(analysis: Analysis, readings: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Any:
    """Return the result of one analysis, and compute no others than it needs."""
    done: dict[str, Any] = {}
    given = _context(readings, window_sizes_ms, done)
    for needed in analysis.needs:
        done[needed.name] = needed.compute(given)
    return analysis.compute(given)


def _context(
    readings: Table, window_sizes_ms: Sequence[int], done: Mapping[str, Any], remeasured: Remeasured | None = None
) -> Context:
    built = reference.build(readings.run)
    return Context(readings, built, judges.of(readings, built), window_sizes_ms, done, remeasured)
