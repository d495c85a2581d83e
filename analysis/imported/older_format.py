"""Import a published run of the older column format as a run folder; nothing is computed, filled in or rounded.

A cell of the older files becomes the cell of the same meaning here, character by character. What the older format did
not record stays empty, and the manifest lists it. The originals are kept beside it, byte by byte, under raw/imported/.

    older                                    here
    receive_time_ns, send_time_ns            the wall stamp; the older files hold no raw stamp and no origin
    ntp_offset_ms, _uncertainty_ms, _timestamp_ns   the same columns, as a point: a claimed constant bounds nothing
    ct_offset_ms ... ct_upper_bound_ns       the same columns, probabilistic, of no stated level
    an empty cell                            no reading: `not_configured` if all are empty, else `not_recorded`
    ct_drift_rate, ct_confidence, ct_source, ct_prediction_time, send_time_iso   in raw/imported/ only
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import math
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.errors import cause
from analysis.imported.comparison import comparison, comparison_parts
from analysis.imported.staging import UnusableSource, staged
from analysis.run.csv_tables import OTHER_SEPARATORS
from analysis.run.load import new_folder
from analysis.run.wall_clock import EARLIEST_NS, LATEST_NS
from node_agent.contract import plan, records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["UnusableSource", "comparison", "comparison_parts", "import_published"]

FORMAT: Final = "data-streaming-evaluations CSV, 2025-10"
IMPORTED_DIR: Final = "imported"
COORDINATOR_ID: Final = "coordinator"
SHOWN_NAMES: Final = 4
NOT_RECORDED: Final = "not_recorded"

_WORKER_FILE: Final = re.compile(r"worker_(.+)\.csv")
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_ABSENT_CELLS: Final = {"", "nan", "none", "null"}
_DELAY_COLUMN: Final = re.compile(rf"{records.COLUMN_PREFIX[records.CHRONOTICK]}_uncertainty_([0-9.]+)s_ms")
_OTHER_UNITS: Final = ((10**3, "µs"), (10**6, "ms"), (10**9, "s"))
_INTERVAL: Final = ("lower_bound_ns", "upper_bound_ns")
_POINT: Final = ("offset_ms", "uncertainty_ms", "timestamp_ns")
_EVENT_TIME: Final = {plan.WORKER: "receive_time_ns", plan.COORDINATOR: "send_time_ns"}
_NEEDED: Final = {
    plan.WORKER: ("event_id", "node_id", "sequence_number", "receive_time_ns", "coordinator_send_time_ns"),
    plan.COORDINATOR: ("event_id", "sequence_number", "send_time_ns"),
}

FORMATS: Final = (
    f"formats there are to import: {FORMAT} ({records.COORDINATOR_FILE} with {', '.join(_NEEDED[plan.COORDINATOR])};"
    f" worker_<node>.csv with {', '.join(_NEEDED[plan.WORKER])}); logs of clocks (docs/ANALYSIS.md has the list);"
    f" a run folder ({records.MANIFEST_FILE}) needs no import"
)


@dataclass(frozen=True)
class _Table:
    """One older file as read: every cell is text, an absent one is empty."""

    file: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]

    def of_source(self, prefix: str) -> list[str]:
        """Return the columns of a source that have something in them."""
        return [column for column in self.columns if column.startswith(f"{prefix}_") and self.has(column)]

    def has(self, column: str) -> bool:
        """Return whether any row has something in that column."""
        return column in self.columns and any(row[column] for row in self.rows)


def import_published(source: Path, experiment: str, results_dir: Path) -> Path:
    """Make ``results_dir/experiment`` of the published files in ``source`` and return its path.

    The folder appears whole or not at all. Raises UnusableSource or UsageError (exit code 2), in one line each.
    """
    target = new_folder(results_dir, experiment)
    files = _find(source)
    coordinator = _read(files.pop(COORDINATOR_ID), plan.COORDINATOR)
    workers = {node_id: _read(file, plan.WORKER, node_id) for node_id, file in files.items()}

    with staged(target) as staging:
        digests = copy_originals(source, [coordinator.file, *(table.file for table in workers.values())], staging)
        _write(staging / records.COORDINATOR_FILE, *_coordinator_rows(coordinator))
        for node_id, table in workers.items():
            _write(staging / records.worker_file(node_id), *_worker_rows(table))
        manifest = _manifest(source, experiment, coordinator, workers, digests)
        (staging / records.MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return target


def _find(source: Path) -> dict[str, Path]:
    if not source.is_dir():
        got = "a file" if source.exists() else "none (no such path)"
        wanted = f"a folder with {records.COORDINATOR_FILE} and worker_*.csv"
        raise UnusableSource(f"{source}: expected {wanted}, got {got}; {FORMATS}")
    _refuse_run_folder(source)
    coordinator = source / records.COORDINATOR_FILE
    if not coordinator.is_file():
        got = f"found no such file but {content_of(source)}"
        raise UnusableSource(f"{source}: expected {records.COORDINATOR_FILE}, {got}; {FORMATS}")
    files = {COORDINATOR_ID: coordinator}
    for file in sorted(source.iterdir()):
        match = _WORKER_FILE.fullmatch(file.name)
        if match and file.is_file():
            if not plan.NODE_ID_PATTERN.fullmatch(match[1]) or match[1] == COORDINATOR_ID:
                raise UnusableSource(f"{file}: expected worker_<node id>.csv, got the node id {match[1]!r}")
            files[match[1]] = file
    if len(files) == 1:
        got = f"found none but {content_of(source)}"
        raise UnusableSource(f"{source}: expected at least one worker_*.csv, {got}; {FORMATS}")
    return files


def _refuse_run_folder(source: Path) -> None:
    """Raise UnusableSource for a folder that needs no import, or that is one node's part of such a folder."""
    if (source / records.MANIFEST_FILE).is_file():
        advice = "analyse it as it is (invoke analyze --experiment)"
        raise UnusableSource(f"{source}: expected a folder to import, got a run folder of this harness; {advice}")
    if (source / records.EVENTS_FILE).is_file():
        advice = "fab collect makes a run folder of them"
        raise UnusableSource(f"{source}: expected a folder to import, got one node's own files; {advice}; {FORMATS}")


