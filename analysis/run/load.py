"""Read a run folder into typed frames, as written (``csv_tables``); of a long run they may be on disk (``stored``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from analysis.errors import AnalysisError, NoSuchRun, UsageError, candidates, cause
from analysis.run import memory
from analysis.run.csv_tables import column_type, header, read_table
from analysis.run.hashing import Seen
from analysis.run.stored import Frame
from analysis.storage.put_away import PutAway
from node_agent.contract import records
from node_agent.contract.records import LATEST, NAME_FORM, is_experiment_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Keep = Callable[[Path, records.Manifest, Seen], Mapping[str, Frame]]  # tables by their paths in the run folder

RESULTS_DIR: Final = Path("results")
SIMULATED: Final = "simulated"  # the cluster of runs that never happened

KEPT_BYTES: Final = 32 << 20  # a bigger commit_wait.csv is read again each time it is asked for, not kept
COMMIT_WAIT: Final = (  # what is judged; the offset and the number of looks are for replay and for people
    "event_id", "source", "kind", "due_raw_ns", "done_raw_ns", "delay_s", "status", "uncertainty_ms",
    "asymmetry_ms", "sample_id", "assigned_ns",
)  # fmt: skip
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
    coordinator: Frame
    workers: Mapping[str, Frame]
    sends: Frame
    samples: Mapping[str, pd.DataFrame]
    commit_wait: Mapping[str, Frame]
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

    def rows_by_node(self) -> dict[str, Frame]:
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
            there = f"; in {results_dir}/ are: {candidates('', runs)}" if (runs := experiments(results_dir)) else ""
            raise NoSuchRun(f"no latest run: expected {path}; run an experiment, or name one with --experiment{there}")
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


def load(path: Path, keep: Keep | None = None) -> Run:
    """Read the run folder at ``path``; of its long tables what ``keep`` makes of them, which may be on disk.

    A worker without data is noted in ``absent``: one node failing is data. Raises AnalysisError where nothing can be
    judged: no readable manifest, no coordinator file, no worker file at all, a file without its columns, or less
    memory than the run needs.
    """
    manifest = read_manifest(path)
    if manifest.kind != records.EXPERIMENT:
        got = f"got a {manifest.kind} of clocks, which has readings alone"
        raise AnalysisError(f"{path}: expected a run with events, {got}; invoke analyze judges it")
    coordinator_file = path / records.COORDINATOR_FILE
    if not coordinator_file.is_file():
        wanted = "expected the coordinator's events"
        raise AnalysisError(f"{coordinator_file}: {wanted}, found no such file; {_collect(manifest)}")
    seen = Seen()
    absent: list[str] = []
    if keep is None:
        memory.require(path, manifest)
    kept = {} if keep is None else keep(path, manifest, seen)

    def table(name: str, needed: Sequence[str]) -> Frame:
        if name not in kept:
            return read_table(path / name, needed, seen=seen)
        header(path / name, needed)
        return kept[name]

    def present(names: Mapping[str, str]) -> dict[str, str]:
        """Return which of some files there are, by node id; note what is not there."""
        there = {node_id: name for node_id, name in names.items() if (path / name).is_file()}
        absent.extend(name for name in names.values() if name not in there.values())
        return there

    def read(name: str, needed: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Read one file of every node that has it."""
        return {
            node_id: read_table(path / of_node, needed, seen=seen) for node_id, of_node in present(raw(name)).items()
        }

    def raw(name: str) -> dict[str, str]:
        return {node_id: f"{records.RAW_DIR}/{node_id}/{name}" for node_id in manifest.nodes}

    names = present({node_id: records.worker_file(node_id) for node_id in manifest.worker_ids})
    if not names:
        expected = ", ".join(absent) or "at least one worker in the manifest"
        raise AnalysisError(f"{path}: expected {expected}, found no worker file; {_collect(manifest)}")
    workers = {node_id: table(name, NEEDED_RECEIVE) for node_id, name in names.items()}
    coordinator = manifest.coordinator_id
    log = present({coordinator: raw(records.SENDS_FILE)[coordinator]})
    sends = {node_id: table(name, ("event_id", "worker_id", "send_time_ns")) for node_id, name in log.items()}
    no_sends = {column: pd.Series(dtype=column_type(column)) for column in records.SENDS_COLUMNS}
    samples = read(records.SAMPLES_FILE, ("sample_id", "source", "outcome"))
    waits = raw(records.COMMIT_WAIT_FILE)
    read_when_asked = NodeTables(path, waits, seen, COMMIT_WAIT)
    absent += read_when_asked.absent
    commit_wait: Mapping[str, Frame] = read_when_asked
    if keep is not None:
        commit_wait = {node_id: kept[waits[node_id]] for node_id in read_when_asked}
    return Run(
        path=path,
        manifest=manifest,
        coordinator=table(records.COORDINATOR_FILE, NEEDED_SEND),
        workers=workers,
        sends=sends.get(coordinator, pd.DataFrame(no_sends)),
        samples=samples,
        commit_wait=commit_wait,
        clock_pairs=read(records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS),
        probes=PutAway(read(records.PROBES_FILE, records.PROBES_COLUMNS)),
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
            header(file, needed)

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


def prefixes(frames: Iterable[Frame]) -> list[str]:
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
    """Return what to do where files of a run are not there."""
    if manifest.cluster == SIMULATED:
        return f"make it again: uv run {' '.join([Path(manifest.argv[0]).name, *manifest.argv[1:]])}"
    if manifest.imported is not None:
        return "import it again"
    return f"if it has run, bring it home: fab {manifest.cluster} collect --experiment {manifest.experiment}"
