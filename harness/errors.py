"""Everything that can go wrong between a configuration and a results folder, as one tree.

::

    HarnessError                    1   internal error (so is any exception that is not in this tree)
    ├── ConfigError                 2   usage or configuration: nothing was started
    │   └── ExperimentExistsError   2   the experiment exists already
    ├── PreflightError              3   a node or service is not fit: nothing was started
    ├── RunError                    4   the run could not be carried out; what there is was collected
    │   ├── UnreachableError        4   no connection to a node (preflight reports it as 3)
    │   │   └── LostError           4   a connection that stood broke, amid an action
    │   ├── RemoteCommandError      4   a command on a node exited non-zero or printed what nobody can read
    │   └── DeadlineError           4   a condition did not come true in time
    ├── AllocationError             8   no nodes from the scheduler in time, or they were taken away
    └── CollectionError             6   files are missing or do not match their checksums
        └── NothingRecordedError    6   no agent ever wrote anything there (4 where the run failed before it could)

Three exit codes belong to outcomes, not to errors: 5 (degraded, results collected), 7 (analysis or validation found
errors) and 130 (interrupted). A chain of tasks returns the highest code. Messages name the thing, what was expected and
what was seen.
"""

from __future__ import annotations

import difflib
import errno
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from subprocess import SubprocessError

MOST_CANDIDATES: Final = 8  # that a message names
EXIT_OK: Final = 0
EXIT_INTERNAL: Final = 1
EXIT_USAGE: Final = 2
EXIT_PREFLIGHT: Final = 3
EXIT_RUN: Final = 4
EXIT_DEGRADED: Final = 5
EXIT_COLLECTION: Final = 6
EXIT_ANALYSIS: Final = 7
EXIT_ALLOCATION: Final = 8
EXIT_INTERRUPTED: Final = 130

_ADVICE: Final = {
    errno.EFBIG: "a limit of the size of files (ulimit -f)",
    errno.EMFILE: "a limit of open files (ulimit -n)",
    errno.ENFILE: "this machine's limit of open files",
    errno.EAGAIN: "a limit of processes (ulimit -u), perhaps",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or ask for more",
}


def cause(error: OSError | SubprocessError) -> str:
    """Return in one line what the system refused, and for what file or program."""
    if not isinstance(error, OSError) or error.errno is None:
        return " ".join(str(error).split()) or type(error).__name__
    advice = f" ({_ADVICE[error.errno]})" if error.errno in _ADVICE else ""
    names = " to ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return (f"{names}: " if names else "") + f"{error.strerror or error}{advice}"


def candidates(typed: str, known: Iterable[str]) -> str:
    """Return what could have been meant by a name that is none: names like it first, and how many more there are.

    ``analysis.errors`` has the same rule.
    """
    names = list(known)
    near = difflib.get_close_matches(typed, names, 3)
    ordered = [*near, *(name for name in names if name not in near)]
    more = len(ordered) - MOST_CANDIDATES
    return (", ".join(ordered[:MOST_CANDIDATES]) or "none yet") + (f" and {more} more" if more > 0 else "")


def last_line(text: str, otherwise: str = "it said nothing") -> str:
    """Return the last line of what a program said, where the reason of its failure is."""
    return (text.strip().splitlines() or [otherwise])[-1]


class HarnessError(Exception):
    """Any failure of the harness; ``exit_code`` is what ``fab`` exits with."""

    exit_code: ClassVar[int] = EXIT_INTERNAL


class ConfigError(HarnessError):
    """A command line or configuration that cannot be carried out. One line per problem."""

    exit_code = EXIT_USAGE


class ExperimentExistsError(ConfigError):
    """An experiment of that name exists already."""


class PreflightError(HarnessError):
    """A node or a service is not fit for the run; nothing was started."""

    exit_code = EXIT_PREFLIGHT


class RunError(HarnessError):
    """The run could not be carried out."""

    exit_code = EXIT_RUN


class UnreachableError(RunError):
    """No connection to a node: who, where, why."""


class LostError(UnreachableError):
    """A connection that stood broke amid an action, which may or may not have been carried out."""


class RemoteCommandError(RunError):
    """A remote command exited non-zero, or its answer cannot be read."""


class DeadlineError(RunError):
    """A condition was awaited and did not come true before its deadline."""


class AllocationError(HarnessError):
    """The scheduler gave no nodes in time, or took them away; what there is was collected."""

    exit_code = EXIT_ALLOCATION


class CollectionError(HarnessError):
    """Results are missing or do not match the checksums made on the node."""

    exit_code = EXIT_COLLECTION


class NothingRecordedError(CollectionError):
    """A node has nothing to collect, and nothing of it is at home."""
