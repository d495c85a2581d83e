"""The only ways analysis writes into a run folder: whole files, atomically, with the same bytes for the same data."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
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
    """Replace a JSON file atomically; numbers that are not finite raise ValueError, as JSON has none."""
    return write_text(path, f"{_indented(data, 0)}\n")


def _indented(data: Any, depth: int) -> str:
    """Return what ``json.dumps(data, indent=1)`` does, in a third of the time.

    Only its encoder without indentation is in C. So that encodes every container of nothing but numbers and words, with
    the line's end and the indentation in its separator.
    """
    inner = "\n" + " " * (depth + 1)
    container = isinstance(data, (dict, list, tuple))
    if not container or not data:
        return _encoder("").encode(data)
    values = data.values() if isinstance(data, dict) else data
    opening, closing = "{}" if isinstance(data, dict) else "[]"
    if not any(isinstance(value, (dict, list, tuple)) for value in values):
        return f"{opening}{inner}{_encoder(inner).encode(data)[1:-1]}{inner[:-1]}{closing}"
    if isinstance(data, dict):
        keys = (_encoder("").encode({key: 0})[1:-2] for key in data)  # "key": as JSON writes it, whatever it is
        items = [key + _indented(value, depth + 1) for key, value in zip(keys, values, strict=True)]
    else:
        items = [_indented(value, depth + 1) for value in data]
    return f"{opening}{inner}{f',{inner}'.join(items)}{inner[:-1]}{closing}"


@cache
def _encoder(inner: str) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(f",{inner}", ": "))
