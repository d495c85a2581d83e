"""A server on a testbed host, as a process that can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Final

from harness.errors import PreflightError, last_line

if TYPE_CHECKING:
    from collections.abc import Sequence

START_DEADLINE_S: Final = 20.0
END_DEADLINE_S: Final = 10.0


class Service:
    """One server that prints a ``listening`` line: its command line, and its process while it runs.

    ``log`` holds what it said, all starts together.
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log = log
        self.argv = list(argv)
        self._environment = environment
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return its process id. Raises AssertionError if it does not run."""
        if self._popen is None:
            raise AssertionError(f"{self.name} does not run")
        child = _only_child(self._popen.pid)
        if child is None:
            raise AssertionError(f"{self.name} has ended")
        return child

    @property
    def runs(self) -> bool:
        """Return whether its process lives."""
        return self._popen is not None and self._popen.poll() is None

    def start(self, *more: str, wait: bool = True) -> None:
        """Start it, with ``more`` options for this once; return when it answers. Raises PreflightError."""
        self.end()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*self.argv, *more],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        """Return when it answers. Raises PreflightError with its last words."""
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers(deadline):
            if not self.runs or time.monotonic() > deadline:
                words = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
                raise PreflightError(f"testbed: {self.name} did not start: {words}")
            time.sleep(0.02)

    def _answers(self, deadline: float) -> bool:
        if self._popen is None or self._popen.stdout is None:
            return False
        if not select.select([self._popen.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        return os.read(self._popen.stdout.fileno(), 4096).startswith(b"listening ")

    def send(self, number: Signals) -> None:
        """Send it a signal (SIGSTOP and SIGCONT make it slow)."""
        os.kill(self.pid, number)

    def end(self, number: Signals = Signals.SIGKILL) -> None:
        """End it, by default without warning. Idempotent."""
        popen, self._popen = self._popen, None
        if popen is None:
            return
        if popen.poll() is None:
            child = _only_child(popen.pid)
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)
            try:
                popen.wait(END_DEADLINE_S)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
        if popen.stdout is not None:
            popen.stdout.close()


def _only_child(pid: int) -> int | None:
    """Return the process that nsenter forked into the PID namespace: the server itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else None
