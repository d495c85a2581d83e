"""The analyses of a run, in the order in which they are computed: each may use the results of those before it.

An analysis of your own is one module below ``analyses/`` and one line here.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import replace
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
from analysis.errors import AnalysisError
from analysis.processes import pieces
from analysis.processes.second_process import Beside
from analysis.questions import judges
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.run import csv_tables, memory
from analysis.storage.put_away import PutAway
from analysis.storage.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from analysis.by_event.table import Table
    from analysis.processes.pieces import ShareOut
    from analysis.run.hashing import Seen
    from analysis.run.load import Run

MOST_PROBES: Final = 1_000_000  # stamps of a run that are kept in memory once the reference is built
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


def compute(
    readings: Table,
    window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS,
    merge: Callable[[], Path] | None = None,
    jobs: int | None = None,
    share_out: ShareOut | None = None,
) -> Results:
    """Compute everything about a run, each thing once.

    ``merge`` writes the merged table, beside the rest, and returns its path. ``jobs``: how many processes of this
    machine judge parts and nodes at a time, None for one per processor, as far as there is memory for them.
    ``share_out`` gives parts and nodes to others instead.
    """
    processes = jobs or _processes(readings)
    done: dict[str, Any] = {}
    given = _context(readings, window_sizes_ms, done, processes, alone=share_out is None)
    share_out = share_out or partial(pieces.results, processes=processes)
    find = partial(validity.find, readings.run, window_sizes_ms, given.reference)
    others = [] if merge is None else [merge]
    if readings.in_memory:  # of its longest files the digests are known when they were read, and not before
        merged = _prepare(given, ANALYSES, share_out, others)
        with Beside("the checks", find) as checks:
            _answer(given, done)
            findings = checks.result()
    else:
        findings, *merged = _prepare(given, ANALYSES, share_out, [find, *others])
        _answer(given, done)
    found = validity.with_clocks(findings, done[clock_quality.ANALYSIS.name])
    return Results(readings, ANALYSES, done, found, *merged)


def _processes(readings: Table) -> int:
    run = readings.run
    return memory.processes(run.path, run.manifest, pieces.processors(), in_parts=not readings.in_memory)


def _answer(given: Context, done: dict[str, Any]) -> None:
    with ExitStack() as stack:
        others = {
            analysis.name: stack.enter_context(Beside(analysis.title, partial(analysis.compute, given)))
            for analysis in ANALYSES
            if analysis.beside
        }
        for analysis in ANALYSES:
            if analysis.name not in others:
                done[analysis.name] = analysis.compute(given)
                given.counted.pop(analysis.name, None)  # which of a long run is large
        results = {name: other.result() for name, other in others.items()}
    done |= results


def only(analysis: Analysis, readings: Table, window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS) -> Any:
    """Return the result of one analysis, and compute no others than it needs."""
    done: dict[str, Any] = {}
    given = _context(readings, window_sizes_ms, done)
    needed = [other for other in ANALYSES if other.name in analysis.needs]
    _prepare(given, [*needed, analysis], partial(pieces.results, processes=1))
    for other in needed:
        done[other.name] = other.compute(given)
    return analysis.compute(given)


def _prepare(
    given: Context, analyses: Sequence[Analysis], share_out: ShareOut, others: Sequence[Callable[[], Any]] = ()
) -> list[Any]:
    """Give a context what some analyses make of its parts and of its nodes, which ``share_out`` shares out.

    Return what ``others`` return, which are done together with them. A part is read by one process; where there is
    only one, the run is in memory, and the analyses are shared out.
    """
    counting = [analysis for analysis in analyses if analysis.count is not None]
    groups = [[analysis] for analysis in reversed(counting)] if given.table.in_memory else [counting]
    of_parts = [(group, number) for number in range(given.table.number_of_parts) for group in groups if group]
    of_nodes = [(analysis, node) for analysis in analyses if analysis.of_node for node in given.table.nodes]
    if counting:
        len(given.nearby)  # drawn once, for all processes
    by_node = [partial(_of_node, given, *place) for place in of_nodes]
    by_part = [partial(_tidily, partial(_of_part, given, *place)) for place in of_parts]
    made = deque(share_out([*(partial(_tidily, other) for other in others), *by_node, *by_part]))
    told = [made.popleft() for _ in others]
    for analysis, _ in of_nodes:
        given.of_nodes.setdefault(analysis.name, []).append(made.popleft())
    parts: dict[str, list[Any]] = {}
    for group, _ in of_parts:
        counted, seen = made.popleft()  # so that of a long run nothing is there twice
        given.table.run.seen.add(seen)
        for analysis, count in zip(group, counted, strict=True):
            parts.setdefault(analysis.name, []).append(count)
    for analysis in counting:
        given.counted[analysis.name] = analysis.add(parts.pop(analysis.name))
    return told


def _tidily(work: Callable[[], Any]) -> Any:
    """Do some work and give back the memory it took, so that in this process it is not there beside the next one's."""
    made = work()
    csv_tables.release_memory()
    return made


def _of_node(given: Context, analysis: Analysis, node_id: str) -> Any:
    return None if analysis.of_node is None else analysis.of_node(given, node_id)


def _of_part(given: Context, analyses: Sequence[Analysis], number: int) -> tuple[list[Any], Seen]:
    """Return what some analyses count of a part, and what was seen of the files that were read for it."""
    part = given.part(number)
    return [analysis.count(part) for analysis in analyses if analysis.count is not None], given.table.run.seen


def _context(
    readings: Table,
    window_sizes_ms: Sequence[int],
    done: Mapping[str, Any],
    processes: int = 1,
    *,
    alone: bool = False,
) -> Context:
    """Return what all analyses are given. ``alone``: only forks of this process get it, which share its open files."""
    run = readings.run
    many = alone and sum(map(len, run.probes.values())) > MOST_PROBES
    built = reference_by_probes.build(
        run, processes=processes, put_away=partial(_put_away, run.probes, run) if many else None
    )
    if many:
        built = replace(built, joined=PutAway(built.joined))
        _put_away(built.joined, run)
    csv_tables.release_memory()
    return Context(readings, built, judges.of(readings, built), window_sizes_ms, done)


def _put_away(values: Mapping[Any, Any], run: Run) -> None:
    """Put on disk, beside the run, what the checks alone look at once the reference is made of it.

    Where nothing can be written there, or the disk is full, it stays in memory, as that of shorter runs does.
    """
    if isinstance(values, PutAway):
        with suppress(OSError, AnalysisError):
            values.put_away(Scratch(run.path))
    csv_tables.release_memory()
