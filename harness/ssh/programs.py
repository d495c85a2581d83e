"""Programs of this machine that say something about the way to a host: without input, and never without end."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(argv: Sequence[str], timeout_s: float, output: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; ``output`` says what becomes of both its outputs.

    It has a session of its own: Ctrl-C at the terminal does not reach it, and what it started ends with it where it is
    given up. Raises OSError, or TimeoutExpired after ``timeout_s``.
    """
    nothing = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=nothing, stdout=output, stderr=output, start_new_session=True) as process:
        try:
            printed, errors = process.communicate(timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(argv, process.returncode, printed, errors)
