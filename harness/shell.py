"""Words of a command line on a node, how Python is started there, and where its answer begins.

The node's shell reads the words, so each one is quoted, whatever was checked before. Nothing of the node's or its
user's own reaches Python: no PYTHON* variable, no user site, no sitecustomize. The standard library is all that is
needed there, and what is in the agent's bundle, which Python puts first on its path itself.
"""

from __future__ import annotations

import secrets
import shlex
from typing import Final

HOME: Final = "~/"
ISOLATED: Final = "-I -S -X utf8"  # UTF-8 in every locale
ISOLATED_ANY_VERSION: Final = "-E -s -S"  # what comes nearest to it in every Python, also one that is too old
MARK: Final = f"answer-{secrets.token_hex(8)}:"  # what is said before it (by a wrapper, say) is no answer


def word(text: str) -> str:
    """Return any text as one word that the shell takes as it is."""
    return shlex.quote(text)


def path(text: str) -> str:
    """Return a path as one word; only a leading ``~/`` or ``$NAME/`` keeps its meaning."""
    if text.startswith("$"):
        variable, _, rest = text.partition("/")
        return f'"{variable}"/{shlex.quote(rest)}'
    return HOME + shlex.quote(text.removeprefix(HOME)) if text.startswith(HOME) else shlex.quote(text)


def answer(output: str) -> str:
    """Return what was written after the mark; all of it, to be shown as it is, where there is none."""
    return output.rpartition(MARK)[2].strip()
