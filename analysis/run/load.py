"""Read a run folder into typed frames, as written: nothing joined, nothing dropped, nothing filled in.

Every ``_ns`` column is read as a nullable 64-bit integer and never passes through a float, which would round an instant
to 256 ns. Text is categorical, as a million rows say the same few words (an absent cell is ``NA``); everything else is
a float with ``NaN`` for an absent cell.

pyarrow reads the files, ten times as fast as pandas; a file it refuses (a
torn last line, an integer written as a float) is read by pandas, which bears with more and says more clearly what is
wrong.
"""

from __future__ import annotations

import csv
import ctypes
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from analysis.errors import AnalysisError, NoSuchRun, UsageError, candidates, cause
from analysis.run import memory
from analysis.run.hashing import Seen, sha256
from node_agent.contract import records
from node_agent.contract.records import LATEST, NAME_FORM, is_experiment_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESULTS_DIR: Final = Path("results")

INTEGER_COLUMNS: Final = {
    "event_id", "reading_id", "sequence_number", "stratum", "spins", "sequence", "drift_fs_per_s",
    "drift_sigma_fs_per_s", "max_drift_ppb", "question_bytes",
}  # fmt: skip
FLOAT_SUFFIXES: Final = ("_ms", "_s", "_level")

KEPT_BYTES: Final = 32 << 20  # a bigger commit_wait.csv is read again each time it is asked for, not kept
COMMIT_WAIT: Final = (  # what is judged; the offset and the number of looks are for replay and for people
    "event_id", "source", "kind", "due_raw_ns", "done_raw_ns", "delay_s", "status", "uncertainty_ms",
    "asymmetry_ms", "sample_id", "assigned_ns",
)  # fmt: skip
TEXT: Final = "category"
_ARROW: Final = {"Int64": pa.int64(), "float64": pa.float64(), TEXT: pa.dictionary(pa.int32(), pa.string())}
_PANDAS: Final = {pa.int64(): pd.Int64Dtype()}

TABLE: Final = "expected a table: a line of column names, then rows"
OTHER_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
NEEDED_RECEIVE: Final = ("event_id", "node_id", "receive_time_ns")
NEEDED_SEND: Final = ("event_id", "send_time_ns")


@dataclass(frozen=True)
class Run:
    """One run folder. Frames hold the files' rows in file order, duplicates included.

    ``workers``, ``samples``, ``commit_wait``, ``clock_pairs`` and ``probes`` are keyed by node id; a node without the
    file has no key, and its path (relative to the run folder) is in ``absent``. ``sends`` holds the coordinator's
    per-worker transmit stamps, empty where there is no such file. ``commit_wait``, the longest of them (a row per
    event, source and delay), is read when it is asked for, in the columns of ``COMMIT_WAIT``. ``seen``: what was seen
    of the files (see ``hashing``).
    """

    path: Path
    manifest: records.Manifest
    coordinator: pd.DataFrame
    workers: Mapping[str, pd.DataFrame]
    sends: pd.DataFrame
    samples: Mapping[str, pd.DataFrame]
    commit_wait: Mapping[str, pd.DataFrame]
    clock_pairs: Mapping[str, pd.DataFrame]
    probes: Mapping[str, pd.DataFrame]
    absent: tuple[str, ...] = field(default=())
    seen: Seen = field(default_factory=Seen, repr=False)

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.manifest.experiment

    @property
    def worker_ids(self) -> list[str]:
        """Return all configured workers in configured order, with data or without."""
        return self.manifest.worker_ids

    def rows_by_node(self) -> dict[str, pd.DataFrame]:
        """Return the rows of every node that left data, by node id, the coordinator first."""
        return {self.manifest.coordinator_id: self.coordinator, **self.workers}

    def stamp_column(self, node_id: str) -> str:
        """Return the name of the column that holds a node's own wall stamp."""
        return "send_time_ns" if node_id == self.manifest.coordinator_id else "receive_time_ns"


def resolve(experiment: str | Path | None, results_dir: Path = RESULTS_DIR) -> Path:
    """Return the run folder, with its manifest, of an experiment given by name, by path, or by None for the latest.

    Raises NoSuchRun (exit 2) where there is none, or the name is not one.
    """
    path = folder(experiment, results_dir)
    if not (path / records.MANIFEST_FILE).is_file():
        raise NoSuchRun(f"{path}: expected {records.MANIFEST_FILE}, found none; is it a run folder?")
    return path


