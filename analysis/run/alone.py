"""One analysis of a run at a time: two would write the same files, each amid the other's."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from analysis.errors import AnalysisError
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_LOCKS: Final = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}  # EBADF: on NFS, to who may not write


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no other analysis of a run folder begin until the block ends; wherever it is, if the folder is on NFS.

    The lock (``flock``) is on the manifest, which stays as it is. It ends with its process, however that ends; where
    the file system has no locks, nobody is kept away. Raises AnalysisError if another analysis is under way.
    """
    descriptor = _opened(folder / records.MANIFEST_FILE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = "expected no other analysis of this run under way, got one; wait until it has ended"
            raise AnalysisError(f"{folder}: {told}") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open a file for writing, as a lock on NFS needs it, though nothing is written; else for reading."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
