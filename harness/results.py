"""Results folders: names, the manifest, the ``latest`` link, and which code made them. All written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import CollectionError, ConfigError, ExperimentExistsError, candidates, cause
from node_agent.contract import records
from node_agent.contract.records import CONFIGS_DIR, LATEST, MANIFEST_FILE, RAW_DIR, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RESULTS: Final = "results"

_SOURCES: Final = ("fabfile.py", "harness", "node_agent", "analysis", "time_services")


@dataclass
class RunFolder:
    """``results/<experiment>``: its path and its manifest, which ``save`` puts on disk."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.manifest.experiment

    def raw(self, node_id: str) -> Path:
        """Return where a node's own files are kept."""
        return self.path / RAW_DIR / node_id

    def save(self) -> None:
        """Write the manifest; a reader sees the old one or the new one, never a part."""
        write_atomically(self.path / MANIFEST_FILE, self.manifest.to_json().encode())


def new_name() -> str:
    """Return a name nobody has used: the UTC time and a short id."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def valid_name(name: str, what: str = "experiment name") -> str:
    """Return ``name`` if it can be an experiment's (or a testbed's). Raises ConfigError that says ``what`` it is."""
    if not records.is_experiment_name(name):
        raise ConfigError(f"{what}: expected {records.NAME_FORM}, got {name!r}")
    return name


def create(results: Path, manifest: Manifest, configs: Iterable[Path]) -> RunFolder:
    """Make a results folder with its manifest and the configuration files as they are now, and point ``latest`` to it.

    Raises ExperimentExistsError if there is one of that name.
    """
    path = results / valid_name(manifest.experiment)
    demand_writable(results)
    made = False
    try:
        results.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            told = f"experiment {path.name}: expected a new name, got one that has {path}"
            raise ExperimentExistsError(told) from None
        made = True
        for config in configs:
            (path / CONFIGS_DIR).mkdir(exist_ok=True)
            shutil.copyfile(config, path / CONFIGS_DIR / config.name)
        folder = RunFolder(path, manifest)
        folder.save()
        scratch = results / f".{LATEST}.{secrets.token_hex(4)}"
        scratch.symlink_to(path.name)
        scratch.replace(results / LATEST)  # without a moment in which it means none
    except (OSError, CollectionError) as error:
        if made:  # half a deployment would be taken for one
            shutil.rmtree(path, ignore_errors=True)
        why = cause(error) if isinstance(error, OSError) else str(error)
        told = f"expected to make {path}, got: {why}; nothing was started"
        raise ConfigError(f"experiment {path.name}: {told}") from error
    return folder


def demand_writable(results: Path) -> None:
    """Raise ConfigError if experiments could not be made there; nothing is made to find out."""
    place = results.absolute()
    if results.is_symlink() and not results.exists():
        got = f"got a link to {results.readlink()}, which is none"
        raise ConfigError(f"{results}: expected a folder for results, {got}")
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"{results}: expected a folder for results, got a file: {place}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{results}: expected a folder that can be written, got one that cannot: {place}")


def find(results: Path, name: str | None = None) -> RunFolder:
    """Return the run folder of an experiment, or the latest. Raises ConfigError if there is none."""
    if name is None:
        path = results / LATEST
        if not path.exists():
            raise ConfigError(f"experiment: expected one in {results}, got none; deploy or run one first")
        path = results / path.resolve().name
    else:
        path = results / valid_name(name)
        if not path.is_dir():
            names = {entry.parent.name for entry in results.glob(f"[!.]*/{MANIFEST_FILE}")} - {LATEST}
            there = f"in {results}/ are: {candidates(name, sorted(names))}"
            raise ConfigError(f"experiment {name}: expected a results folder {path}, got none there; {there}")
    try:
        return RunFolder(path, Manifest.from_json((path / MANIFEST_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path / MANIFEST_FILE}: expected a run's manifest, got {told}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there. Raises CollectionError where that cannot be (a full disk)."""
    with told_of_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def told_of_disk(place: Path) -> Iterator[None]:
    """Turn what the disk of this machine refuses into one line. Raises CollectionError."""
    try:
        yield
    except OSError as error:
        advice = "make room, then fab collect"
        raise CollectionError(f"{place}: expected to write it, got: {cause(error)}; {advice}") from error


def utc_now() -> str:
    """Return the time as the manifest tells it, e.g. ``2025-10-25T14:00:00Z``."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def code_version(root: Path) -> dict[str, Any]:
    """Return which code this is: git commit and whether the tree is dirty (if git knows), and a hash of it."""
    commit, dirty = "unknown", None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        top = _git(root, "rev-parse", "--show-toplevel")
        if Path(top).samefile(root):
            commit = _git(root, "rev-parse", "HEAD")
            dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=normal"))
    return {"git": commit, "dirty": dirty, "source_sha256": _source_hash(root)}


def _git(root: Path, *arguments: str) -> str:
    """Ask git about the repository at ``root``, whichever one the environment means (as it does inside a hook)."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", root, *arguments], env=known, capture_output=True, timeout=10, check=True)
    return os.fsdecode(done.stdout).strip()


def _source_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.is_file():
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
