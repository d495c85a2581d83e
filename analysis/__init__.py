"""Reads run folders and judges them; the only place that knows pandas and matplotlib.

For an analysis of your own: ``from analysis import load, readings`` (docs/ANALYSIS.md).
"""

from __future__ import annotations

import importlib
from typing import Any

_FOR_OTHERS = {"load": "analysis.run.load", "readings": "analysis.by_event.readings"}


def __getattr__(name: str) -> Any:
    """Import what other people's analyses begin with only when it is asked for: pandas takes a second."""
    if name in _FOR_OTHERS:
        return importlib.import_module(_FOR_OTHERS[name])
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
