"""Write an archive: a tar file in frames of Zstandard, whose bytes depend on what it holds and on nothing else.

No time, owner or mode of a file gets in: names are sorted, every member is of 1980, of nobody, and readable. Files
are read twice, a piece at a time: once for the checksums, which come first, and once to be packed.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis import output
from analysis.archive import contents as archive_contents
from analysis.archive import crate, names
from analysis.archive.frames import FrameWriter
from analysis.checks.files.integrity import expected_sums
from analysis.checks.subject import promised
from analysis.errors import AnalysisError, UsageError
from analysis.imported.older_format import IMPORTED_DIR
from analysis.run.hashing import sha256 as sha256_of
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from analysis.archive.contents import ArchivedRun, Contents

MEMBER_TIME: Final = 315_532_800  # 1980-01-01, before which zip knows no time and tar warns
FILE_MODE: Final = 0o644
FOLDER_MODE: Final = 0o755
PIECE: Final = 1 << 20
SHORT: Final = 12  # digits of a sha256 in a message


@dataclass(frozen=True)
class Archived:
    """An archive, with its SHA-256 and that of its list of checksums, which the compression has no hand in.

    ``files``: those of the run folders. ``not_as_written``: a line per file that is not what its checksum promised
    when the run was collected.
    """

    path: Path
    sha256: str
    content_sha256: str
    size_bytes: int
    content_bytes: int
    files: int
    not_as_written: tuple[str, ...] = ()


def write(contents: Contents, target: Path, licence: str | None = None) -> Archived:
    """Write an archive; nothing is left of one that fails. ``licence``: the URL of one, for the description.

    Raises UsageError where another archive is there already, AnalysisError where a file cannot be archived.
    """
    sized = {item.name: archive_contents.digest(item.path) for item in contents.items}
    described = crate.describe(contents, sized, licence).encode("utf-8")
    digests = {name: digest for name, (digest, _size) in sized.items()}
    sums = names.render_sums(digests | {names.CRATE_FILE: hashlib.sha256(described).hexdigest()}).encode("utf-8")
    with output.replacing(target) as partial:
        with partial.open("wb") as file:
            frames = FrameWriter(file)
            _write_members(contents, {names.SUMS_FILE: sums, names.CRATE_FILE: described}, sized, frames)
            sha256 = frames.finish()
        if target.exists() and sha256_of(target) != sha256:
            told = "expected no file, or the same archive, got another that may be cited"
            raise UsageError(f"{target}: {told}; move it away, or name another with --output")
    return Archived(
        path=target,
        sha256=sha256,
        content_sha256=hashlib.sha256(sums).hexdigest(),
        size_bytes=target.stat().st_size,
        content_bytes=sum(size for _digest, size in sized.values()),
        files=len(sized),
        not_as_written=tuple(line for run in contents.runs for line in _altered(run, digests)),
    )


def _write_members(
    contents: Contents, own: Mapping[str, bytes], sized: Mapping[str, tuple[str, int]], frames: FrameWriter
) -> None:
    stream: Any = frames  # all that tarfile needs of it is `write`
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE) as tar:
        for name, content in own.items():
            tar.addfile(_member(f"{contents.name}/{name}", len(content)), io.BytesIO(content))
        for name in contents.empty_folders:
            tar.addfile(_member(f"{contents.name}/{name}", 0, is_folder=True))
        for item in contents.items:
            digest, size = sized[item.name]
            with item.path.open("rb") as file:
                hashed = _Hashed(file)
                try:
                    tar.addfile(_member(f"{contents.name}/{item.name}", size), hashed)  # type: ignore[arg-type]
                except OSError as error:
                    if error.errno is not None:  # the disk's; tarfile's own, of a file that is shorter now, have none
                        raise
            if hashed.hash.hexdigest() != digest:
                told = "expected a run that is at rest, got a file that changed while it was archived"
                raise AnalysisError(f"{item.path}: {told}; archive it again")


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self.hash.update(piece)
        return piece


def _member(name: str, size: int, *, is_folder: bool = False) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, MEMBER_TIME, FOLDER_MODE if is_folder else FILE_MODE
    member.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    return member


def _altered(run: ArchivedRun, digests: Mapping[str, str]) -> Iterator[str]:
    """Yield, in a line each, which files are not what the node, the collection or the import says that they are."""
    place = f"{names.RESULTS}/{run.name}/"
    expected_files = dict(run.manifest.assembled)
    for node_id in run.manifest.nodes:
        folder = f"{records.RAW_DIR}/{node_id}"
        sums = expected_sums(run.path / folder)
        expected_files |= {f"{folder}/{name}": digest for name, digest in (sums or {}).items()}
        if sums is None and run.manifest.imported is None and promised(run.manifest, node_id):
            lost = f"expected {folder}/{records.CHECKSUMS_FILE}, found none: nothing vouches for the node's own files"
            yield f"{run.name}: not what was collected: {lost}"
    originals = (run.manifest.imported or {}).get("sha256")
    if isinstance(originals, dict):
        expected_files |= {
            f"{records.RAW_DIR}/{IMPORTED_DIR}/{name}": str(digest) for name, digest in originals.items()
        }
    for name, expected in expected_files.items():
        if (got := digests.get(place + name)) != expected:
            of = "no such file" if got is None else f"{got[:SHORT]}..."
            yield f"{run.name}/{name}: not what was collected: expected sha256 {expected[:SHORT]}..., got {of}"
