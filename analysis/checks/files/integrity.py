"""Whether the files of a run are there, can be read, and are what the nodes wrote.

``raw/<node>/SHA256SUMS`` was made on the node. A table that was assembled at home (``coordinator.csv`` and the
``worker_*.csv``) has its sum in the manifest, written when it was assembled; older manifests have none, and its rows
are then held against the node's own ``events.csv``. A cell of an integer column that is written as a fraction, or with
an exponent, was written by another program (a spreadsheet, a data frame with an absent value), and such a program
rounds instants to what it can hold. Files are hashed as they are read; only where the whole folder is checked are the
others read for that.

Nothing is refused for it: what is damaged is an error finding, which says what rests on that file and what does not.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.checks.finding import error, warning
from analysis.checks.subject import raw_file
from analysis.imported.older_format import IMPORTED_DIR
from analysis.run.hashing import sha256
from node_agent.contract import records
from node_agent.contract.plan import PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from analysis.checks.finding import Finding
    from analysis.checks.subject import Subject
    from analysis.run.load import Run

CODE: Final = "not-as-written"
UNVOUCHED: Final = "nothing-vouches"
CHECKSUM_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")

# What rests on a file, and what does not: the second is what can still be judged.
RESTS: Final = {
    records.SAMPLES_FILE: (
        "how many samples stand behind the readings, the last sample held, what questions cost, replay",
        "readings and verdicts, which are in the tables",
    ),
    records.PROBES_FILE: ("the reference and every verdict against it", "what the injected truth or no judge tells"),
    records.COMMIT_WAIT_FILE: ("commit-wait and re-measured uncertainties", "everything else"),
    records.CLOCK_PAIRS_FILE: ("steps of the wall clock, drift, early releases", "verdicts of the sources"),
    records.SENDS_FILE: ("when each worker's copy was sent, so causality", "order, windows and agreement of receipts"),
    records.STATUS_FILE: ("what the agent counted and how it ended: `validate`", "every verdict"),
    records.READINGS_FILE: ("this node's readings, so every statement about its clocks", "the other nodes"),
    records.EVENTS_FILE: ("this node's stamps and readings, so every verdict about it", "the other nodes"),
}
NODE_FILES: Final = (
    records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.CLOCK_PAIRS_FILE, records.STATUS_FILE,
    records.LOG_FILE,
)  # fmt: skip
WATCH_FILES: Final = (  # of a run without events
    records.READINGS_FILE, records.SAMPLES_FILE, records.CLOCK_PAIRS_FILE, records.STATUS_FILE, records.LOG_FILE,
)  # fmt: skip


def expected_sums(folder: Path) -> dict[str, str] | None:
    """Return the sums a node made of its files, by name; None where it made none. Lines that are none are left out."""
    try:
        return {match[2]: match[1] for line in _lines(folder) if (match := CHECKSUM_LINE.fullmatch(line))}
    except OSError:
        return None


def _lines(folder: Path) -> list[str]:
    return (folder / records.CHECKSUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()


def find(subject: Subject) -> Iterator[Finding]:
    """Yield the findings about files that are not there, or not what the nodes wrote."""
    if subject.has_events and not (subject.path / records.COORDINATOR_FILE).is_file():
        yield error("missing-file", records.COORDINATOR_FILE, "expected the file, found none")
    if subject.manifest is not None and subject.manifest.imported is not None:
        yield from _originals(subject, subject.manifest.imported.get("sha256"))
    unvouched = []
    for node_id in subject.recorded:
        folder = subject.path / records.RAW_DIR / node_id
        if not folder.is_dir():
            text = "expected the node's own files, found no such folder"
            yield _lost(subject, node_id)("missing-file", f"{records.RAW_DIR}/{node_id}", text, node_id)
        sums = expected_sums(folder)
        if folder.is_dir():
            yield from _own_files(subject, node_id, sums)
        if sums is None and (folder.is_dir() or (subject.path / subject.file_of(node_id)).is_file()):
            unvouched.append(node_id)
        yield from _assembled(subject, node_id)
    if unvouched:
        text = f"no {records.CHECKSUMS_FILE} of {', '.join(unvouched)}: nothing vouches that files are as written there"
        of = error if any(map(subject.promised, unvouched)) else warning
        yield of(UNVOUCHED, "", text, nodes=unvouched)
    if subject.run is not None:
        yield from _odd_cells(subject, subject.run)


def as_written(run: Run, findings: Sequence[Finding]) -> dict[str, str]:
    """Return, node by node, whether the files that were read here are what the node wrote, in a word or two."""
    damaged = {finding.node for finding in findings if finding.code == CODE}
    words = {}
    for node_id in run.manifest.nodes:
        vouched = expected_sums(run.path / records.RAW_DIR / node_id) is not None
        words[node_id] = "**no**" if node_id in damaged else "yes" if vouched else "nothing vouches for it"
    return words


def altered(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, expected sha256, got) of a node's files that are not what left it, or that nothing vouches for."""
    expected = expected_sums(folder) or {}
    for name in names:
        if (folder / name).is_file():
            promised, got = expected.get(name, f"none in {records.CHECKSUMS_FILE}"), sha256(folder / name)
            if got != promised:
                yield name, promised, got


