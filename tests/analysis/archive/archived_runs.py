"""Small runs to archive, and archives that no `invoke archive` would write."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import run_folder

from analysis.archive import archive, contents, names
from analysis.archive.frames import FrameWriter
from node_agent.contract import records

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.archive.archive import Archived

TOP = "x"


def run(results: Path, name: str = "by-hand") -> Path:
    """Make a run folder of the contract's files, with a report and macros as an analysis leaves them."""
    folder = run_folder.write(run_folder.Folder({"w1": run_folder.Clock(), "w2": run_folder.Clock()}), results / name)
    for file, text in (
        (records.REPORT_FILE, "# Report of ü\n"),
        ("report/results.tex", "% results\n"),
        ("statistics/verdict.json", "{}\n"),
        ("configs/lab.yaml", "name: lab\n"),
        ("figures/some.png", "picture\n" * 9),
    ):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def archived(folder: Path, target: Path, licence: str | None = None) -> Archived:
    """Archive a run folder into a file."""
    return archive.write(contents.of_run(folder), target, licence)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, but for the macros that name an archive."""
    below = (path for path in folder.rglob("*") if path.is_file() and path.name != "archive.tex")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in below}


def plain(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    """Return a member that is a file."""
    member = tarfile.TarInfo(f"{TOP}/{name}")
    member.size = len(content)
    return member, content


def good_members() -> dict[str, bytes]:
    """Return the smallest content that is accepted: a run folder with a manifest."""
    return {names.CRATE_FILE: b"{}", "results/r/manifest.json": b"{}", "results/r/raw/n/events.csv": b"1,2\n"}


def sums_of(content: dict[str, bytes]) -> str:
    """Return the list of checksums of some files."""
    return names.render_sums({name: hashlib.sha256(data).hexdigest() for name, data in content.items()})


def pack(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], behind: bytes = b"") -> Path:
    """Write members into a sealed archive, whatever they are."""
    with path.open("wb") as file:
        frames = FrameWriter(file)
        with tarfile.open(fileobj=frames, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for member, data in members:
                tar.addfile(member, io.BytesIO(data))
        frames.write(behind)
        frames.finish()
    return path
