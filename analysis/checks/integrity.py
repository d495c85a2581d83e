"""Whether the files of a run are what the nodes wrote: checked as they are read, at no second pass.

``raw/<node>/SHA256SUMS`` was made on the node. A table that was assembled at home (``coordinator.csv`` and the
``worker_*.csv``) has its sum in the manifest, written when it was assembled; older manifests have none, and its rows
are then held against the node's own ``events.csv``. A cell of an integer column that is written as a fraction, or with
an exponent, was written by another program (a spreadsheet, a data frame with an absent value), and such a program
rounds instants to what it can hold.

Nothing is refused for it: what is damaged is an error finding, which says what rests on that file and what does not.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from analysis.checks.finding import Finding
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from analysis.run.load import Run

CODE: Final = "not-as-written"
UNVOUCHED: Final = "nothing-vouches"
CHECKSUM_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")

# What rests on a file, and what does not: the second is what can still be judged.
RESTS: Final[Mapping[str, tuple[str, str]]] = {
    records.SAMPLES_FILE: (
        "how many samples stand behind the readings, the last sample held, what questions cost, replay",
        "readings and verdicts, which are in the tables",
    ),
    records.PROBES_FILE: ("the reference and every verdict against it", "what the injected truth or no judge tells"),
    records.COMMIT_WAIT_FILE: ("commit-wait and re-measured uncertainties", "everything else"),
    records.CLOCK_PAIRS_FILE: ("steps of the wall clock, drift, early releases", "verdicts of the sources"),
    records.SENDS_FILE: ("when each worker's copy was sent, so causality", "order, windows and agreement of receipts"),
    records.STATUS_FILE: ("what the agent counted and how it ended: `validate`", "every verdict"),
    records.EVENTS_FILE: ("this node's stamps and readings, so every verdict about it", "the other nodes"),
}


def expected_sums(folder: Path) -> dict[str, str] | None:
    """Return the sums a node made of its files, by name; None where it made none. Lines that are none are left out."""
    try:
        lines = (folder / records.CHECKSUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return {match[2]: match[1] for line in lines if (match := CHECKSUM_LINE.fullmatch(line))}


def find(run: Run) -> Iterator[Finding]:
    """Yield the findings about files that are not what the nodes wrote."""
    if run.manifest.imported is not None:
        return  # its originals are checked by validate; the tables here were made from them
    unvouched = []
    for node_id in run.manifest.nodes:
        folder = run.path / records.RAW_DIR / node_id
        sums = expected_sums(folder)
        if sums is None:
            unvouched += [node_id] if folder.is_dir() or _table(run, node_id).is_file() else []
            continue
        for name in sorted(sums):
            yield from _raw_file(run, node_id, folder / name, sums[name])
    yield from _assembled(run)
    for path, columns in run.seen.odd_cells.items():
        cells = ", ".join(f"{count:,} in {column}" for column, count in columns.items())
        text = (
            f"{_shown(run, path)}: cells written as fractions or with exponents, where whole numbers are expected "
            f"({cells}): another program has written this file, and such a program rounds instants. Collect it again"
        )
        yield Finding(CODE, "error", _node_of(run, path), "", text, {"file": _shown(run, path), "cells": columns})
    if unvouched:
        text = f"no {records.CHECKSUMS_FILE} of {', '.join(unvouched)}: nothing vouches that files are as written there"
        yield Finding(UNVOUCHED, "warning", "", "", text, {"nodes": unvouched})


def as_written(run: Run, findings: Sequence[Finding]) -> dict[str, str]:
    """Return, node by node, whether the files that were read here are what the node wrote, in a word or two."""
    damaged = {finding.node for finding in findings if finding.code == CODE}
    said = {}
    for node_id in run.manifest.nodes:
        vouched = expected_sums(run.path / records.RAW_DIR / node_id) is not None
        said[node_id] = "**no**" if node_id in damaged else "yes" if vouched else "nothing vouches for it"
    return said


def _raw_file(run: Run, node_id: str, path: Path, expected: str) -> Iterator[Finding]:
    if not path.is_file():
        yield _damage(run, node_id, path, f"expected sha256 {expected[:12]}..., found no such file")
        return
    got = run.seen.digests.get(path)
    if got is None and path.name == records.STATUS_FILE:  # small, and nothing here reads it
        got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got is not None and got != expected:
        yield _damage(run, node_id, path, f"expected sha256 {expected[:12]}..., got {got[:12]}...")


def _assembled(run: Run) -> Iterator[Finding]:
    """Check the tables that were assembled at home: by their sums, or row by row where the manifest has none."""
    sums = run.manifest.assembled
    for node_id in run.manifest.nodes:
        path, events = _table(run, node_id), run.path / records.RAW_DIR / node_id / records.EVENTS_FILE
        if not path.is_file():
            continue
        if path.name in sums:
            wanted, got = sums[path.name], run.seen.digests.get(path)
            if got is not None and got != wanted:
                yield _damage(run, node_id, path, f"expected sha256 {wanted[:12]}..., got {got[:12]}...")
        elif events.is_file() and (wrong := _first_difference(path, events)) is not None:
            yield _damage(run, node_id, path, f"expected the rows of {_shown(run, events)}, {wrong}")


def _first_difference(assembled: Path, events: Path) -> str | None:
    """Return where an assembled table differs from the node's own rows, None where it does not.

    Every line of it is the node's line, with more columns or none behind it; a node's last line may be torn.
    """
    with assembled.open("rb") as mine, events.open("rb") as theirs:
        for number, own in enumerate(theirs, start=1):
            if not own.endswith(b"\n"):
                break
            line, expected = mine.readline().rstrip(b"\r\n"), own.rstrip(b"\r\n")
            if line != expected and not line.startswith(expected + b","):
                got = line[:60].decode("utf-8", "replace")
                return f"line {number} is another: {got!r}"
        if mine.readline():
            return "it has more rows"
    return None


def _damage(run: Run, node_id: str, path: Path, what: str) -> Finding:
    name = records.EVENTS_FILE if path.parent == run.path else path.name
    rests, rest = RESTS.get(name, ("nothing that is judged here", "everything"))
    text = (
        f"{_shown(run, path)} is not what the node wrote: {what}. On it rests: {rests}. Still to be judged: {rest}. "
        f"Collect the run again, or take the file from where it was kept"
    )
    return Finding(CODE, "error", node_id, "", text, {"file": _shown(run, path)})


def _table(run: Run, node_id: str) -> Path:
    """Return where the node's assembled table is, or would be."""
    return run.path / records.table_file(node_id, run.manifest.nodes[node_id].role)


def _shown(run: Run, path: Path) -> str:
    return str(path.relative_to(run.path))


def _node_of(run: Run, path: Path) -> str:
    by_table = {_table(run, node_id): node_id for node_id in run.manifest.nodes}
    return by_table.get(path, path.parent.name)