def folder(experiment: str | Path | None, results_dir: Path = RESULTS_DIR) -> Path:
    """Return the folder of an experiment, whatever is in it; otherwise like ``resolve``."""
    if experiment is None:
        path = results_dir / LATEST
        if not path.is_dir():
            raise NoSuchRun(f"no latest run: expected {path}; run an experiment, or name one with --experiment")
        return _real(path)
    path = Path(experiment)
    if isinstance(experiment, str) and not any(separator in experiment for separator in "/\\"):
        if not is_experiment_name(experiment) and experiment != LATEST:
            raise NoSuchRun(
                f"experiment name: expected {NAME_FORM}, got {experiment!r}; name an older folder by its path"
            )
        if not (path / records.MANIFEST_FILE).is_file():
            path = results_dir / experiment
    if not path.is_dir():
        known = candidates(str(experiment), experiments(results_dir))
        raise NoSuchRun(f"no experiment {str(experiment)!r}: expected a folder {path}; in {results_dir}/ are: {known}")
    return _real(path)


def new_folder(results_dir: Path, experiment: str) -> Path:
    """Return the folder of a run that is to be made. Raises UsageError where the name is none, or taken."""
    if not is_experiment_name(experiment):
        raise UsageError(f"experiment name: expected {NAME_FORM}, got {experiment!r}")
    path = results_dir / experiment
    if path.exists() or path.is_symlink():
        raise UsageError(f"experiment {experiment}: expected a new name, got one that has {path}")
    return path


