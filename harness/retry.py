"""Doing once more what a broken connection interrupted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from harness.errors import LostError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.ssh.host import Host

T = TypeVar("T")

PATIENCE_S: Final = 15.0
PAUSE_S: Final = 0.5


def again(action: Callable[[Host], T], repeat: Callable[[Host], T] | None = None) -> Callable[[Host], T]:
    """Let an action on a node outlive a connection that breaks, if there is one again within ``PATIENCE_S``.

    It is then carried out again, though it may have been carried out before: by ``repeat``, else ``action`` itself. A
    node that could not be reached in the first place is not waited for.
    """

    def patient(host: Host) -> T:
        try:
            return action(host)
        except LostError:
            deadline = time.monotonic() + PATIENCE_S
        while True:
            time.sleep(PAUSE_S)
            try:
                return (repeat or action)(host)
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise

    return patient
