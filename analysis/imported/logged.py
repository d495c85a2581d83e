"""What a line of another program's log says of a clock, in this house's signs and cells, and what a log format is.

Numbers are decimal from the log's text to the cell: no float rounds an instant. Offsets are reference minus local, to
be added to the local clock; bounds round outward to the ns.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from analysis.run.wall_clock import EARLIEST_NS, LATEST_NS
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

S_NS: Final = Decimal(1_000_000_000)
MS_NS: Final = Decimal(1_000_000)
NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")  # as programs print them: no nan, no inf
SYSTEM_CLOCK: Final = "the system clock"
MOST_DIGITS: Final = 40  # of a number; a longer one is no measurement

Cells = dict[str, str]  # of one source, by the names of ``records.SOURCE_FIELDS``


class NotOfThisFormatError(ValueError):
    """A line is not one of the format; its text says what was expected, and what was found."""


@dataclass(frozen=True)
class Row:
    """What a log says at one wall instant (ns since 1970, UTC): the cells of every source it speaks of, by source."""

    wall_ns: int
    sources: Mapping[str, Cells]


@dataclass(frozen=True)
class About:
    """What a source's numbers are, in words for the report: its offset, and its interval or why there is none.

    ``clock``: the local clock that the offset is of. Offsets of different clocks are never compared.
    """

    offset: str
    interval: str
    clock: str = SYSTEM_CLOCK


@dataclass(frozen=True)
class LogFormat:
    """One format: what it is called, how a file of it is known, and how its lines are read.

    ``begins`` tells it by a file's first line that says something. ``rows`` reads lines, given as pairs of number and
    text, and raises NotOfThisFormatError for one that is none. ``about`` is what the numbers of a source mean,
    ``stamps`` what its instants are, ``missing`` what such a log does not have.
    """

    name: str
    begins: Callable[[str], bool]
    rows: Callable[[Iterator[tuple[int, str]]], Iterator[tuple[int, Row]]]
    about: Callable[[str], About]
    stamps: str
    missing: tuple[str, ...] = field(default=())


def cells_of(line: str, most: int) -> list[str]:
    """Return a line's cells. Raises NotOfThisFormatError for one with fewer than the ``most`` of the lines before.

    A program's newer version may add some; fewer are a line that lost some, and the rest stands in wrong places.
    """
    cells = line.split()
    if len(cells) < most:
        raise NotOfThisFormatError(f"expected {most} cells as in a line before, got {len(cells)}")
    return cells


def number(name: str, text: str) -> Decimal:
    """Return a finite number. Raises NotOfThisFormatError for anything else."""
    try:
        if NUMBER.fullmatch(text) and len(text) <= MOST_DIGITS:
            return Decimal(text)
    except InvalidOperation:
        pass
    raise NotOfThisFormatError(f"{name}: expected a finite number, got {text[:40]!r}")


def wall_ns(name: str, seconds: Decimal) -> int:
    """Return the instant of so many seconds since 1970, to the ns. Raises NotOfThisFormatError for an odd one."""
    instant = round(seconds * S_NS)
    if not EARLIEST_NS <= instant <= LATEST_NS:
        raise NotOfThisFormatError(f"{name}: expected an instant between 2000 and 2100, got {seconds} s since 1970")
    return instant


def reading(
    at_ns: int,
    offset_ms: Decimal,
    *,
    half_ms: Decimal | None = None,
    claimed_ms: Decimal | None = None,
    kind: str = "",
    reference: str = "",
) -> Cells:
    """Return the cells of a reading: the offset, and the interval of so much to either side where one is known.

    ``claimed_ms``: what the log states as uncertainty; without it the half-width is the claim. ``kind`` is stated only
    of an interval that this house vouches for.
    """
    est_ns = at_ns + round(offset_ms * MS_NS)
    cells = {"status": records.OK, "offset_ms": _text(offset_ms), "timestamp_ns": str(est_ns), "reference": reference}
    claim = half_ms if claimed_ms is None else claimed_ms
    if claim is not None:
        cells["uncertainty_ms"] = _text(claim)
    if half_ms is not None:
        centre = at_ns + offset_ms * MS_NS
        cells["lower_bound_ns"] = str(math.floor(centre - half_ms * MS_NS))
        cells["upper_bound_ns"] = str(math.ceil(centre + half_ms * MS_NS))
        if kind:
            cells |= {"kind": kind, "level": "1.0"}
    return cells


def unavailable(reason: str) -> Cells:
    """Return the cells of a source that said at an instant that it has no reading."""
    return {"status": reason}


def _text(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"
