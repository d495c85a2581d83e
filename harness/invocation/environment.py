"""What the environment of a program of ours is: the caller's, without what would change how Python starts.

A PYTHONPATH with a ``json.py`` of its own, a PYTHONHOME, a PYTHONINSPECT belong to other work.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import harness

ROOT: Final = Path(harness.__file__).parent.parent
_ONLY_WHERE_CACHES_GO: Final = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}


def known_environment() -> dict[str, str]:
    """Return the environment in which ``python -m`` finds the packages of this tree, and no others of their names."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name in _ONLY_WHERE_CACHES_GO
    }
    # Safe path: not the current folder, where any file may lie. UTF-8: whatever the locale is, we read what we wrote.
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
