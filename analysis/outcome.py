"""What an analysis says when it is done: its report, a table for the terminal, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class HeadlineTable:
    """The results in one table for a terminal. ``note``: what its rows leave out, and where that is, if anything."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What an analysis wrote, and its ``verdict`` in a sentence.

    ``errors`` names what could not be done, though the rest was, and what is wrong with the run's files; findings about
    what the data says are no errors. ``page``: the report as HTML.
    """

    report: Path
    page: Path
    paths: tuple[Path, ...]
    table: HeadlineTable
    verdict: str
    errors: list[str]
    error_findings: int = 0
