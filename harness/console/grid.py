"""Tables as they are drawn here."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.table import Table

ROOMY_WIDTH: Final = 100  # a narrower terminal gets tables without lines between the columns


def grid(width: int, **options: Any) -> Table:
    """Return an empty table whose columns stand as close as ``width`` asks for."""
    if width >= ROOMY_WIDTH:
        return Table(show_edge=False, pad_edge=False, **options)
    return Table(show_edge=False, pad_edge=False, box=box.SIMPLE_HEAD, padding=0, **options)
