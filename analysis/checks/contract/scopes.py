"""Check in a run's samples whose clock their answers are about, and that each says so in a word of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.checks.contract.tables import ERROR, WARNING, Problem, read
from analysis.run import scopes
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCOPES: Final = {scopes.NODE, scopes.SERVER}


def check_scopes(path: Path, node_id: str) -> Iterator[Problem]:
    """Yield what is off about the scope of one node's samples; that a file is not there is told of elsewhere."""
    name = f"{records.RAW_DIR}/{node_id}/{records.SAMPLES_FILE}"
    samples = read(path, name, [])
    if samples is None or not {"source", "outcome", "scope"} <= set(samples.columns):
        return
    if strange := sorted(set(samples["scope"].dropna()) - SCOPES):
        yield Problem(ERROR, name, f"scope: expected {scopes.NODE}, {scopes.SERVER} or nothing, got {strange[0]!r}")
    for source, (about, good) in scopes.counts(samples).items():
        told = f"{about:,} of {good:,} answers of {source} {scopes.IN_WORDS}"
        what = "its clock quality cannot be judged by them; use a server that echoes node_id"
        yield Problem(WARNING, name, f"{told}: {what}")
