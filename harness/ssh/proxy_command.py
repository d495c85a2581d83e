"""A ProxyCommand as a socket: the program that ssh_config names, on the other end of a pair.

Paramiko's own stand-in for a socket never reaps its program and cannot time out while it writes; a real socket can.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from typing import Final

from harness.errors import last_line

END_PATIENCE_S: Final = 1.0


class ProxySocket(socket.socket):
    """A connected socket with a running program behind it, which ends when the socket is closed."""

    def __init__(self, command: str) -> None:
        """Start the program with the user's shell, as ssh does. Raises OSError."""
        ours, theirs = socket.socketpair()
        super().__init__(fileno=ours.detach())
        self._ending = threading.Lock()
        self._last_words = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the socket
        with theirs:
            self._program: subprocess.Popen[bytes] = subprocess.Popen(
                [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C at the terminal must not cut a collection short
            )

    def said(self) -> str:
        """Return the last line of the program's standard error once it has ended, or an empty text."""
        self.close()
        return self._last_words

    def close(self) -> None:
        """Close the socket and end the program. Idempotent."""
        super().close()
        with self._ending:
            if self._errors.closed:
                return
            for number in (None, signal.SIGTERM, signal.SIGKILL):
                if number is not None:
                    self._program.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._program.wait(END_PATIENCE_S)
                    break
            self._errors.seek(0)
            self._last_words = last_line(self._errors.read().decode(errors="replace"), "")
            self._errors.close()
