"""What is wrong with a run: one list of checks, read by the report and by `invoke validate` alike.

Findings never change a verdict or drop a row. They say which numbers of the report a careful reader should not lean on.
A check is a generator of findings; it computes, it knows no run by name. Of a loaded run it looks at what was loaded;
of a folder (``validate``) at every file, and at what is left of one that is damaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks import events, probes, readings, replay, samples, windows
from analysis.checks.clocks import drift, independence, polling_phase, truth_missed, wall_clocks, wall_offsets
from analysis.checks.files import integrity, manifest, tables, ties
from analysis.checks.finding import ERROR, NOTE, WARNING, Finding, error, one_line
from analysis.checks.subject import UNFIT, of_run
from analysis.questions.windows import WINDOW_SIZES_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from analysis.checks.subject import Subject
    from analysis.clocks.quality import ClockQuality
    from analysis.reference import Reference
    from analysis.run.load import Run

__all__ = ["Finding", "find", "of"]

HEAD: Final = independence.CODES | {
    polling_phase.CODE,
    wall_offsets.CODE,
    truth_missed.LEVEL_CODE,
}  # what a report says at once, before any number
ORDER: Final = {ERROR: 0, WARNING: 1, NOTE: 2}


def of(subject: Subject) -> list[Finding]:
    """Return what is wrong, worst first. An empty list: no check found anything."""
    return _worst_first(_found(subject, *OF_CLOCKS))


def find(
    run: Run, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS, reference: Reference | None = None
) -> list[Finding]:
    """Return what is wrong with a loaded run, worst first; no table is read for it.

    What the quality of its clocks tells is not among it: that was judged already (see ``with_clocks``).
    ``window_sizes_ms``: the widths of the windows that are judged, which the sending schedule may not suit.
    ``reference``: what the probes say, where it was built.
    """
    return _worst_first(_found(of_run(run, window_sizes_ms, reference)))


def with_clocks(findings: Iterable[Finding], quality: ClockQuality) -> tuple[Finding, ...]:
    """Return findings and, among them, what the quality of the run's clocks tells, worst first."""
    return tuple(_worst_first([*findings, *truth_missed.among(clock.misses for clock in quality.by_node)]))


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: ORDER[finding.severity])


def _found(subject: Subject, *more: Callable[[Subject], Iterator[Finding]]) -> list[Finding]:
    checks = CHECKS if subject.has_events else CHECKS_WITHOUT_EVENTS
    findings = [finding for check in (*checks, *more) for finding in _made(check, subject)]
    return findings + [error("unreadable", file, why) for file, why in subject.unreadable.items()]


def _made(check: Callable[[Subject], Iterator[Finding]], subject: Subject) -> Iterator[Finding]:
    """Yield what a check finds; where the files are too damaged for it, that is what it finds."""
    try:
        yield from check(subject)
    except UNFIT as failure:
        name = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
        yield error("unfit", "", f"what is there cannot be checked ({name}): {one_line(failure)}")


def _of_run(find_in: Callable[..., Iterator[Finding]], *given: str) -> Callable[[Subject], Iterator[Finding]]:
    """Return a check of loaded data as one of a folder, of which it says nothing where that cannot be loaded.

    ``given``: what else of the subject it is told.
    """

    def check(subject: Subject) -> Iterator[Finding]:
        if subject.run is not None:
            yield from find_in(subject.run, *(getattr(subject, name) for name in given))

    check.__module__, check.__name__ = find_in.__module__, find_in.__name__
    return check


CHECKS: Final = (
    manifest.find,
    integrity.find,
    tables.find,
    manifest.agents,
    probes.find,
    samples.about,
    ties.find,
    events.find,
    replay.check,
    _of_run(events.delays),
    _of_run(events.origins),
    _of_run(manifest.datagrams),
    _of_run(readings.find),
    _of_run(samples.find),
    _of_run(wall_clocks.find),
    _of_run(wall_offsets.find, "reference"),
    _of_run(independence.find),
    _of_run(windows.find, "window_sizes_ms"),
    _of_run(drift.find, "reference"),
)
CHECKS_WITHOUT_EVENTS: Final = (
    manifest.find,
    integrity.find,
    tables.find,
    manifest.agents,
    probes.find,
    samples.about,
    ties.find,
    replay.check,
    _of_run(readings.find),
    _of_run(samples.find),
    _of_run(wall_clocks.find),
    _of_run(wall_offsets.find, "reference"),
    _of_run(independence.find),
    _of_run(polling_phase.find),
    _of_run(drift.find, "reference"),
)
OF_CLOCKS: Final = (_of_run(truth_missed.find, "reference"),)
