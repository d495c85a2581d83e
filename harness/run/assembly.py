"""From the nodes' raw files to one file per role: coordinator.csv and worker_<id>.csv, each written in one piece."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING

from harness.results import RunFolder, write_atomically
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


def assemble(folder: RunFolder, delays_s: Sequence[float]) -> None:
    """Write every assembled file whose raw files are there, and note its sum in the manifest (unsaved).

    A node that recorded nothing gets no file. Columns are those the node wrote: which sources have some depends on its
    configuration.
    """
    manifest = folder.manifest
    events = folder.raw(manifest.coordinator_id) / records.EVENTS_FILE
    if events.is_file():
        manifest.assembled[records.COORDINATOR_FILE] = _write(
            folder.path / records.COORDINATOR_FILE, _columns(events), _rows(events)
        )
    for worker_id in manifest.worker_ids:
        events = folder.raw(worker_id) / records.EVENTS_FILE
        if events.is_file():
            waits = folder.raw(worker_id) / records.COMMIT_WAIT_FILE
            joined = records.join_commit_wait(_rows(events), _rows(waits) if waits.is_file() else [], delays_s)
            columns = [*_columns(events), *(records.delay_column(delay_s) for delay_s in delays_s)]
            name = records.worker_file(worker_id)
            manifest.assembled[name] = _write(folder.path / name, columns, joined)


def _columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _rows(path: Path) -> Iterable[dict[str, str]]:
    """Yield a journal's rows; a line without its newline was being written when the agent died and is no row yet."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(line for line in file if line.endswith("\n"))


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Write a table in one piece and return its sha256."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()
