"""Which file of ``configs/clusters/`` a word of the command line almost is, and why it is no cluster's name."""

from __future__ import annotations

import difflib
import re
from pathlib import Path, PurePath
from typing import Final

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # invoke splits at dots, and takes a leading dash for an option
SUFFIX: Final = ".yaml"
_OTHER_SUFFIXES: Final = (".yml", ".YAML", ".YML", ".json", ".toml")


def almost(folder: Path, typed: str) -> str | None:
    """Return what to do about a word that is no cluster's name but was meant to be; None if no file is like it."""
    try:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        return f"{folder}: expected a folder of cluster files, got: {error.strerror}"
    for name in files:
        file = PurePath(name)
        if typed not in {file.stem, name}:
            continue
        if typed == name and file.suffix == SUFFIX and NAME.fullmatch(file.stem):
            return f"the cluster of {folder / name} is called {file.stem}"
        if file.suffix in _OTHER_SUFFIXES:
            return f"{folder / name}: expected a cluster file to end in {SUFFIX}; rename it"
        if file.suffix == SUFFIX and not NAME.fullmatch(file.stem):
            return f"{folder / name}: expected a name of letters, digits, '_' and '-'; rename it"
    stems = {file.stem.casefold(): file.stem for file in map(PurePath, files) if file.suffix == SUFFIX}
    near = difflib.get_close_matches(typed.casefold(), list(stems), 1, 0.8)
    return f"did you mean {stems[near[0]]}, of {folder / stems[near[0]]}{SUFFIX}?" if near else None
