"""Import a clock's log as a run folder of the kind ``series``: which format it is of is seen in the file.

``raw/<node>/readings.csv`` gets a row per line of the log, with the cells of the source that the line is about; the
other sources' cells say ``not_asked``. What the log does not have stays empty, and the manifest lists it. The originals
are kept beside it, byte by byte, under raw/imported/. Several files make one series if they are of one machine: the
daily files of one log, or logs of several formats.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.by_event.table import NOT_ASKED
from analysis.errors import UsageError, cause
from analysis.imported import chrony_logs, long_runs, ntpd_stats
from analysis.imported.logged import LogFormat, NotOfThisFormatError, Row, unavailable
from analysis.imported.older_format import IMPORTED_DIR, content_of, copy_originals, place_of
from analysis.imported.staging import UnusableSource, staged
from analysis.run.load import new_folder
from analysis.run.series import readings_file
from node_agent.contract import plan, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMATS: Final[tuple[LogFormat, ...]] = (
    long_runs.STABILITY, long_runs.VALIDATION, long_runs.OVERNIGHT, chrony_logs.MEASUREMENTS, chrony_logs.TRACKING,
    ntpd_stats.PEERSTATS, ntpd_stats.LOOPSTATS,
)  # fmt: skip
NODE: Final = "node"  # what a machine is called that nobody names
FIELDS: Final = (
    "status", "offset_ms", "uncertainty_ms", "timestamp_ns", "lower_bound_ns", "upper_bound_ns", "kind", "level",
    "reference",
)  # fmt: skip
IN_WORDS: Final = f"logs there are to import: {', '.join(form.name for form in FORMATS)}"
FIRST_BYTES: Final = 65_536  # a file's first line that says something is among these
COMPRESSED: Final = (b"\x1f\x8b", b"\xfd7zXZ", b"BZh", b"(\xb5/\xfd")


@dataclass(frozen=True)
class _Log:
    """One file as read: its format, its rows in file order, and what of it was left out."""

    file: Path
    form: LogFormat
    rows: list[Row]
    left_out: tuple[str, ...]


def takes(source: Path) -> bool:
    """Tell whether ``source`` is for this importer: a file, or a folder in which a file is of one of its formats."""
    if source.is_dir() and not (source / records.COORDINATOR_FILE).exists():
        return any(_form(file) is not None for file in _files(source))
    return source.is_file()


def import_series(source: Path, experiment: str, results_dir: Path, node: str = NODE) -> Path:
    """Make ``results_dir/experiment`` of the log, or the folder of logs, ``source`` and return its path.

    ``node``: what the machine is to be called whose clock it was. The folder appears whole or not at all. Raises
    UnusableSource or UsageError (exit code 2), in one line each.
    """
    target = new_folder(results_dir, experiment)
    if not plan.NODE_ID_PATTERN.fullmatch(node) or node == IMPORTED_DIR:
        wanted = (
            f"letters, digits, '_', '.', '-', at most 64, starting with a letter or digit, and not {IMPORTED_DIR!r}"
        )
        raise UsageError(f"node: expected {wanted}, got {node!r}")
    seen: set[tuple[str, int]] = set()
    logs = [_read(file, form, seen) for file, form in _chosen(source)]
    _demand_distinct_sources(logs)
    with staged(target) as staging:
        folder = source if source.is_dir() else source.parent
        digests = copy_originals(folder, [log.file for log in logs], staging)
        _write(staging / readings_file(node), node, logs)
        manifest = _manifest(source, experiment, node, logs, digests)
        (staging / records.MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return target


def _files(folder: Path) -> list[Path]:
    """Return a folder's files by name. A log that has two names (ntpd links the newest of a day) counts once."""
    files: dict[tuple[int, int], Path] = {}
    try:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                status = file.stat()
                files.setdefault((status.st_dev, status.st_ino), file)
    except OSError as error:
        raise UnusableSource(f"{folder}: expected a folder that can be read, got: {cause(error)}") from error
    return list(files.values())


def _chosen(source: Path) -> list[tuple[Path, LogFormat]]:
    """Return the files to import with their formats: the one given, or those of a folder that are of one."""
    if source.is_dir():
        forms = [(file, form) for file in _files(source) if (form := _form(file)) is not None]
        if forms:
            return forms
        raise UnusableSource(f"{source}: expected a log, found {content_of(source)}; {IN_WORDS}")
    if not source.is_file():
        raise UnusableSource(f"{source}: expected a log or a folder of logs, found none; {IN_WORDS}")
    if (form := _form(source)) is None:
        raise UnusableSource(f"{source}: expected a log, got {_first_words(source)}; {IN_WORDS}")
    return [(source, form)]


def _form(file: Path) -> LogFormat | None:
    """Return the format of a file by its first line that says something (chrony's is a rule of ``=``), None of none."""
    for line in _head(file).decode("utf-8", "replace").splitlines():
        if line.strip("= \t\r"):
            return next((form for form in FORMATS if form.begins(line)), None)
    return None


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(FIRST_BYTES)
    except OSError as error:
        raise UnusableSource(f"{file}: expected a log that can be read, got: {cause(error)}") from error


