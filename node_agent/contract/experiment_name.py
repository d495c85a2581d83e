"""What an experiment may be called: its run folders bear the name, at home and on the nodes."""

from __future__ import annotations

import re

LATEST = "latest"  # the link to the newest experiment
FORM = f"letters, digits, '_', '.', '-', at most 64, starting with a letter or digit, and not '{LATEST}'"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def is_experiment_name(name: str) -> bool:
    """Return whether an experiment may have this name."""
    return _NAME.fullmatch(name) is not None and name != LATEST
