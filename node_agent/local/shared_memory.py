"""Reading a record that another program keeps in shared memory: a file, opened read-only, and nothing else.

Not ``multiprocessing.shared_memory``: before Python 3.13 its resource tracker may unlink the segment of a program that
still writes it (Python issue 82300).
"""

from __future__ import annotations

import os
from typing import Final

from node_agent.clocks.base import Refused

TRIES: Final = 32


def image(path: str, size: int) -> bytes | Refused:
    """Return the first ``size`` bytes of a file, or as many as it has, once two whole looks in a row agree.

    What never stands still is ``torn``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold up anyone
    except (FileNotFoundError, NotADirectoryError):
        return Refused("no_segment")
    except OSError as error:
        return Refused("not_permitted" if isinstance(error, PermissionError) else "unreadable")
    try:
        return _settled(descriptor, size)
    except OSError:
        return Refused("unreadable")
    finally:
        os.close(descriptor)


def _settled(descriptor: int, size: int) -> bytes | Refused:
    before = os.pread(descriptor, size, 0)
    for _ in range(TRIES):
        now = os.pread(descriptor, size, 0)
        if now == before:
            return now
        before = now
    return Refused("torn")
