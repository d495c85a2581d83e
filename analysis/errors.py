"""What can go wrong between a run folder and a verdict.

AnalysisError      the run folder cannot be judged: a file or column is missing or unreadable   exit code 7
├─ NoSuchRun       the experiment asked for is not there, or its name is none                    exit code 2
└─ UsageError      something asked for that cannot be: a scenario, a size, a taken name          exit code 2

Every message names the thing, what was expected, what was found, and what to do, in one line.
"""

from __future__ import annotations


class AnalysisError(Exception):
    """A run folder that cannot be analysed."""

    exit_code = 7


class NoSuchRun(AnalysisError):  # noqa: N818 - it says what is the matter; "NoSuchRunError" would not say more
    """There is no run folder where one was asked for."""

    exit_code = 2


class UsageError(AnalysisError):
    """Something was asked for that cannot be."""

    exit_code = 2
