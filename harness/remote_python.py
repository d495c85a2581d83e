"""How Python is started on a node, and where its answer begins.

Nothing of the node's or its user's own reaches it: no PYTHON* variable, no user site, no sitecustomize. The standard
library is all that is needed there, and what is in the agent's bundle, which Python puts first on its path itself.
"""

from __future__ import annotations

import secrets
from typing import Final

ISOLATED: Final = "-I -S -X utf8"  # UTF-8 in every locale
ISOLATED_ANY_VERSION: Final = "-E -s -S"  # what comes nearest to it in every Python, also one that is too old
MARK: Final = f"answer-{secrets.token_hex(8)}:"  # what is said before it (by a wrapper, say) is no answer


def answer(said: str) -> str:
    """Return what was said after the mark; all of it, to be shown as it is, where there is none."""
    return said.rpartition(MARK)[2].strip()