def _own_files(subject: Subject, node_id: str, sums: dict[str, str] | None) -> Iterator[Finding]:
    """Check that a node's files are there, and are what the sums say that it made of them."""
    folder = subject.path / records.RAW_DIR / node_id
    of_role: tuple[str, ...] = (records.SENDS_FILE,) if subject.roles[node_id] == "coordinator" else ()
    wanted = (*NODE_FILES, *of_role) if subject.has_events else WATCH_FILES
    if _had_plan(subject, node_id) and not (folder / PLAN_FILE).is_file() and PLAN_FILE not in (sums or {}):
        text = "expected the plan that this node was given, as the manifest has it, found no such file; collect again"
        yield error("missing-file", raw_file(node_id, PLAN_FILE), text, node_id)
    file = raw_file(node_id, records.CHECKSUMS_FILE)
    for line in [] if sums is None else _lines(folder):
        if not CHECKSUM_LINE.fullmatch(line):
            yield error("checksums", file, f"expected '<sha256>  <name>', got {line[:80]!r}", node_id)
    for name in sorted({*(sums or {}), *wanted}):
        where, expected = raw_file(node_id, name), (sums or {}).get(name)
        there = (folder / name).is_file()
        if Path(name).name != name:
            yield error("checksums", file, f"expected a file's name, got {name!r}", node_id)
        elif expected is None and not there:
            yield _lost(subject, node_id)("missing-file", where, "not there", node_id)
        elif expected is None:
            if sums is not None:
                yield error("checksums", file, f"has no checksum of {name}", node_id)
        elif not there:
            yield _damage(where, node_id, f"expected sha256 {expected[:12]}..., found no such file")
        elif (got := _digest(subject, where)) not in {None, expected}:
            yield _damage(where, node_id, f"expected sha256 {expected[:12]}..., got {str(got)[:12]}...")


def _lost(subject: Subject, node_id: str) -> Callable[..., Finding]:
    """Return what it is that a file is gone: an error where the manifest promises that the node left files."""
    return error if subject.promised(node_id) else warning


def _had_plan(subject: Subject, node_id: str) -> bool:
    """Tell whether an agent was started on a node with a plan in a file; none was in a simulation."""
    manifest = subject.manifest
    return (
        manifest is not None
        and bool(manifest.code_version.get("agent_sha256"))
        and manifest.nodes[node_id].plan is not None
        and manifest.nodes[node_id].status is not None
    )


def _digest(subject: Subject, file: str) -> str | None:
    """Return the digest of a file that was read, or may be read for it: a status is small, and not read otherwise."""
    path = subject.path / file
    known = None if subject.run is None else subject.run.seen.digests.get(path)
    return sha256(path) if known is None and (subject.whole or path.name == records.STATUS_FILE) else known


def _assembled(subject: Subject, node_id: str) -> Iterator[Finding]:
    """Check a table that was assembled at home: by its sum, and row by row where it has none or all is checked."""
    name, own = subject.file_of(node_id), raw_file(node_id, records.EVENTS_FILE)
    path, events = subject.path / name, subject.path / own
    expected = subject.manifest.assembled.get(name) if subject.manifest is not None else None
    if not path.is_file():
        return
    got = None if expected is None else _digest(subject, name)
    if got not in {None, expected}:
        yield _damage(name, node_id, f"expected sha256 {str(expected)[:12]}..., got {str(got)[:12]}...")
    if (expected is None or subject.whole) and events.is_file() and (wrong := _first_difference(path, events)):
        yield _damage(name, node_id, f"expected the rows of {own}, {wrong}")


def _first_difference(assembled: Path, events: Path) -> str | None:
    """Return where an assembled table differs from the node's own rows, None where it does not.

    Every line of it is the node's line, with more columns or none behind it; a node's last line may be torn.
    """
    with assembled.open("rb") as table, events.open("rb") as own:
        for number, row in enumerate(own, start=1):
            if not row.endswith(b"\n"):
                break
            line, expected = table.readline().rstrip(b"\r\n"), row.rstrip(b"\r\n")
            if line != expected and not line.startswith(expected + b","):
                got = line[:60].decode("utf-8", "replace")
                return f"line {number} is another: {got!r}"
        if table.readline():
            return "it has more rows"
    return None


def _damage(file: str, node_id: str, what: str) -> Finding:
    name = Path(file).name if file.startswith(records.RAW_DIR) else records.EVENTS_FILE
    rests, rest = RESTS.get(name, ("nothing that is judged here", "everything"))
    text = (
        f"not what the node wrote: {what}. On it rests: {rests}. Still to be judged: {rest}. "
        f"Collect the run again, or take the file from where it was kept"
    )
    return error(CODE, file, text, node_id, file=file)


def _odd_cells(subject: Subject, run: Run) -> Iterator[Finding]:
    node_of = {subject.path / subject.file_of(node_id): node_id for node_id in subject.roles}
    for path, columns in run.seen.odd_cells.items():
        file = str(path.relative_to(subject.path))
        cells = ", ".join(f"{count:,} in {column}" for column, count in columns.items())
        text = (
            f"written as fractions or with exponents, where whole numbers are expected ({cells}): another program has "
            f"written this file, and such a program rounds instants. Collect it again"
        )
        yield error(CODE, file, text, node_of.get(path, path.parent.name), cells=columns)


def _originals(subject: Subject, sums: object) -> Iterator[Finding]:
    """Check the copies of imported files against the checksums taken when they were imported."""
    if not isinstance(sums, dict) or not sums:
        text = "imported.sha256: expected the checksums of the imported files"
        yield error("checksums", records.MANIFEST_FILE, text)
        return
    for name, expected in sums.items():
        where = f"{records.RAW_DIR}/{IMPORTED_DIR}/{Path(str(name)).name}"
        if not (subject.path / where).is_file():
            yield error("missing-file", where, "not there")
        elif (got := _digest(subject, where)) not in {None, expected}:
            yield error("changed", where, f"changed: expected sha256 {str(expected)[:12]}..., got {str(got)[:12]}...")