def content_of(source: Path) -> str:
    """Return what a folder holds, in a few words. Raises UnusableSource if it may not be read."""
    try:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in source.iterdir())
    except OSError as error:
        raise UnusableSource(f"{source}: expected a folder that can be read, got: {error.strerror}") from error
    shown = ", ".join(name if name.isprintable() else ascii(name) for name in names[:SHOWN_NAMES])
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{shown}{more}" if names else "nothing at all"


def _read(file: Path, role: str, node_id: str | None = None) -> _Table:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets put a byte order mark before it
            lines = csv.reader(stream, strict=True)
            columns = tuple(next(lines, ()))
            _check_columns(file, role, columns)
            rows = [_row(file, role, number, columns, cells) for number, cells in enumerate(lines, start=2) if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableSource(f"{file}: expected a CSV file in UTF-8, got: {cause(error)}") from error
    if role == plan.COORDINATOR and not rows:
        raise UnusableSource(f"{file}: expected at least one event, got none")
    for number, row in enumerate(rows, start=2):
        if node_id is not None and row["node_id"] != node_id:
            raise UnusableSource(f"{file} line {number}: node_id: expected {node_id!r}, got {row['node_id']!r}")
    table = _Table(file, columns, rows)
    _check_readings(table)
    return table


def _check_readings(table: _Table) -> None:
    """Raise UnusableSource where a reading, or a part of it, would be lost for want of a column of the right name."""
    for prefix in records.SOURCE_PREFIXES:
        instant, others = f"{prefix}_timestamp_ns", table.of_source(prefix)
        known = [f"{prefix}_{name}" for name in (*_POINT, *_INTERVAL)]
        strange = [column for column in others if column not in known and not _DELAY_COLUMN.fullmatch(column)]
        for column in known:
            near = [] if column in table.columns else difflib.get_close_matches(column, strange, 1, 0.85)
            if near:
                raise UnusableSource(f"{table.file}: expected {column}, got {near[0]}; rename it")
        if others and instant not in table.columns:
            got = f"none; add it, or leave the columns {prefix}_... out"
            wanted = f"{instant} beside {others[0]} (a reading has an instant)"
            raise UnusableSource(f"{table.file}: expected {wanted}, got {got}")


def _check_columns(file: Path, role: str, columns: tuple[str, ...]) -> None:
    doubled = sorted({column for column in columns if columns.count(column) > 1})
    if doubled:
        raise UnusableSource(f"{file}: expected each column once, got {doubled[0]!r} more than once")
    for column in _NEEDED[role]:
        if column not in columns:
            got = ", ".join(name if name.isprintable() else repr(name) for name in columns[:6]) or "an empty file"
            hint = _hint(column, columns)
            raise UnusableSource(f"{file}: expected the older format's column {column!r}, got {got}{hint}; {FORMATS}")
    if any(column.endswith("_status") for column in columns):
        advice = "analyse its run folder as it is"
        raise UnusableSource(f"{file}: expected the older format, got this version's columns; {advice}")


def _hint(column: str, columns: Sequence[str]) -> str:
    """Return what may be the matter with a first line that lacks a column; "" where nothing comes to mind."""
    for mark, separator in OTHER_SEPARATORS.items():
        if len(columns) == 1 and mark in columns[0]:
            return f" ({separator} between columns instead of commas?)"
    plain = {name.strip().lower(): name for name in columns}
    near = difflib.get_close_matches(column, plain, 1, 0.8)
    return f" (rename {plain[near[0]]!r}?)" if near else ""


def _row(file: Path, role: str, number: int, columns: tuple[str, ...], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(columns):
        raise UnusableSource(f"{file} line {number}: expected {len(columns)} cells, got {len(cells)}")
    row = {column: "" if cell.lower() in _ABSENT_CELLS else cell for column, cell in zip(columns, cells, strict=True)}
    for column in ("event_id", _EVENT_TIME[role]):
        if not row[column]:
            got = cells[columns.index(column)] or "nothing"
            raise UnusableSource(f"{file} line {number}: {column}: expected a whole number, got {got}")
    for column, cell in row.items():
        if cell and not _readable(column, cell):
            wanted = "a finite number" if column.endswith("_ms") else "a whole number of 64 bits"
            raise UnusableSource(f"{file} line {number}: {column}: expected {wanted}, got {cell!r}")
        if cell and column.endswith("_ns") and (unit := _other_unit(int(cell))) is not None:
            raise UnusableSource(f"{file} line {number}: {column}: expected ns since 1970, got {cell}, as of {unit}")
    return row


def _other_unit(instant: int) -> str | None:
    """Return the unit in which an instant would be one of this century; None for ns, and for what is none."""
    return next((unit for scale, unit in _OTHER_UNITS if EARLIEST_NS <= instant * scale <= LATEST_NS), None)


def _readable(column: str, cell: str) -> bool:
    if column.endswith("_ns") or column in {"event_id", "sequence_number"}:
        return _INTEGER.fullmatch(cell) is not None and -(2**63) <= int(cell) < 2**63
    if not column.endswith("_ms"):
        return True
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _worker_rows(table: _Table) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    delays = sorted(float(match[1]) for column in table.columns if (match := _DELAY_COLUMN.fullmatch(column)))
    kept = (*_NEEDED[plan.WORKER], *(records.delay_column(delay) for delay in delays))
    return records.worker_columns(delays), _translated(table, kept)


def _coordinator_rows(table: _Table) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    kept = (*_NEEDED[plan.COORDINATOR], "pattern_delay_ms", *records.SEND_TAIL_COLUMNS)
    return records.events_columns(plan.COORDINATOR), _translated(table, kept)


def _translated(table: _Table, kept: Sequence[str]) -> list[dict[str, str]]:
    configured = {prefix: bool(table.of_source(prefix)) for prefix in records.SOURCE_PREFIXES}
    translated = []
    for row in table.rows:
        cells = {column: row.get(column, "") for column in kept}
        for prefix in records.SOURCE_PREFIXES:
            cells |= _reading(prefix, row, configured=configured[prefix])
        translated.append(cells)
    return translated


def _reading(prefix: str, row: Mapping[str, str], *, configured: bool) -> dict[str, str]:
    """Return the source's cells that the older row has; a reading without an instant is none."""
    if not row.get(f"{prefix}_timestamp_ns"):
        return {f"{prefix}_status": NOT_RECORDED if configured else records.NOT_CONFIGURED}
    cells = {f"{prefix}_status": records.OK}
    cells |= {f"{prefix}_{name}": row.get(f"{prefix}_{name}", "") for name in _POINT}
    if prefix == records.COLUMN_PREFIX[records.CHRONOTICK]:
        interval = {f"{prefix}_{name}": row.get(f"{prefix}_{name}", "") for name in _INTERVAL}
        if all(interval.values()):
            cells |= interval | {f"{prefix}_kind": records.PROBABILISTIC}
    return cells


def copy_originals(source: Path, tables: Sequence[Path], staging: Path) -> dict[str, str]:
    """Copy the originals (and their README, if any) byte by byte; return the sha256 of each."""
    folder = staging / records.RAW_DIR / IMPORTED_DIR
    folder.mkdir(parents=True)
    digests = {}
    for file in (*tables, *(entry for entry in (source / "README.md",) if entry.is_file())):
        content = file.read_bytes()
        (folder / file.name).write_bytes(content)
        digests[file.name] = hashlib.sha256(content).hexdigest()
    sums = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    (folder / records.CHECKSUMS_FILE).write_text(sums, encoding="utf-8")
    return digests


def _write(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _manifest(
    source: Path, experiment: str, coordinator: _Table, workers: Mapping[str, _Table], digests: Mapping[str, str]
) -> records.Manifest:
    addresses = coordinator.rows[0].get("workers_sent", "").split(",")
    nodes = {COORDINATOR_ID: records.NodeManifest(COORDINATOR_ID, plan.COORDINATOR, host="")}
    for node_id in workers:
        nodes[node_id] = records.NodeManifest(node_id, plan.WORKER, host=_host(node_id, addresses))
    identity = hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()
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
        nodes=nodes,
        imported=_imported(source, coordinator, workers, digests),
    )


def _imported(
    source: Path, coordinator: _Table, workers: Mapping[str, _Table], digests: Mapping[str, str]
) -> dict[str, Any]:
    missing = [
        "samples: no query of any server, no T1..T4, no stratum, no round trip",
        "reference: no probes and no injected truth",
        "raw oscillator stamps, and where the wall stamps were taken (kernel or program)",
        "planned send times and each worker's own transmit stamp",
        "bounds of the NTP readings: ntp_uncertainty_ms is a claim, so NTP is judged as a point",
        "which code measured",
        "the run's identity: run_id is made of the files' checksums",
    ]
    tables = (coordinator, *workers.values())
    for name, prefix in records.COLUMN_PREFIX.items():
        without = (table.file.name for table in tables if not table.has(f"{prefix}_timestamp_ns"))
        missing += [f"{name} readings in {file}" for file in without]
    return {"source": place_of(source), "sha256": dict(digests), "format": FORMAT, "missing": missing}


def place_of(source: Path) -> str:
    """Return where the files came from, relative to here where that is possible, so that no machine's paths travel."""
    try:
        return os.path.relpath(source)
    except ValueError:  # another drive
        return source.name


def _host(node_id: str, addresses: Sequence[str]) -> str:
    """Return the host the coordinator sent to whose name, without hyphens, ends with the node's id; "" if not one."""
    hosts = {address.rpartition(":")[0] for address in addresses}
    matching = [host for host in hosts if host.replace("-", "").endswith(node_id)]
    return matching[0] if len(matching) == 1 else ""
