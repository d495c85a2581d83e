"""Files of a node by its shell alone, for a node without SFTP or one whose login prints something in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness import shell

if TYPE_CHECKING:
    from pathlib import Path

    from harness.remote import Remote

NONE: Final = 44  # exit code of our own for "there is none"
CHUNK: Final = 8 << 20


def write(remote: Remote, scratch: str, path: str, content: bytes, mode: int) -> None:
    """Put a file in place at once, by way of ``scratch`` beside it."""
    new = shell.path(scratch)
    command = f"umask 077; cat > {new} && chmod {mode:o} {new} && mv -f {new} {shell.path(path)}"
    remote.run(command, stdin=content).demand(command)


def read(remote: Remote, path: str) -> bytes | None:
    """Return a small file's bytes, or None if there is none."""
    command = f"test -f {shell.path(path)} || exit {NONE}; cat {shell.path(path)}"
    result = remote.run(command)
    return None if result.exit_code == NONE else result.demand(command)


def listing(remote: Remote, folder: str) -> dict[str, int] | None:
    """Return names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
    sized = 's=$(wc -c < "$f") 2>/dev/null'  # it fails for a file that went since, as another's scratch file does
    names = f'for f in * .*; do [ -f "$f" ] && [ ! -L "$f" ] && {sized} && printf "%s %s\\0" "$s" "$f"; done; true'
    command = f"cd {shell.path(folder)} 2>/dev/null || exit {NONE}; {names}"
    result = remote.run(command)
    if result.exit_code == NONE:
        return None
    sizes = {}
    for entry in result.demand(command).split(b"\0")[:-1]:
        size, _, name = entry.strip().partition(b" ")
        sizes[name.decode(errors="replace")] = int(size)
    return sizes


def fetch(remote: Remote, path: str, target: Path) -> None:
    """Copy a file of any size, in pieces that each have their own deadline."""
    with target.open("wb") as file:
        while True:
            command = f"tail -c +{file.tell() + 1} {shell.path(path)} | head -c {CHUNK}"
            piece = remote.run(command).demand(command)
            file.write(piece)
            if len(piece) < CHUNK:
                return
