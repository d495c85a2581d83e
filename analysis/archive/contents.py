"""What of a run folder goes into an archive, under which name and in which role; what is left out, and why.

Only what the contract of a run folder names is taken: the manifest, the tables, and the folders of ``FOLDERS``. Keys
are left out by their names; a file that holds a private key under another name is refused, as nobody can tell what
else rests on it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analysis.archive import names
from analysis.archive.citation import MACROS_FILE
from analysis.errors import AnalysisError, cause
from analysis.report import latex
from analysis.run import load
from analysis.sweep import runs as sweep_runs
from node_agent.contract import plan, records

DATA_DIR: Final = Path(records.MERGED_FILE).parts[0]
LATEX_NAME: Final = Path(latex.FILE).name  # in a sweep's folder as well
REPORT_DIR: Final = Path(records.REPORT_FILE).parts[0]
FOLDERS: Final = {
    records.CONFIGS_DIR: "configuration file as it was used",
    records.RAW_DIR: "file of a node",
    DATA_DIR: "merged table: a row per event and worker",
    records.FIGURES_DIR: "figure",
    records.STATISTICS_DIR: "statistics",
    REPORT_DIR: "report",
}
RAW_ROLES: Final = {
    records.EVENTS_FILE: "journal of a node: its events, with its readings of every clock",
    records.READINGS_FILE: "journal of a node in a watch: its readings of every clock",
    records.SAMPLES_FILE: "journal of a node: what its clock sources answered",
    records.COMMIT_WAIT_FILE: "journal of a node: re-measured uncertainties and commit-waits",
    records.CLOCK_PAIRS_FILE: "journal of a node: wall clock against raw oscillator",
    records.PROBES_FILE: "journal of a node: stamps of the probes",
    records.SENDS_FILE: "journal of the coordinator: a transmit stamp per worker",
    records.LOG_FILE: "log of a node's agent",
    records.STATUS_FILE: "last status of a node's agent",
    records.CHECKSUMS_FILE: "SHA-256 of a node's files, made on the node",
    plan.PLAN_FILE: "what a node was told to do",
}
MANIFEST_ROLE: Final = "manifest: what was run, with which code and configuration, and how it ended"
TABLE_ROLE: Final = "events of a node, assembled from its journals"
SWEEP_ROLE: Final = "all runs of the sweep together"

KEY_NAMES: Final = (
    plan.KEY_FILE, "*.key", "*.pem", "*.p12", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "known_hosts*",
    "authorized_keys*",
)  # fmt: skip
KEY_MARKS: Final = (b"PRIVATE KEY-----", b"PuTTY-User-Key-File-")
A_KEY: Final = "a key, or a list of keys"
HIDDEN: Final = "hidden"
NOT_OURS: Final = "no part of a run folder"
OWN_MACROS: Final = "names the archive's sha256, so it cannot be in it"
CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Item:
    """One file: its name below the top folder of the archive, where it is now, and its role."""

    name: str
    path: Path
    role: str


@dataclass(frozen=True)
class ArchivedRun:
    """A run folder's name and manifest."""

    name: str
    path: Path
    manifest: records.Manifest


@dataclass(frozen=True)
class Contents:
    """Everything that an archive holds, in the order of the names; ``left_out``: what is not taken, and why."""

    name: str
    runs: tuple[ArchivedRun, ...]
    items: tuple[Item, ...]
    empty_folders: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    macros_folder: Path | None  # where results.tex is, beside which the macros of the archive go
    is_sweep: bool = False


def of_run(folder: Path) -> Contents:
    """Return what an archive of one run holds. Raises AnalysisError for what cannot be archived as it is."""
    found = _Found()
    run = found.add_run(folder)
    macros = folder / REPORT_DIR
    return found.contents(run.name, macros if (macros / LATEX_NAME).is_file() else None)


def of_sweep(results_dir: Path, sweep: str) -> Contents:
    """Return what an archive of all runs of a sweep holds, and of its folder where it was analysed."""
    found = _Found()
    for run in sweep_runs.find(results_dir, sweep):
        found.add_run(run.path)
    folder = results_dir / f"{sweep}{names.SWEEP_ENDING}"
    if folder.is_dir():
        found.add_folder(folder)
    return found.contents(sweep, folder if (folder / LATEX_NAME).is_file() else None, is_sweep=True)


