"""Words of a command line on a node. Its shell reads them, so each one is quoted, whatever was checked before."""

from __future__ import annotations

import shlex

HOME = "~/"


def word(text: str) -> str:
    """Return any text as one word that the shell takes as it is."""
    return shlex.quote(text)


def path(text: str) -> str:
    """Return a path as one word; only a leading ``~/`` keeps its meaning."""
    return HOME + shlex.quote(text.removeprefix(HOME)) if text.startswith(HOME) else shlex.quote(text)
