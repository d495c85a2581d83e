"""How a task is written for readers: statistics name it ``window_50ms``, reports and figures say "window 50 ms"."""

from __future__ import annotations

import re
from typing import Final

_MILLISECONDS: Final = re.compile(r"(?<=\d)ms\b")


def in_words(task: str) -> str:
    """Return a task's name in words."""
    return _MILLISECONDS.sub(" ms", task.replace("_", " "))
