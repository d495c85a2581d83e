"""The way to a host's sshd: every address of its name in turn, or a ProxyCommand."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, Final

import paramiko

from harness.errors import last_line

if TYPE_CHECKING:
    from harness.ssh.config.options import SshOptions

_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def connect(options: SshOptions, timeout_s: float) -> socket.socket:
    """Return a connection to the first address that takes one, each given ``timeout_s``. Raises OSError.

    AddressFamily and BindAddress are those of ssh_config.
    """
    family = _FAMILIES.get(options.address_family, socket.AF_UNSPEC)
    errors: dict[tuple[str, int] | tuple[str, int, int, int], Exception] = {}
    for found, kind, protocol, _, address in socket.getaddrinfo(options.host, options.port, family, socket.SOCK_STREAM):
        sock = socket.socket(found, kind, protocol)
        try:
            sock.settimeout(timeout_s)
            if options.bind_address is not None:
                sock.bind(socket.getaddrinfo(options.bind_address, 0, found, kind)[0][4])
            sock.connect(address)
        except OSError as error:
            sock.close()
            errors[str(address[0]), options.port] = error
        else:
            return sock
    if all(isinstance(error, TimeoutError) for error in errors.values()):
        raise TimeoutError
    raise paramiko.ssh_exception.NoValidConnectionsError(errors)


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
