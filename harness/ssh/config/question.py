"""What is asked about one host, in the words of ssh's own command line.

``ssh -G`` answers the question, and rsync's ssh is started with the same words: both get one configuration.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ConfigError

NO_FILE: Final = os.devnull


@dataclass(frozen=True)
class Question:
    """A host by the name it is asked for, the file to read (``-F``; None: the usual ones), and what goes before it.

    ``settings`` are keywords and values as in ssh_config; first values win, so they win over every file.
    """

    host: str
    config_file: str | None = None
    settings: tuple[tuple[str, str], ...] = ()

    def words(self) -> list[str]:
        """Return the arguments of ssh that come before the host's name."""
        file = [] if self.config_file is None else ["-F", self.config_file]
        return file + [word for keyword, value in self.settings for word in ("-o", f"{keyword}={value}")]


def quoted(path: str) -> str:
    """Return a file's name as a value of ssh_config. Raises ConfigError for one that no quotes can hold."""
    if '"' in path or "${" in path or "\n" in path:
        raise ConfigError(f"{path}: expected a file whose name has no quotation mark, '${{' or line end in it")
    return f'"{path}"'


def home() -> Path:
    """Return the user's home folder as ssh finds it: by the account, not by HOME, unless there is no account."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (KeyError, OSError):
        return Path(os.environ.get("HOME", "/"))


def local_user() -> str:
    """Return the name of the account that this runs under, its number if it has none (see ``demand_local_user``)."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except (KeyError, OSError):
        return os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid())


def under_home(path: str) -> str:
    """Return a path with a leading ``~`` or ``~name`` replaced, as ssh does it. Raises ConfigError."""
    if not path.startswith("~"):
        return path
    name, slash, rest = path[1:].partition("/")
    try:
        folder = home() if not name else Path(pwd.getpwnam(name).pw_dir)
    except KeyError:
        raise ConfigError(f"ssh_config: {path}: expected a user's home folder, got no user {name!r}") from None
    return f"{folder}{slash}{rest}"
