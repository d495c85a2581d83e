"""The tables of a simulated node, written in pieces."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Write = Callable[[Iterable[str]], None]


@contextlib.contextmanager
def table(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    """Begin a CSV file with its header, and give what appends whole rows, without their line ends."""
    with path.open("wb") as file:

        def write(rows: Iterable[str]) -> None:
            text = "\n".join(rows)
            if text:
                file.write(f"{text}\n".encode())

        write([",".join(columns)])
        yield write
