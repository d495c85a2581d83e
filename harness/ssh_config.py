"""The user's ssh_config as OpenSSH reads it, as far as paramiko does not: which files, and what they include.

Include is expanded in place; a block goes on after it (ssh_config(5)). A block that an included file opens is not
limited to the hosts of the block around the Include, which nobody means who writes it.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Final

import paramiko

from harness.errors import ConfigError

USER_FILE: Final = Path("~/.ssh/config")
SYSTEM_FILE: Final = Path("/etc/ssh/ssh_config")
MAX_DEPTH: Final = 16  # as OpenSSH

_WORD: Final = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)")
_ARGUMENT: Final = re.compile(r'"([^"]*)"|(\S+)')


def files(given: str | None) -> list[Path]:
    """Return the files to read, first values win: the given one (``fab -S``), else the user's and the system's."""
    if given is None:
        return [path for path in (USER_FILE.expanduser(), SYSTEM_FILE) if path.is_file()]
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise ConfigError(f"ssh_config: expected a file {given}, got none there")
    return [path]


def load(given: str | None) -> paramiko.SSHConfig:
    """Return what the files say, included ones in place. Raises ConfigError for what cannot be read."""
    text = ""
    for path in files(given):
        text += "Host *\n" + expanded(path)
    try:
        return paramiko.SSHConfig.from_text(text)
    except (paramiko.SSHException, ValueError) as error:
        raise ConfigError(f"ssh_config: {error}") from error


def expanded(path: Path, depth: int = 0) -> str:
    """Return a file's text with every Include replaced by what it names. Raises ConfigError."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"{path}: expected Include at most {MAX_DEPTH} deep; does a file include itself?")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    block, told = "Host *", []
    for line in lines:
        match = _WORD.match(line)
        word = match[1].lower() if match else ""
        if word in {"host", "match"}:
            block = line
        if match is None or word != "include":
            told.append(line)
            continue
        for quoted, plain in _ARGUMENT.findall(match[2]):
            for name in _named(quoted or plain, path):
                told += [expanded(name, depth + 1), block]
    return "\n".join(told) + "\n"


def _named(pattern: str, including: Path) -> list[Path]:
    """Return the files that an argument of Include means, in order; none is no error."""
    base = SYSTEM_FILE.parent if including.is_relative_to(SYSTEM_FILE.parent) else USER_FILE.parent.expanduser()
    return [Path(name) for name in sorted(glob.glob(str(base / Path(pattern).expanduser()))) if Path(name).is_file()]  # noqa: PTH207 - the pattern may be absolute
