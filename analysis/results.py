"""All typed results of one run together: what the figures, the statistics and the report are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analysis import reference
from analysis.checks import validity
from analysis.clocks import quality
from analysis.questions import causality as causality_analysis
from analysis.questions import commit_wait, judges
from analysis.questions import coordination as coordination_cost
from analysis.questions import ordering as ordering_consensus
from analysis.questions import windows as window_assignment
from analysis.questions.remeasurement import Remeasured
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.second_process import Beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.checks.finding import Finding
    from analysis.run.readings import Table

REFERENCE_FILE: Final = "reference_stats.json"


@dataclass(frozen=True)
class Results:
    """Everything computed from one run."""

    table: Table
    reference: reference.Reference
    causality: causality_analysis.Causality
    ordering: ordering_consensus.Ordering
    windows: window_assignment.Windows
    coordination: coordination_cost.Coordination
    commit_wait: commit_wait.CommitWait
    clocks: quality.ClockQuality
    findings: tuple[Finding, ...]

    def as_statistics(self) -> dict[str, dict[str, Any]]:
        """Return the statistics by topic, as the hypotheses' metrics name them."""
        return {
            "reference": self.reference.as_statistics(),
            "causality": self.causality.as_statistics(),
            "ordering": self.ordering.as_statistics(),
            "windows": self.windows.as_statistics(),
            "coordination": self.coordination.as_statistics(),
            "commit_wait": self.commit_wait.as_statistics(),
            "clock_quality": self.clocks.as_statistics(),
            "clock_truth": self.clocks.against_truth(),
        }


FILES: Final = {
    "reference": REFERENCE_FILE,
    "causality": causality_analysis.STATISTICS_FILE,
    "ordering": ordering_consensus.STATISTICS_FILE,
    "windows": window_assignment.STATISTICS_FILE,
    "coordination": coordination_cost.STATISTICS_FILE,
    "commit_wait": commit_wait.STATISTICS_FILE,
    "clock_quality": quality.STATISTICS_FILE,
    "clock_truth": quality.TRUTH_FILE,
}


def compute(readings: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Results:
    """Compute everything about a run, each thing once."""
    remeasured = Remeasured(readings)  # first: reading the longest files takes most memory, the reference comes next
    built = reference.build(readings.run)
    known = judges.of(readings, built)
    waiting = partial(commit_wait.compute, readings, window_sizes_ms, known, remeasured)
    with Beside("commit-wait", waiting) as waited:  # as long as all others together
        causality = causality_analysis.compute(readings, known)
        ordering = ordering_consensus.compute(readings, known)
        windows = window_assignment.compute(readings, window_sizes_ms, known)
        return Results(
            table=readings,
            reference=built,
            causality=causality,
            ordering=ordering,
            windows=windows,
            coordination=coordination_cost.compute(readings, causality, ordering, windows),
            clocks=quality.compute(readings, known[0].flights if built.evaluable else None),
            findings=tuple(validity.find(readings.run, window_sizes_ms, built)),
            commit_wait=waited.result(),
        )
