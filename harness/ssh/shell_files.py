"""Files of a node by its shell alone, for a node without SFTP or one whose login prints something in between.

Every function takes ``run``, which runs a command there (see ``harness.remote``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from harness import shell
from harness.errors import RemoteCommandError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.remote import Result

NONE: Final = 44  # exit code of our own for "there is none"
CHUNK: Final = 8 << 20


class Run(Protocol):
    """Runs a command on the node."""

    def __call__(self, command: str, *, stdin: bytes = b"") -> Result:
        """Return its exit code and what it printed."""
        ...


def write(run: Run, scratch: str, path: str, content: bytes, mode: int) -> None:
    """Put a file in place at once, by way of ``scratch`` beside it."""
    new = shell.path(scratch)
    command = f"umask 077; cat > {new} && chmod {mode:o} {new} && mv -f {new} {shell.path(path)}"
    _checked(run(command, stdin=content), command)


def read(run: Run, path: str) -> bytes | None:
    """Return a small file's bytes, or None if there is none."""
    command = f"test -f {shell.path(path)} || exit {NONE}; cat {shell.path(path)}"
    result = run(command)
    return None if result.exit_code == NONE else _checked(result, command)


def listing(run: Run, folder: str) -> dict[str, int] | None:
    """Return names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
    names = 'for f in * .*; do [ -f "$f" ] && [ ! -L "$f" ] && printf "%s %s\\0" "$(wc -c < "$f")" "$f"; done; true'
    command = f"cd {shell.path(folder)} 2>/dev/null || exit {NONE}; {names}"
    result = run(command)
    if result.exit_code == NONE:
        return None
    sizes = {}
    for entry in _checked(result, command).split(b"\0")[:-1]:
        size, _, name = entry.strip().partition(b" ")
        sizes[name.decode(errors="replace")] = int(size)
    return sizes


def fetch(run: Run, path: str, target: Path) -> None:
    """Copy a file of any size, in pieces that each have their own deadline."""
    with target.open("wb") as file:
        while True:
            command = f"tail -c +{file.tell() + 1} {shell.path(path)} | head -c {CHUNK}"
            piece = _checked(run(command), command)
            file.write(piece)
            if len(piece) < CHUNK:
                return


def _checked(result: Result, command: str) -> bytes:
    if result.exit_code != 0:
        lines = result.stderr.strip().splitlines()
        raise RemoteCommandError(f"{lines[-1] if lines else 'no message'} (exit {result.exit_code} of: {command})")
    return result.output