def load(path: Path) -> Run:
    """Read the run folder at ``path``.

    A worker without data is noted in ``absent``: one node failing is data. Raises AnalysisError where nothing can be
    judged: no readable manifest, no coordinator file, no worker file at all, a file without its columns, or less
    memory than the run needs.
    """
    manifest = read_manifest(path)
    if manifest.kind != records.EXPERIMENT:
        got = f"got a {manifest.kind} of clocks, which has readings alone"
        raise AnalysisError(f"{path}: expected a run with events, {got}; invoke analyze judges it")
    memory.require(path, manifest)
    coordinator_file = path / records.COORDINATOR_FILE
    if not coordinator_file.is_file():
        wanted = "expected the coordinator's events"
        raise AnalysisError(f"{coordinator_file}: {wanted}, found no such file; {_collect(manifest)}")
    seen = Seen()
    absent: list[str] = []

    def read(names: Mapping[str, str], needed: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Read what there is of some files, by node id; note what is not there."""
        there = {node_id: name for node_id, name in names.items() if (path / name).is_file()}
        absent.extend(name for name in names.values() if name not in there.values())
        return {node_id: read_table(path / name, needed, seen=seen) for node_id, name in there.items()}

    def raw(name: str) -> dict[str, str]:
        return {node_id: f"{records.RAW_DIR}/{node_id}/{name}" for node_id in manifest.nodes}

    workers = read({node_id: records.worker_file(node_id) for node_id in manifest.worker_ids}, NEEDED_RECEIVE)
    if not workers:
        expected = ", ".join(absent) or "at least one worker in the manifest"
        raise AnalysisError(f"{path}: expected {expected}, found no worker file; {_collect(manifest)}")
    coordinator = manifest.coordinator_id
    sends = read({coordinator: raw(records.SENDS_FILE)[coordinator]}, ("event_id", "worker_id", "send_time_ns"))
    no_sends = {column: pd.Series(dtype=column_type(column)) for column in records.SENDS_COLUMNS}
    samples = read(raw(records.SAMPLES_FILE), ("sample_id", "source", "outcome"))
    commit_wait = NodeTables(path, raw(records.COMMIT_WAIT_FILE), seen, COMMIT_WAIT)
    absent += commit_wait.absent
    return Run(
        path=path,
        manifest=manifest,
        coordinator=read_table(coordinator_file, NEEDED_SEND, seen=seen),
        workers=workers,
        sends=sends.get(coordinator, pd.DataFrame(no_sends)),
        samples=samples,
        commit_wait=commit_wait,
        clock_pairs=read(raw(records.CLOCK_PAIRS_FILE), records.CLOCK_PAIRS_COLUMNS),
        probes=read(raw(records.PROBES_FILE), records.PROBES_COLUMNS),
        absent=tuple(absent),
        seen=seen,
    )


class NodeTables(Mapping[str, pd.DataFrame]):
    """Some columns of one file of every node, by node id, read when asked for; big ones are not kept in memory.

    ``absent`` names the files that are not there. Raises AnalysisError at once if a needed column is missing.
    """

    def __init__(self, path: Path, names: Mapping[str, str], seen: Seen, needed: Sequence[str]) -> None:
        self._files = {node_id: path / name for node_id, name in names.items() if (path / name).is_file()}
        self._needed = needed
        self._seen = seen
        self._kept: dict[str, pd.DataFrame] = {}
        self.absent = tuple(name for node_id, name in names.items() if node_id not in self._files)
        for file in self._files.values():
            _header(file, needed)

    def __getitem__(self, node_id: str) -> pd.DataFrame:
        if node_id in self._kept:
            return self._kept[node_id]
        file = self._files[node_id]
        table = read_table(file, self._needed, only=True, seen=self._seen)
        if file.stat().st_size <= KEPT_BYTES:
            self._kept[node_id] = table
        return table

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def read_table(path: Path, needed: Sequence[str] = (), *, only: bool = False, seen: Seen | None = None) -> pd.DataFrame:
    """Read one CSV file of a run by the house's column names; raises AnalysisError if a needed column is missing.

    ``only``: the needed columns and no others. ``seen`` is told the file's digest, and of whole numbers that are
    written as fractions.
    """
    header = _header(path, needed)
    types = {column: column_type(column) for column in header if column in needed or not only}
    options = arrow_csv.ConvertOptions(
        column_types={column: _ARROW[kind] for column, kind in types.items()},
        include_columns=list(types),
        null_values=[""],
        strings_can_be_null=True,
    )
    parsing = arrow_csv.ParseOptions(newlines_in_values=True)
    try:
        if len(set(header)) == len(header):
            with ThreadPoolExecutor(1) as beside, pa.OSFile(os.fsencode(path)) as file:
                digest = beside.submit(sha256, path) if seen is not None else None
                # A file of Arrow's own: its threads let the pieces of a file of Python's go when they come to it, and
                # one that comes to it while the interpreter ends, as after a replay, ends the process with an abort.
                rows = arrow_csv.read_csv(file, parse_options=parsing, convert_options=options)
                if seen is not None and digest is not None:
                    seen.digests[path] = digest.result()
            by_name = {}
            for name in types:  # one after another, each let go once it is made: a long file is not there twice
                by_name[name] = rows.column(name).to_pandas(types_mapper=_PANDAS.get)
                rows = rows.drop_columns([name])
                pa.default_memory_pool().release_unused()
            return pd.DataFrame(by_name, copy=False)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        pass  # pandas bears with it, or says what is wrong
    try:
        with np.errstate(invalid="ignore"):  # an infinity among whole numbers: pandas then finds that it does not fit
            columns = list(types) if only else None
            frame: pd.DataFrame = pd.read_csv(path, dtype=types, usecols=columns, keep_default_na=False, na_values=[""])
        if seen is not None:
            _note(path, [column for column, kind in types.items() if kind == "Int64"], seen)
    except (OSError, ValueError, TypeError, OverflowError) as error:  # the last two: fractions, or more than 64 bits
        raise _unreadable(path, error) from error
    return frame


def release_memory() -> None:
    """Give back to the system what was freed; the allocators keep it for later, arrays of up to 32 MB and all texts."""
    pa.default_memory_pool().release_unused()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc's
        trim(0)


def _note(path: Path, whole: Sequence[str], seen: Seen) -> None:
    """Note the digest of a file that only pandas could read, and which cells of whole numbers are written as none."""
    seen.digests[path] = sha256(path)
    cells = pd.read_csv(path, dtype="string", usecols=list(whole), keep_default_na=False)
    odd = {column: int((~cells[column].str.fullmatch(r"-?[0-9]*").fillna(value=True)).sum()) for column in whole}
    if fractions := {column: count for column, count in odd.items() if count}:
        seen.odd_cells[path] = fractions


def _header(path: Path, needed: Sequence[str]) -> list[str]:
    """Return a table's columns; raises AnalysisError if there are none or a needed one is missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if not header:
        got = "an empty file" if path.stat().st_size == 0 else "an empty first line"
        raise AnalysisError(f"{path}: {TABLE}, got {got}; collect the run again")
    if len(header) == 1 and (other := next((mark for mark in OTHER_SEPARATORS if mark in header[0]), "")):
        got = f"{OTHER_SEPARATORS[other]} between columns instead of commas"
        raise AnalysisError(f"{path}: {TABLE}, got {got}: another program has written it; collect the run again")
    if "" in header or len(set(header)) < len(header):  # which of two a reader gets is anyone's guess
        wrong = next(column for column in header if not column or header.count(column) > 1)
        raise AnalysisError(f"{path}: expected every column named once, got {wrong!r}; collect the run again")
    missing = [column for column in needed if column not in header and not records.is_later(column)]
    if missing:
        got = " ".join(", ".join(header[:8]).split())
        raise AnalysisError(f"{path}: expected the column {missing[0]!r}, got {got} ...; is it a file of this version?")
    return header


def _unreadable(path: Path, error: Exception) -> AnalysisError:
    got = "bytes that are no text in UTF-8" if isinstance(error, UnicodeDecodeError) else cause(error)
    return AnalysisError(f"{path}: {TABLE}, got {got}; collect the run again")


def column_type(column: str) -> str:
    """Return the pandas type of a column, by its name."""
    if column.endswith("_ns") or column in INTEGER_COLUMNS:
        return "Int64"
    return "float64" if column.endswith(FLOAT_SUFFIXES) else TEXT


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its categorical columns as plain texts, which can be filled and joined."""
    return frame.astype({name: "string" for name, kind in frame.dtypes.items() if kind == TEXT})


def prefixes(frames: Iterable[pd.DataFrame]) -> list[str]:
    """Return the prefixes of the sources that have columns in any of the frames, in the order met."""
    by_prefix: dict[str, None] = {}
    for frame in frames:
        for column in frame.columns:
            if column.endswith("_timestamp_ns") and f"{column.removesuffix('_timestamp_ns')}_status" in frame.columns:
                by_prefix[column.removesuffix("_timestamp_ns")] = None
    return list(by_prefix)


def source_name(prefix: str) -> str:
    """Return the source's name for a column prefix: ``ct`` -> ``chronotick``; a new source goes by its prefix."""
    return next((name for name, known in records.COLUMN_PREFIX.items() if known == prefix), prefix)


def _real(path: Path) -> Path:
    """Return the run folder itself, not the link ``latest`` to it; relative where it lies below the current folder."""
    real, here = path.resolve(), Path.cwd()
    return real.relative_to(here) if real.is_relative_to(here) else real


def experiments(results_dir: Path) -> list[str]:
    """Return the names of the run folders there, in order."""
    if not results_dir.is_dir():
        return []
    return sorted(
        entry.name
        for entry in results_dir.iterdir()
        if entry.name != LATEST and (entry / records.MANIFEST_FILE).is_file()
    )


def read_manifest(path: Path) -> records.Manifest:
    """Read a run folder's manifest. Raises AnalysisError where there is none, or none of this version."""
    file = path / records.MANIFEST_FILE
    try:
        manifest = records.Manifest.from_json(file.read_text(encoding="utf-8"))
        _ = manifest.coordinator_id
    except OSError as error:
        advice = "name a run with --experiment"
        raise NoSuchRun(f"{file}: expected a run's manifest, got: {cause(error)}; {advice}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnalysisError(f"{file}: expected a manifest of this version, got: {cause(error)}") from error
    except StopIteration as error:
        raise AnalysisError(f"{file}: expected one node with the role 'coordinator', got none") from error
    return manifest


def min_received_share(manifest: records.Manifest) -> float | None:
    """Return the share of its events that a run demands of each worker; None where the manifest does not say."""
    try:
        return float(manifest.config["coordinator"]["experiment"]["min_received_share"])
    except (KeyError, TypeError, ValueError):
        return None


def _collect(manifest: records.Manifest) -> str:
    return f"if it has run, bring it home: fab {manifest.cluster} collect --experiment {manifest.experiment}"