def _first_words(file: Path) -> str:
    head = _head(file)
    if head.startswith(COMPRESSED):
        return "a compressed file (unpack it first)"
    line = next((line for line in head.decode("utf-8", "replace").splitlines() if line.strip("= \t\r")), "")
    return f"a first line of {line.strip()[:60]!r}" if line else "an empty file"


def _read(file: Path, form: LogFormat, seen: set[tuple[str, int]]) -> _Log:
    """Read a whole log, and add its lines to those ``seen``.

    Left out is a last line without its end, whose last number may lack digits, and each line that was seen, in this log
    or in another: a rotated log is sometimes kept twice.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableSource(f"{file}: expected a log in UTF-8, got: {cause(error)}") from error
    lines = text.splitlines(keepends=True)
    torn = bool(lines) and not lines[-1].endswith("\n")
    rows: list[Row] = []
    place = copies = 0

    def numbered() -> Iterator[tuple[int, str]]:
        nonlocal place
        for place, line in enumerate(lines[: len(lines) - torn], start=1):
            yield place, line.rstrip("\n")

    try:
        for of_line, row in form.rows(numbered()):
            line = lines[of_line - 1], row.wall_ns
            if line in seen:
                copies += 1
                continue
            seen.add(line)
            rows.append(row)
    except (NotOfThisFormatError, csv.Error) as error:
        raise UnusableSource(f"{file} line {place}: {error}; expected {form.name}") from error
    if not rows and not copies:
        raise UnusableSource(f"{file}: expected at least one whole line of {form.name}, got none")
    left_out = [f"the last line of {file.name}, which was not written to its end"] if torn else []
    if copies:
        left_out.append(
            f"{copies:,} {'line' if copies == 1 else 'lines'} of {file.name} that came again, every digit alike"
        )
    return _Log(file, form, rows, tuple(left_out))


def _sources(log: _Log) -> list[str]:
    return list(dict.fromkeys(source for row in log.rows for source in row.sources))


def _demand_distinct_sources(logs: Sequence[_Log]) -> None:
    """Raise UnusableSource where logs of two formats speak of one source: they would mix two kinds of numbers."""
    whose: dict[str, _Log] = {}
    for log in logs:
        for source in _sources(log):
            other = whose.setdefault(source, log)
            if other.form is not log.form:
                advice = "import them one by one"
                got = f"got both {other.form.name} and {log.form.name}"
                raise UnusableSource(f"{log.file}: expected one log that speaks of {source}, {got}; {advice}")


def _write(file: Path, node: str, logs: Sequence[_Log]) -> None:
    sources = list(dict.fromkeys(source for log in logs for source in _sources(log)))
    prefixes = {source: records.COLUMN_PREFIX[source] for source in sources}
    columns = [f"{prefix}_{name}" for prefix in prefixes.values() for name in FIELDS]
    rows = sorted((row for log in logs for row in log.rows), key=lambda row: row.wall_ns)
    file.parent.mkdir(parents=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, (*records.READINGS_COLUMNS, *columns), restval="", lineterminator="\n")
        writer.writeheader()
        for place, row in enumerate(rows):
            cells = {"reading_id": str(place), "node_id": node, "wall_ns": str(row.wall_ns)}
            for source, prefix in prefixes.items():
                of_source = row.sources.get(source) or unavailable(NOT_ASKED)
                cells |= {f"{prefix}_{name}": text for name, text in of_source.items()}
            writer.writerow(cells)


def _manifest(
    source: Path, experiment: str, node: str, logs: Sequence[_Log], digests: dict[str, str]
) -> records.Manifest:
    identity = hashlib.sha256("".join([node, *sorted(digests.values())]).encode()).hexdigest()
    return records.Manifest(
        run_id=identity[:32],
        experiment=experiment,
        cluster="imported",
        phase=records.IMPORTED,
        outcome=None,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version={"git": "unknown"},
        argv=[Path(sys.argv[0]).name, *sys.argv[1:]],
        config={"cluster": {}, "coordinator": {}, "worker": {}},
        nodes={node: records.NodeManifest(node, plan.COORDINATOR, host="")},
        imported=_imported(source, logs, digests),
        kind=records.SERIES,
    )


def _imported(source: Path, logs: Sequence[_Log], digests: dict[str, str]) -> dict[str, Any]:
    about = {name: log.form.about(name) for log in logs for name in _sources(log)}
    missing = [
        "raw oscillator stamps: instants are those of the wall clock that is itself in question",
        "reference: no probes and no injected truth",
        *dict.fromkeys(text for log in logs for text in log.form.missing),
        *(text for log in logs for text in log.left_out),
        *(_backwards(log) for log in logs if _backwards(log)),
        "the run's identity: run_id is made of the files' checksums",
    ]
    return {
        "source": place_of(source),
        "sha256": dict(digests),
        "format": ", ".join(dict.fromkeys(log.form.name for log in logs)),
        "missing": missing,
        "stamps": {log.form.name: log.form.stamps for log in logs},
        "sources": {name: asdict(words) for name, words in about.items()},
    }


def _backwards(log: _Log) -> str:
    """Say how often a log's time goes back: rows are sorted by it, and what was before a step is no longer told."""
    instants = [row.wall_ns for row in log.rows]
    times = sum(later < earlier for earlier, later in zip(instants, instants[1:], strict=False))
    return f"the order of rows around {times} steps back of the clock in {log.file.name}" if times else ""
