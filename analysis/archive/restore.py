"""Make run folders again from an archive: all of it is verified before any folder appears."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.archive import citation, names
from analysis.archive.archive import PIECE, SHORT, Archived
from analysis.archive.contents import LATEX_NAME, REPORT_DIR
from analysis.archive.frames import FrameReader, FramesError
from analysis.errors import ArchiveError, UsageError, cause
from analysis.run import load
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_SUMS_BYTES: Final = 64 << 20
SCRATCH: Final = ".restore-"
ANOTHER_COPY: Final = "take another copy of the archive"


@dataclass(frozen=True)
class Restored:
    """The run folders that were made, and the archive they came from.

    ``renamed``: what the manifest calls a run that was given another name, None for one that was not.
    """

    folders: tuple[Path, ...]
    archived: Archived
    renamed: str | None = None


def restore(file: Path, results_dir: Path, experiment: str | None = None) -> Restored:
    """Make the folders of an archive below ``results_dir``, all of them or none; ``experiment``: the run's new name.

    Raises UsageError (2) where there is no such file, or a folder is there already; ArchiveError (7) where a byte was
    changed, a file is missing or one too many, or a name would leave the folder.
    """
    if not file.is_file():
        raise UsageError(f"{file}: expected an archive, found {'a folder' if file.is_dir() else 'no such file'}")
    if results_dir.exists() and not results_dir.is_dir():
        raise UsageError(f"{results_dir}: expected a folder for results, got a file")
    made = not results_dir.exists()
    try:
        results_dir.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as opened, tempfile.TemporaryDirectory(dir=results_dir, prefix=SCRATCH) as scratch:
            return _Restoring(file, results_dir, experiment, Path(scratch)).restore(FrameReader(opened, str(file)))
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # it is not empty: somebody else has used it since
                results_dir.rmdir()
        raise


class _Restoring:
    """One archive on its way into a folder beside the final ones."""

    def __init__(self, file: Path, results_dir: Path, experiment: str | None, scratch: Path) -> None:
        self._file, self._results_dir, self._experiment, self._scratch = file, results_dir, experiment, scratch
        self._bytes = 0  # of the run folders' files
        self._at = names.SUMS_FILE  # the file that is read, or was read last

    def restore(self, frames: FrameReader) -> Restored:
        try:
            stream: Any = frames  # all that tarfile needs of it is `read`
            with tarfile.open(fileobj=stream, mode="r|", bufsize=PIECE) as tar:
                members = iter(tar)
                top, sums = self._sums(tar, next(members, None))
                digests = self._digests(sums)
                targets = self._targets(digests)
                self._write_members(tar, members, top, digests)
                end = tar.offset + 2 * tarfile.BLOCKSIZE  # two empty blocks, and the rest of a record
            while frames.read(PIECE):
                pass
            if frames.content_bytes != -(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE:
                raise self._wrong(f"expected the archive's end behind {self._at}, got something else there")
        except FramesError as error:
            raise ArchiveError(f"{error}, in {self._at} or behind it; {ANOTHER_COPY}") from error
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:  # tarfile's, of headers by strangers
            told = f"expected members of a tar file, got: {cause(error)}, in {self._at} or behind it"
            raise self._wrong(told) from error
        sha256 = frames.demand_sealed()
        size = self._file.stat().st_size
        content_sha256 = hashlib.sha256(sums).hexdigest()
        archived = Archived(self._file, sha256, content_sha256, size, self._bytes, len(digests) - 1)
        self._write_macros(targets, archived)
        renamed = next((folder for folder, target in targets.items() if folder != target.name), None)
        return Restored(self._move(targets), archived, renamed)

    def _sums(self, tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> tuple[str, bytes]:
        """Return the name of the top folder, and the list of checksums, which is the first file."""
        top, _, name = ("", "", "") if member is None else member.name.partition("/")
        if member is None or name != names.SUMS_FILE or names.wrong_with(top) or not _is_plain(member):
            got = "nothing" if member is None else repr(member.name[:80])
            raise self._wrong(f"expected {names.SUMS_FILE} first, got {got}")
        if member.size > MOST_SUMS_BYTES:
            raise self._wrong(f"{names.SUMS_FILE}: expected at most {MOST_SUMS_BYTES} bytes, got {member.size}")
        content = tar.extractfile(member)
        return top, b"" if content is None else content.read()

    def _digests(self, sums: bytes) -> dict[str, str]:
        """Return the checksums by name. Raises ArchiveError for a name that is not one of a run folder's files."""
        try:
            digests = names.parse_sums(sums.decode("utf-8"))
        except ValueError as error:
            raise self._wrong(cause(error)) from error
        for name in digests:
            self._demand_name(name, names.CRATE_FILE)
        if names.CRATE_FILE not in digests:
            raise self._wrong(f"{names.SUMS_FILE}: expected {names.CRATE_FILE} in it, got none")
        return digests

    def _demand_name(self, name: str, *others: str) -> None:
        """Raise ArchiveError if a member may not have this name."""
        if wrong := names.wrong_with(name):
            raise self._wrong(f"{name[:80]!a}: expected a file below the archive's own folder, got {wrong}")
        parts = name.split("/")
        if name not in others and (parts[0] != names.RESULTS or len(parts) < 3):
            raise self._wrong(f"{name[:80]!a}: expected a file of a run folder, got another")

    def _targets(self, digests: Mapping[str, str]) -> dict[str, Path]:
        """Return where each folder of the archive goes. Raises UsageError where one is there already."""
        folders = sorted({name.split("/")[1] for name in digests if name != names.CRATE_FILE})
        for folder in folders:
            is_sweep = folder.endswith(names.SWEEP_ENDING) and len(folders) > 1
            manifest = f"{names.RESULTS}/{folder}/{records.MANIFEST_FILE}"
            if folder.startswith(".") or folder == records.LATEST or (manifest not in digests and not is_sweep):
                raise self._wrong(f"{folder!a}: expected a run folder with {records.MANIFEST_FILE}, got none")
        if not folders:
            raise self._wrong("expected a run folder, got none")
        if self._experiment is not None:
            if len(folders) > 1:
                told = f"expected an archive of one run, got one of {len(folders)} folders; leave it out"
                raise UsageError(f"--experiment: {self._file}: {told}")
            return {folders[0]: load.new_folder(self._results_dir, self._experiment)}
        targets = {folder: self._results_dir / folder for folder in folders}
        for folder, target in targets.items():
            self._demand_free(folder, target)
        return targets

    def _demand_free(self, folder: str, target: Path) -> None:
        if target.exists() or target.is_symlink():
            told = f"experiment {folder}: expected a new name, got one that has {target}"
            raise UsageError(f"{told}; nothing was restored: name another with --experiment, or --results DIR")

    def _write_members(
        self, tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo], top: str, digests: Mapping[str, str]
    ) -> None:
        left = dict(digests)
        for member in members:
            name = member.name.removeprefix(f"{top}/")
            if name == member.name:
                self._demand_name(member.name)
                raise self._wrong(f"{member.name[:80]!a}: expected a file below {top}/, got one beside it")
            self._demand_name(name, names.CRATE_FILE)
            if member.type == tarfile.DIRTYPE:
                self._folder(self._scratch / name, name)
                continue
            if not _is_plain(member):
                raise self._wrong(f"{name!a}: expected a file, got a link, a device or the like")
            expected = left.pop(name, None)
            if expected is None:
                many = "twice" if name in digests else f"without a checksum in {names.SUMS_FILE}: a file too many"
                raise self._wrong(f"{name!a}: expected every file once, got it {many}")
            got = self._write(tar, member, name)
            if got != expected:
                told = f"expected sha256 {expected[:SHORT]}..., got {got[:SHORT]}..."
                raise self._wrong(f"{name}: {told}: it was changed since")
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise self._wrong(f"{min(left)}: expected the file, found none{more}")

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> str:
        """Write one file and return its SHA-256."""
        path, digest = self._scratch / name, hashlib.sha256()
        self._at = name
        self._folder(path.parent, name)
        content = tar.extractfile(member)
        if content is None:
            raise self._wrong(f"{name!a}: expected a file, got none")
        try:
            with path.open("xb") as file:
                while piece := content.read(PIECE):
                    digest.update(piece)
                    file.write(piece)
        except FileExistsError as error:
            raise self._wrong(f"{name!a}: expected a file, got a folder of that name as well") from error
        if name != names.CRATE_FILE:
            self._bytes += member.size
        return digest.hexdigest()

    def _folder(self, path: Path, name: str) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self._wrong(f"{name!a}: expected a folder for it, got a file of that name as well") from error

    def _write_macros(self, targets: Mapping[str, Path], archived: Archived) -> None:
        """Name the archive for LaTeX again, beside the results that it holds."""
        place = self._scratch / names.RESULTS
        if len(targets) == 1:
            beside = place / next(iter(targets)) / REPORT_DIR
        else:
            beside = next((place / folder for folder in targets if folder.endswith(names.SWEEP_ENDING)), place)
        if (beside / LATEX_NAME).is_file():
            citation.write(beside, archived)

    def _move(self, targets: Mapping[str, Path]) -> tuple[Path, ...]:
        """Put every folder into its place; if one cannot be, none is there."""
        moved: list[Path] = []
        try:
            for folder, target in targets.items():
                self._demand_free(folder, target)
                (self._scratch / names.RESULTS / folder).rename(target)
                moved.append(target)
        except BaseException:
            for target in moved:
                shutil.rmtree(target, ignore_errors=True)
            raise
        return tuple(moved)

    def _wrong(self, what: str) -> ArchiveError:
        return ArchiveError(f"{self._file}: {what}; {ANOTHER_COPY}")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.type == tarfile.REGTYPE and not member.issparse()
