"""Runs without events: a watch of clocks, or a series that was imported, read so that the same functions judge them.

Every node has ``raw/<node>/readings.csv``: a row per reading instant, with the node's own stamp and what every source
said of it. The n-th readings of all nodes of a watch are read as an event that nobody sent: the first node's stands
where a run with events has the coordinator's stamp of sending, every other node's where it has a receipt. What is
judged of clocks (errors against the injected truth, differences against the reference by probes, which knows how far
apart two instants are) needs no more than such pairs of instants; what is about messages has no place here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pandas as pd

from analysis.errors import AnalysisError
from analysis.run import load as folders
from analysis.run.csv_tables import column_type, read_table
from analysis.run.hashing import Seen
from analysis.run.load import Run, prefixes, read_manifest
from analysis.run.stored import in_memory
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NEEDED: Final = ("reading_id", "node_id", "wall_ns")
_STAMPS: Final = ("wall_ns", "raw_ns", "raw_error_ns")


def has_events(manifest: records.Manifest) -> bool:
    """Tell whether a run has events: a watch and an imported series have readings alone."""
    return manifest.kind == records.EXPERIMENT


def readings_file(node_id: str) -> str:
    """Return the path of a node's readings in the run folder."""
    return f"{records.RAW_DIR}/{node_id}/{records.READINGS_FILE}"


def any_run(path: Path) -> Run:
    """Read a run folder of any kind. Raises AnalysisError where nothing can be judged."""
    return folders.load(path) if has_events(read_manifest(path)) else load(path)


def load(path: Path) -> Run:
    """Read a run folder without events; a node without readings is noted in ``absent``, as one failing node is data.

    Raises AnalysisError where there is no readable manifest, no node's readings, or a file without its columns.
    """
    manifest, seen, absent = read_manifest(path), Seen(), list[str]()

    def read(name: str, needed: Sequence[str]) -> dict[str, pd.DataFrame]:
        files = {node_id: f"{records.RAW_DIR}/{node_id}/{name}" for node_id in manifest.nodes}
        there = {node_id: file for node_id, file in files.items() if (path / file).is_file()}
        absent.extend(file for node_id, file in files.items() if node_id not in there)
        return {node_id: read_table(path / file, needed, seen=seen) for node_id, file in there.items()}

    readings = read(records.READINGS_FILE, NEEDED)
    if not readings:
        got = f"found none of {', '.join(absent) or 'any node'}"
        raise AnalysisError(f"{path}: expected the readings of a {manifest.kind} of clocks, {got}; collect the run")
    recorded = manifest.imported is None  # of a log nobody expects an agent's files
    samples = read(records.SAMPLES_FILE, ("sample_id", "source", "outcome")) if recorded else {}
    clock_pairs = read(records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS) if recorded else {}
    probes = read(records.PROBES_FILE, records.PROBES_COLUMNS) if recorded else {}
    first = manifest.coordinator_id
    return Run(
        path=path,
        manifest=manifest,
        coordinator=_as_events(readings.get(first, _empty(records.READINGS_COLUMNS)), "send"),
        workers={node: _as_events(frame, "receive") for node, frame in readings.items() if node != first},
        sends=_empty(records.SENDS_COLUMNS),
        samples=samples,
        commit_wait={},
        clock_pairs=clock_pairs,
        probes=probes,
        absent=tuple(absent),
        seen=seen,
    )


def _as_events(readings: pd.DataFrame, role: str) -> pd.DataFrame:
    """Return a node's readings in the columns of sends (``role`` send) or receipts (receive).

    Of a log there are only the columns that it fills; the others of each of its sources are there and empty.
    """
    wanted = records.readings_columns(tuple(prefixes([readings])))
    lacking = _empty([column for column in wanted if column not in readings]).reindex(readings.index)
    return pd.concat([readings, lacking], axis=1).rename(columns=_names(role))


def readings_of(run: Run) -> dict[str, pd.DataFrame]:
    """Return every node's readings in their own columns again, by node; a node without the file has none."""
    own = {
        node_id: in_memory(frame).rename(columns={here: name for name, here in _names(role).items()})
        for role, frames in (("send", {run.manifest.coordinator_id: run.coordinator}), ("receive", run.workers))
        for node_id, frame in frames.items()
    }
    return {node_id: frame for node_id, frame in own.items() if readings_file(node_id) not in run.absent}


def _names(role: str) -> Mapping[str, str]:
    stamps = (f"{role}_time_ns", f"{role}_raw_ns", f"{role}_raw_error_ns")
    return dict(zip(("reading_id", *_STAMPS), ("event_id", *stamps), strict=True))


def _empty(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(dtype=column_type(column)) for column in columns})
