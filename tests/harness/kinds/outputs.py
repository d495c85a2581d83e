"""Places for a program's output to go to where nobody, or not everybody, listens."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code and what it said on standard error, as far as that was heard."""

    code: int
    errors: str


def head(argv: Sequence[str | Path], *, lines: int = 1, **options: object) -> Ended:
    """Read some lines, then no more: ``| head -1``."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    return Ended(process.returncode, errors.decode())


def head_of_both(argv: Sequence[str | Path], **options: object) -> Ended:
    """Read one line of both streams together: ``2>&1 | head -1``."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options) as process:
        said = process.stdout.readline()
        process.stdout.close()
    return Ended(process.returncode, said.decode())


def redirected(how: str) -> Callable[..., Ended]:
    """Redirect as a shell does."""

    def run(argv: Sequence[str | Path], **options: object) -> Ended:
        command = ["/bin/sh", "-c", f'exec "$@" {how}', "sh", *argv]
        done = subprocess.run(command, capture_output=True, timeout=250, check=False, **options)
        return Ended(done.returncode, done.stderr.decode())

    return run


def closed_terminal(argv: Sequence[str | Path], *, until: Callable[[], bool] | None = None, **options: object) -> Ended:
    """Run on a terminal of its own that is closed after the first line, or once ``until`` holds (it is polled)."""
    ours, theirs = os.openpty()

    argv = ["setsid", "--ctty", *argv]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, **options) as process:
        os.close(theirs)
        said = b""
        while b"\n" not in said or (until is not None and not until()):
            said += os.read(ours, 65536)
        os.close(ours)
        code = process.wait(timeout=250)
    return Ended(code, said.decode())


NOBODY_LISTENS: dict[str, Callable[..., Ended]] = {
    "head": head,
    "head of both": head_of_both,
    "full disk": redirected(">/dev/full"),
    "full disk for both": redirected(">/dev/full 2>&1"),
    "closed": redirected(">&-"),
    "all closed": redirected("<&- >&- 2>&-"),
    "read only": redirected("1</dev/null"),
    "closed terminal": closed_terminal,
}
