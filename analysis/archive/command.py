"""``invoke archive`` and ``invoke restore``: do it, say what was done, and end with the documented code."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.archive import archive as writing
from analysis.archive import citation, contents, names
from analysis.archive.restore import restore as make_again
from analysis.errors import AnalysisError, UsageError
from analysis.run import load
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.archive.contents import Contents

FOUND: Final = AnalysisError.exit_code
SPDX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
SPDX_PLACE: Final = "https://spdx.org/licenses/"
LOOK: Final = (
    "before you publish it, look: manifest, configs/ and logs name hosts, users and the paths of key files, "
    "and `setup:` lines of a cluster file are in them as they were written"
)


def archive(experiment: str | None, sweep: str, output: str, licence: str, results_dir: Path = load.RESULTS_DIR) -> int:
    """Archive a run or a sweep and print what was done; return the exit code.

    0, 2 for what cannot be asked, 7 where a file cannot be archived, or is not what was collected.
    """
    try:
        chosen = _chosen(experiment, sweep, results_dir)
        target = _target(output, chosen, results_dir)
        archived = writing.write(chosen, target, _licence(licence))
        macros = None if chosen.macros_folder is None else citation.write(chosen.macros_folder, archived)
    except AnalysisError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    lines = [f"left out: {name}: {why}" for name, why in chosen.left_out if why != contents.OWN_MACROS]
    lines += [f"note: {note}" for note in _notes(chosen)]
    size = f"{archived.size_bytes / 1e6:.1f} MB of {archived.content_bytes / 1e6:.1f} MB"
    runs = f"{len(chosen.runs)} runs" if chosen.is_sweep else "a run"
    lines += [f"note: {LOOK}", f"{archived.files} files of {runs}, {size}"]
    lines += [] if macros is None else [f"macros: {macros}"]
    lines += [f"sha256: {archived.sha256}", f"archive: {archived.path}"]
    sys.stdout.write("\n".join(lines) + "\n")
    for line in archived.not_as_written:
        sys.stderr.write(f"error: {line}\n")
    return FOUND if archived.not_as_written else 0


def restore(file: str, experiment: str | None, results_dir: Path) -> int:
    """Make the folders of an archive again and print which; return the exit code: 0, 2 or 7."""
    try:
        restored = make_again(Path(file), results_dir, experiment)
    except AnalysisError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    lines = [f"{restored.archived.files} files verified", f"sha256: {restored.archived.sha256}"]
    if restored.renamed is not None:
        lines.append(f"note: the manifest still says {restored.renamed}, so an analysis has one warning more")
    sys.stdout.write("\n".join([*lines, *map(str, restored.folders)]) + "\n")
    return 0


def _chosen(experiment: str | None, sweep: str, results_dir: Path) -> Contents:
    if not sweep:
        return contents.of_run(load.resolve(experiment, results_dir))
    if experiment is not None:
        raise UsageError("--sweep: expected no --experiment beside it, got one")
    return contents.of_sweep(results_dir, sweep)


def _target(output: str, chosen: Contents, results_dir: Path) -> Path:
    """Return where the archive goes: by default beside its run folder."""
    beside = results_dir if chosen.is_sweep else chosen.runs[0].path.parent
    target = Path(output) if output else beside / f"{chosen.name}{names.ENDING}"
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"--output: expected a file in a folder that is there, got {target}")
    return target


def _licence(text: str) -> str | None:
    """Return the URL of a licence that was named by its SPDX identifier or by its URL."""
    if not text or text.startswith("https://"):
        return text or None
    if SPDX.fullmatch(text) is None:
        raise UsageError(f"--license: expected an SPDX identifier like CC-BY-4.0, or an https URL, got {text!r}")
    return SPDX_PLACE + text


def _notes(chosen: Contents) -> list[str]:
    """Return, in a line each, what an archive lacks that one would expect in it."""
    there = {item.name for item in chosen.items}
    notes = []
    for run in chosen.runs:
        if run.manifest.phase not in {records.COLLECTED, records.IMPORTED}:
            notes.append(f"{run.name} is {run.manifest.phase}, not collected: what of it is at home is in the archive")
        if f"{names.RESULTS}/{run.name}/{records.REPORT_FILE}" not in there:
            notes.append(f"{run.name} has no report: invoke analyze, then archive it again")
    return notes
