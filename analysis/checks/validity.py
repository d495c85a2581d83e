"""What is wrong with a run's data, found in the data: each finding names where, how often, and what it means.

Findings never change a verdict or drop a row. They say which numbers of the report a careful reader should not lean on.
A detector is a generator of findings over the run's frames as written; it computes, it knows no run by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks import integrity
from analysis.checks.data import datagrams, drift, events, readings, samples, scopes, serving, wall_clocks, windows
from analysis.checks.finding import Finding
from analysis.questions.windows import WINDOW_SIZES_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.reference import Reference
    from analysis.run.load import Run

__all__ = ["Finding", "find"]

ORDER: Final = {"error": 0, "warning": 1, "note": 2}
DETECTORS: Final = (
    integrity,
    events,
    datagrams,
    readings,
    samples,
    scopes,
    serving,
    wall_clocks,
)


def find(
    run: Run, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS, reference: Reference | None = None
) -> list[Finding]:
    """Return what is wrong with the run's data, worst first. An empty list: no detector found anything.

    ``window_sizes_ms``: the widths of the windows that are judged, which the sending schedule may not suit.
    ``reference``: what the probes say, where it was built.
    """
    found = [one for detectors in DETECTORS for one in detectors.find(run)]
    found += windows.find(run, window_sizes_ms)
    found += drift.find(run, reference)
    return sorted(found, key=lambda finding: ORDER[finding.severity])
