"""A ProxyCommand as a socket: the program that ssh_config names, on the other end of a pair.

Paramiko's own stand-in for a socket never reaps its program and cannot time out while it writes; a real socket can.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from typing import Final

END_PATIENCE_S: Final = 2.0


class ProxySocket(socket.socket):
    """A connected socket with a running program behind it, which ends when the socket is closed."""

    def __init__(self, command: str) -> None:
        """Start the program with the user's shell, as ssh does. Raises OSError."""
        ours, theirs = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self.command = command
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the socket
        with theirs:
            self._program: subprocess.Popen[bytes] = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C at the terminal must not cut a collection short
            )

    def said(self) -> str:
        """Return the last line of the program's standard error, or an empty text."""
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Close the socket and end the program. Idempotent."""
        super().close()
        if self._program.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._program.terminate()
                self._program.wait(END_PATIENCE_S)
        if self._program.poll() is None:
            self._program.kill()
            self._program.wait()
        self._errors.close()
