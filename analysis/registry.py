"""The analyses of a run, in the order in which they are computed: each may use the results of those before it.

An analysis of your own is one module below ``analyses/`` and one line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.analyses import causality, clock_quality, commit_wait, coordination, ordering, reference, windows

if TYPE_CHECKING:
    from analysis.analyses.analysis import Analysis

ANALYSES: Final[tuple[Analysis, ...]] = (
    reference.ANALYSIS,
    clock_quality.ANALYSIS,
    clock_quality.AGAINST_TRUTH,
    causality.ANALYSIS,
    ordering.ANALYSIS,
    windows.ANALYSIS,
    coordination.ANALYSIS,
    commit_wait.ANALYSIS,
)
