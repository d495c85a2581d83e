"""This machine as a node: a folder of it is the home, and commands are processes here."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.agent import Detaching
from harness.errors import DeadlineError, RemoteCommandError, cause
from harness.remote import COMMAND_TIMEOUT_S, Result

if TYPE_CHECKING:
    from collections.abc import Collection


class LocalRemote(Detaching):
    """A remote without a connection."""

    def __init__(self, node_id: str, home: Path | None = None) -> None:
        """Name it; its home is the user's unless another folder is given."""
        self.home = Path.home() if home is None else home
        self.id, self.place = node_id, str(self.home)

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run a command with /bin/sh in a process group of its own, all of which ends where its time does."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self.home,
            env=os.environ | {"HOME": str(self.home), "PATH": _search_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C at the terminal is ours to hear, not theirs
        )
        try:
            output, errors = process.communicate(stdin, timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise DeadlineError(f"{self.id}: expected an end within {timeout_s:g} s of: {command}") from None
        return Result(process.returncode, output, errors.decode("utf-8", "replace"))

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Put a file in place at once."""
        place = self._path(path)
        scratch = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
            scratch.replace(place)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise RemoteCommandError(f"{self.id}: writing {path}: {cause(error)}") from error

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none."""
        try:
            return self._path(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RemoteCommandError(f"{self.id}: reading {path}: {cause(error)}") from error

    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
        if not self._path(folder).is_dir():
            return None
        files = (path for path in self._path(folder).iterdir() if path.is_file() and not path.is_symlink())
        return {path.name: path.stat().st_size for path in files}

    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        """Copy a folder's plain files."""
        names = self.list(folder)
        if names is None:
            raise RemoteCommandError(f"{self.id}: expected the folder {folder}, got none there")
        for name in names:
            if not name.startswith(".") and name not in without:
                shutil.copy(self._path(folder) / name, target)
        return "copy"

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _path(self, path: str) -> Path:
        return self.home / path.removeprefix("~/")


def _search_path() -> str:
    """Return where programs are looked for, without this process's own virtual environment, which others lack."""
    own = str(Path(sys.prefix) / "bin") if sys.prefix != sys.base_prefix else None
    return os.pathsep.join(place for place in os.get_exec_path() if place != own)
