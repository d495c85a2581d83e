"""What is checked: a run as the analysis loaded it, or a run folder of which something may be missing or damaged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from analysis import reference
from analysis.checks.finding import one_line
from analysis.errors import AnalysisError
from analysis.questions.windows import WINDOW_SIZES_MS
from analysis.run import csv_tables, series
from analysis.run.stored import in_memory
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from analysis.run.load import Run
    from analysis.run.stored import Frame


# What a table raises that is not what it should be: another kind of cell, a column less, too large a number.
UNFIT: Final = (AnalysisError, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
WORKER_FILE: Final = re.compile(r"worker_(.+)\.csv")


@dataclass(frozen=True)
class Subject:
    """A run folder, and what could be read of it. ``run`` is None where the analysis could not judge it.

    ``whole``: every file is read, hashed and recomputed; otherwise what the analysis loaded is all that is looked at.
    ``roles`` are the nodes', of the manifest or, without one, of the files' names. ``unreadable`` says by file why
    it could not be read; it grows while the checks ask for tables.
    """

    path: Path
    manifest: records.Manifest | None
    run: Run | None
    roles: Mapping[str, str]
    reference: reference.Reference | None = None
    window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS
    whole: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)
    _tables: dict[str, Frame] = field(default_factory=dict)

    def table(self, name: str, needed: Sequence[str] = ()) -> Frame | None:
        """Return a table by its path in the folder, None if it is not there, or not to be read.

        ``needed``: columns it must have; of a file that the analysis has not loaded only these are read.
        """
        file = self.path / name
        if (loaded := self._loaded(name)) is not None:
            if missing := [column for column in needed if column not in loaded]:
                self.unreadable[name] = f"expected the column {missing[0]!r}, found none; is it a file of this version?"
            return None if missing else loaded
        if not self.whole or name in self.unreadable or not file.is_file():
            return None
        try:
            table = csv_tables.read_table(file, needed, only=bool(needed))
        except AnalysisError as error:
            self.unreadable[name] = str(error).removeprefix(f"{file}: ")
            return None
        if not needed:
            self._tables[name] = table
        return table

    def _loaded(self, name: str) -> Frame | None:
        """Return a table that was read already; probes may be on disk, from where they are taken as they are needed."""
        folder, _, file = name.rpartition("/")
        if self.run is not None and file == records.PROBES_FILE:
            return self.run.probes.get(folder.removeprefix(f"{records.RAW_DIR}/"))
        return self._tables.get(name)

    def of_node(self, node_id: str) -> Frame | None:
        """Return a node's table as it was assembled."""
        return self.table(self.file_of(node_id))

    def raw(self, node_id: str, name: str, needed: Sequence[str] = ()) -> Frame | None:
        """Return one of the tables a node wrote."""
        return self.table(raw_file(node_id, name), needed)

    def pairs(self, node_id: str) -> pd.DataFrame | None:
        """Return a node's clock pairs."""
        pairs = self.raw(node_id, records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS)
        return None if pairs is None else in_memory(pairs)

    @property
    def has_events(self) -> bool:
        """Tell whether it is a run with events, as one without a readable manifest is taken for."""
        return self.manifest is None or series.has_events(self.manifest)

    def file_of(self, node_id: str) -> str:
        """Return the name of a node's assembled table; of a run without events, that of its readings."""
        if not self.has_events:
            return series.readings_file(node_id)
        return records.table_file(node_id, self.roles[node_id])

    def events(self) -> dict[str, Frame]:
        """Return the assembled tables that can be read and name their events, by node."""
        tables = {node_id: self.of_node(node_id) for node_id in self.roles}
        return {node_id: table for node_id, table in tables.items() if table is not None and "event_id" in table}

    @property
    def coordinator(self) -> str | None:
        """Return the coordinator's node id, None where there is none."""
        return next((node_id for node_id, role in self.roles.items() if role == "coordinator"), None)

    @property
    def workers(self) -> list[str]:
        """Return the node ids of all others."""
        return [node_id for node_id, role in self.roles.items() if role != "coordinator"]

    def promised(self, node_id: str) -> bool:
        """Tell whether the manifest says that a node left files; without one the folder is not in order anyway."""
        return self.manifest is None or promised(self.manifest, node_id)

    @property
    def recorded(self) -> Mapping[str, records.NodeManifest]:
        """Return the nodes that left files of their own: none without a manifest, none of an imported run."""
        manifest = self.manifest
        return {} if manifest is None or manifest.imported is not None else manifest.nodes


def promised(manifest: records.Manifest, node_id: str) -> bool:
    """Tell whether a manifest says that a node left files: a node that never got to it breaks no promise."""
    node = manifest.nodes[node_id]
    assembled = records.table_file(node_id, node.role) in manifest.assembled
    return bool(node.status or node.collected_by or node.checksums_verified or assembled)


def raw_file(node_id: str, name: str) -> str:
    """Return the path of one of a node's own files in the run folder."""
    return f"{records.RAW_DIR}/{node_id}/{name}"


def of_run(
    run: Run,
    window_sizes_ms: Sequence[int] = WINDOW_SIZES_MS,
    known: reference.Reference | None = None,
) -> Subject:
    """Return a loaded run as a subject; nothing more of it is read."""
    if series.has_events(run.manifest):
        tables = {records.COORDINATOR_FILE: run.coordinator}
        tables |= {records.worker_file(node_id): frame for node_id, frame in run.workers.items()}
    else:
        tables = {series.readings_file(node_id): frame for node_id, frame in series.readings_of(run).items()}
    for name, frames in ((records.SAMPLES_FILE, run.samples), (records.CLOCK_PAIRS_FILE, run.clock_pairs)):
        tables |= {raw_file(node_id, name): frame for node_id, frame in frames.items()}
    sends = raw_file(run.manifest.coordinator_id, records.SENDS_FILE)
    if sends not in run.absent:
        tables[sends] = run.sends
    roles = {node_id: node.role for node_id, node in run.manifest.nodes.items()}
    return Subject(run.path, run.manifest, run, roles, known, window_sizes_ms, _tables=tables)


def of_folder(path: Path) -> Subject:
    """Read a run folder as far as that is possible; why the rest is not is noted in ``unreadable``."""
    try:
        run = series.any_run(path)
    except AnalysisError as error:
        return _damaged(path, f"cannot be analysed: {error}")
    try:
        known, unreadable = reference.build(run), {}
    except UNFIT as failure:
        known, unreadable = None, {records.RAW_DIR: f"no reference can be made of the probes: {one_line(failure)}"}
    return replace(of_run(run, known=known), whole=True, unreadable=unreadable)


def _damaged(path: Path, why: str) -> Subject:
    unreadable = {"": why}
    manifest = None
    try:
        manifest = records.Manifest.from_json((path / records.MANIFEST_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        unreadable[records.MANIFEST_FILE] = "expected the run's manifest, found no such file"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        unreadable[records.MANIFEST_FILE] = f"expected a manifest of this version, got {one_line(error)}"
    if manifest is not None:
        roles = {node_id: node.role for node_id, node in manifest.nodes.items()}
    else:
        names = sorted(file.name for file in path.iterdir())
        workers = {match[1]: "worker" for name in names if (match := WORKER_FILE.fullmatch(name))}
        roles = {"coordinator": "coordinator", **workers}
    return Subject(path, manifest, None, roles, whole=True, unreadable=unreadable)