def digest(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 and size in bytes. Raises AnalysisError where it holds a private key, or is unreadable.

    Reads the file once, a piece at a time.
    """
    sha256, size, end = hashlib.sha256(), 0, b""
    try:
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                if any(mark in end + piece for mark in KEY_MARKS):
                    told = "expected no secret in what is to be published, got a private key"
                    raise AnalysisError(f"{path}: {told}; take it out of the run folder")
                sha256.update(piece)
                size += len(piece)
                end = piece[-max(map(len, KEY_MARKS)) :]
    except OSError as error:
        raise AnalysisError(f"{path}: expected to read it, got: {cause(error)}") from error
    return sha256.hexdigest(), size


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self._runs: list[ArchivedRun] = []
        self._items: list[Item] = []
        self._empty: list[str] = []
        self._left_out: list[tuple[str, str]] = []

    def contents(self, name: str, macros_folder: Path | None, *, is_sweep: bool = False) -> Contents:
        return Contents(
            name,
            tuple(self._runs),
            tuple(sorted(self._items, key=lambda item: item.name)),
            tuple(sorted(self._empty)),
            tuple(sorted(self._left_out)),
            macros_folder,
            is_sweep,
        )

    def add_run(self, folder: Path) -> ArchivedRun:
        """Take what belongs to a run folder; the rest of it is left out."""
        run = ArchivedRun(folder.name, folder, load.read_manifest(folder))
        tables = {records.table_file(node_id, node.role) for node_id, node in run.manifest.nodes.items()}
        roles = {records.MANIFEST_FILE: MANIFEST_ROLE, **dict.fromkeys(sorted(tables), TABLE_ROLE), **FOLDERS}
        for path in sorted(folder.iterdir(), key=lambda path: path.name):
            if path.name not in roles:
                self._leave_out(path, folder, HIDDEN if path.name.startswith(".") else NOT_OURS)
            elif _is_folder(path) != (path.name in FOLDERS):
                raise AnalysisError(
                    f"{path}: expected a {'folder' if path.name in FOLDERS else 'file'}, got another kind"
                )
            elif path.name in FOLDERS:
                self._walk(path, folder, roles[path.name])
            else:
                self._take(path, folder, roles[path.name])
        self._runs.append(run)
        return run

    def add_folder(self, folder: Path) -> None:
        """Take all of a sweep's own folder, which the analysis wrote."""
        self._walk(folder, folder, SWEEP_ROLE)

    def _walk(self, place: Path, folder: Path, role: str) -> None:
        for path in sorted(place.iterdir(), key=lambda path: path.name):
            if path.name.startswith("."):
                self._leave_out(path, folder, HIDDEN)
            elif _is_folder(path):
                if any(path.iterdir()):
                    self._walk(path, folder, role)
                else:
                    self._empty.append(_name(path, folder))
            elif any(fnmatch.fnmatchcase(path.name, pattern) for pattern in KEY_NAMES):
                self._leave_out(path, folder, A_KEY)
            elif path.name == MACROS_FILE and path.parent.name in {REPORT_DIR, folder.name}:
                self._leave_out(path, folder, OWN_MACROS)
            else:
                self._take(path, folder, RAW_ROLES.get(path.name, role) if role == FOLDERS[records.RAW_DIR] else role)

    def _take(self, path: Path, folder: Path, role: str) -> None:
        self._items.append(Item(_name(path, folder), path, role))

    def _leave_out(self, path: Path, folder: Path, why: str) -> None:
        self._left_out.append((f"{folder.name}/{path.relative_to(folder).as_posix()}", why))


def _is_folder(path: Path) -> bool:
    """Tell whether it is a folder, or a file. Raises AnalysisError for anything else: a link may lead anywhere."""
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a link" if stat.S_ISLNK(mode) else "something else"
        raise AnalysisError(f"{path}: expected a file or a folder, got {kind}; put what it stands for there itself")
    return stat.S_ISDIR(mode)


def _name(path: Path, folder: Path) -> str:
    """Return a file's name in the archive. Raises AnalysisError where no archive can hold it."""
    name = f"{names.RESULTS}/{folder.name}/{path.relative_to(folder).as_posix()}"
    if wrong := names.wrong_with(name):
        raise AnalysisError(f"{str(path)!a}: expected a name that every machine can read, got {wrong}; rename it")
    return name
