"""Checks on what left the nodes: all there, and byte for byte what its checksum says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.checks.contract.tables import ERROR, Problem, read
from analysis.checks.integrity import CHECKSUM_LINE, expected_sums
from analysis.imported.older_format import IMPORTED_DIR
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

NODE_FILES: Final = (
    records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.CLOCK_PAIRS_FILE, records.STATUS_FILE,
    records.LOG_FILE,
)  # fmt: skip


def check_node(path: Path, node_id: str, role: str, assembled: pd.DataFrame | None) -> Iterator[Problem]:
    """Check one node's own files, and that its assembled table is made of them."""
    where = f"{records.RAW_DIR}/{node_id}"
    folder = path / records.RAW_DIR / node_id
    if not folder.is_dir():
        yield Problem(ERROR, where, "expected the node's own files, found no such folder")
        return
    wanted = (*NODE_FILES, records.SENDS_FILE) if role == "coordinator" else NODE_FILES
    yield from (Problem(ERROR, f"{where}/{name}", "not there") for name in wanted if not (folder / name).is_file())
    yield from _checksums(folder, where, wanted)
    problems: list[Problem] = []
    if assembled is not None and (folder / records.EVENTS_FILE).is_file():
        raw = read(folder, records.EVENTS_FILE, problems)
        if raw is not None:
            columns = [column for column in raw.columns if column in assembled]
            if not raw[columns].equals(assembled[columns]):
                text = f"the assembled table is not its rows ({len(assembled):,} against {len(raw):,}); collect again"
                problems.append(Problem(ERROR, f"{where}/{records.EVENTS_FILE}", text))
    yield from problems


def _checksums(folder: Path, where: str, wanted: tuple[str, ...]) -> Iterator[Problem]:
    file = f"{where}/{records.CHECKSUMS_FILE}"
    try:
        lines = (folder / records.CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        yield Problem(ERROR, file, "expected the checksums made on the node, found no such file")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Problem(ERROR, file, f"expected checksums, got: {error}")
        return
    listed = {}
    for line in lines:
        if match := CHECKSUM_LINE.fullmatch(line):
            listed[match[2]] = match[1]
        else:
            yield Problem(ERROR, file, f"expected '<sha256>  <name>', got {line[:80]!r}")
    for name, digest in listed.items():
        if Path(name).name != name:
            yield Problem(ERROR, file, f"expected a file's name, got {name!r}")
        elif not (folder / name).is_file():
            yield Problem(ERROR, f"{where}/{name}", "has a checksum and is not there")
        elif (got := _sha256(folder / name)) != digest:
            yield Problem(ERROR, f"{where}/{name}", f"changed: expected sha256 {digest[:12]}..., got {got[:12]}...")
    unlisted = [name for name in wanted if (folder / name).is_file() and name not in listed]
    if unlisted:
        yield Problem(ERROR, file, f"has no checksum of {', '.join(unlisted)}")


def altered(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, expected sha256, got) of a node's files that are not what left it, or that nothing vouches for."""
    expected = expected_sums(folder) or {}
    for name in names:
        if (folder / name).is_file():
            promised, got = expected.get(name, f"none in {records.CHECKSUMS_FILE}"), _sha256(folder / name)
            if got != promised:
                yield name, promised, got


def check_originals(path: Path, manifest: records.Manifest) -> Iterator[Problem]:
    """Check the copies of imported files against the checksums taken when they were imported."""
    where = f"{records.RAW_DIR}/{IMPORTED_DIR}"
    digests = (manifest.imported or {}).get("sha256")
    if not isinstance(digests, dict) or not digests:
        yield Problem(ERROR, records.MANIFEST_FILE, "imported.sha256: expected the checksums of the imported files")
        return
    for name, digest in digests.items():
        file = path / where / Path(str(name)).name
        if not file.is_file():
            yield Problem(ERROR, f"{where}/{name}", "not there")
        elif (got := _sha256(file)) != digest:
            yield Problem(
                ERROR, f"{where}/{name}", f"changed: expected sha256 {str(digest)[:12]}..., got {got[:12]}..."
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
