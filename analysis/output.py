"""The only ways analysis writes into a run folder: whole files, atomically, with the same bytes for the same data."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write that becomes ``path`` when the block ends; if it fails, nothing of it is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Replace a file atomically: whoever reads it sees the old one or the new one."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Replace a text file atomically."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, data: dict[str, Any]) -> Path:
    """Replace a JSON file atomically; numbers that are not finite raise ValueError, as JSON has none.

    It is written piece by piece: as one text, millions of numbers take some ten times the memory of the file.
    """
    encoder = json.JSONEncoder(indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(encoder.iterencode(data))
        file.write("\n")
    return path
