"""What can go wrong between a run folder and a verdict.

AnalysisError      the run folder cannot be judged: a file or column is missing or unreadable   exit code 7
├─ ArchiveError    an archive is not what was archived, or is none                                exit code 7
├─ NoSuchRun       the experiment asked for is not there, or its name is none                    exit code 2
└─ UsageError      something asked for that cannot be: a scenario, a size, a taken name          exit code 2

Every message names the thing, what was expected, what was found, and what to do, in one line.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CANDIDATES: Final = 8  # that a message names


class AnalysisError(Exception):
    """A run folder that cannot be analysed."""

    exit_code = 7


class ArchiveError(AnalysisError):
    """An archive that is damaged, or none."""


class NoSuchRun(AnalysisError):  # noqa: N818 - it says what is the matter; "NoSuchRunError" would not say more
    """There is no run folder where one was asked for."""

    exit_code = 2


class UsageError(AnalysisError):
    """Something was asked for that cannot be."""

    exit_code = 2


def cause(error: BaseException) -> str:
    """Return in one line what went wrong: of what the system refused its words alone, without number and file."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(told.split())


def candidates(typed: str, known: Iterable[str]) -> str:
    """Return what could have been meant by a name that is none: names like it first, and how many more there are."""
    names = list(known)
    near = difflib.get_close_matches(typed, names, 3)
    ordered = [*near, *(name for name in names if name not in near)]
    more = len(ordered) - MOST_CANDIDATES
    return (", ".join(ordered[:MOST_CANDIDATES]) or "none yet") + (f" and {more} more" if more > 0 else "")
