"""``invoke compare A B``: read both sides, compare them, tell it, and end with 7 where a limit is broken."""

from __future__ import annotations

import fnmatch
import sys
from typing import TYPE_CHECKING, Final

from analysis.comparison import conditions, guard, page, runs, text
from analysis.comparison.comparison import compare, metrics_of, without_partner
from analysis.errors import AnalysisError, UsageError, candidates
from analysis.output import write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FOUND: int = AnalysisError.exit_code
BEGINNINGS: Final = {"--json": b'{\n "a": [', "--page": b"<title>Comparison"}  # of files of ours
HEAD_BYTES: Final = 1 << 16  # in which a page has its title


def main(
    a: str,
    b: str,
    metrics: Sequence[str],
    fail_if: Sequence[str],
    results_dir: Path,
    json_file: Path | None = None,
    page_file: Path | None = None,
) -> int:
    """Compare and print; return the exit code: 0, 2 for what cannot be asked, 7 for a broken limit or a broken run."""
    try:
        limits = [guard.read(limit) for limit in fail_if]
        for option, file in (("--json", json_file), ("--page", page_file)):
            if file is not None and (file.is_dir() or not file.parent.is_dir()):
                raise UsageError(f"{option}: expected a file in a folder that is there, got {file}")
            if file is not None and not _may_replace(file, BEGINNINGS[option]):
                raise UsageError(f"{option}: expected a new file, or one of an earlier comparison, got {file}")
        (first, notes_a), (second, notes_b) = runs.read(a, results_dir), runs.read(b, results_dir)
        if both := sorted({run.name for run in first} & {run.name for run in second}):
            raise UsageError(f"expected different runs in A and B, got {', '.join(both)} in both")
        chosen = _chosen(metrics, metrics_of(first, second))
        compared = compare(first, second, chosen)
        gated = compare(first, second, list(dict.fromkeys(limit.metric for limit in limits)))
        held, broken = guard.judged(limits, compared, gated)
    except AnalysisError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sides = ", ".join(
        f"{side}: {len(of)} {'run' if len(of) == 1 else 'runs'}" for side, of in (("A", first), ("B", second))
    )
    differing = conditions.differences(first, second)
    notes = [*notes_a, *notes_b]
    if lone := without_partner(first, second):
        notes.append(f"not in pairs, for these have no partner of their cell and block: {', '.join(lone)}")
    told = [sides, *text.lines(compared, differing, notes)]
    sys.stdout.write("\n".join(told) + "\n")
    names = {"a": [run.name for run in first], "b": [run.name for run in second]}
    numbers = names | {"conditions": differing, "metrics": [metric.as_dict() for metric in compared]}
    sides_named = (names["a"], names["b"])
    outputs: tuple[tuple[str, Path | None, Callable[[Path], Path]], ...] = (
        ("--json", json_file, lambda file: write_json(file, numbers)),
        ("--page", page_file, lambda file: write_text(file, page.render(sides_named, compared, differing, notes))),
    )
    for option, file, write in outputs:
        try:
            if file is not None:
                write(file)
        except OSError as error:  # noqa: PERF203 - two files
            sys.stderr.write(f"error: {option}: {file}: {error.strerror}; the comparison above is all there is\n")
            return FOUND
    if json_file is not None:
        sys.stdout.write(f"numbers: {json_file}\n")
    if page_file is not None:
        sys.stdout.write(f"page: {page_file}\n")
    sys.stdout.writelines(f"{line}\n" for line in held)
    for line in broken:
        sys.stderr.write(f"error: {line}\n")
    return FOUND if broken else 0


def _may_replace(file: Path, beginning: bytes) -> bool:
    """Tell whether a file may be written: there is none yet, or it is one of an earlier comparison."""
    if not file.exists():
        return True
    try:
        with file.open("rb") as there:
            return beginning in there.read(HEAD_BYTES)
    except OSError:
        return False


def _chosen(patterns: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the metrics that are named, or that a pattern fits; all of them where none is. Raises UsageError."""
    chosen: list[str] = []
    for pattern in patterns or ["*"]:
        fitting = [metric for metric in known if fnmatch.fnmatchcase(metric, pattern)]
        if not fitting:
            raise UsageError(f"--metric: expected one of {candidates(pattern, known)}, got {pattern!r}")
        chosen += [metric for metric in fitting if metric not in chosen]
    return chosen
