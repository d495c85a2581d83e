"""``statistics/rates.csv``: every number of a run's statistics in long form.

It is made of the statistics alone, so that a number stands in it as it stands there. A number has one row, with the
columns of ``COLUMNS``; a cell is empty where a column does not apply. ``subject`` is a node, a pair of nodes, the
width of a window in ms or a task. A share has ``numerator`` and ``denominator``, a quantity has not; ``value`` is the
number in its ``unit``. ``least`` and ``most`` are what it may be for all that a judge with a width of its own can
tell; a quantity only known to lie between them has no ``value``. ``low`` and ``high`` are the sampling interval at
95 % where there is one, ``method`` says how it was taken or why there is none. What a judge leaves open is a share of
its own (``unknown``): ``low`` and ``high`` of what it calls right or wrong reach as far as that allows, too.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analysis.analyses.analysis import Place
from analysis.by_event.table import INTERVAL, POINT
from analysis.errors import AnalysisError
from analysis.report.entries import entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from analysis.analyses.analysis import Analysis
    from analysis.report.entries import Entry

RATES_FILE: Final = "rates.csv"
COLUMNS: Final = (
    "question", "subject", "source", "clock", "ground_truth", "metric", "numerator", "denominator", "low", "high",
    "method", "effective_trials", "unit", "value", "least", "most",
)  # fmt: skip
OF_ENTRY: Final = (
    "numerator", "denominator", "low", "high", "method", "effective_trials", "value", "least", "most",
)  # fmt: skip
GIVEN: Final = ("subject", "clock", "ground_truth")  # columns that a place may say itself
SHARE: Final = "share"
COUNT: Final = "count"
NO_UNIT: Final = "1"
UNITS: Final = {
    "us": "µs",
    "ms": "ms",
    "ns": "ns",
    "s": "s",
    "ppm": "ppm",
    "share": SHARE,
    "points": "percentage points",
}  # by the last word of a name
WORDS: Final = {"bytes": "bytes", "availability": SHARE, "coverage": SHARE, "level": SHARE, "claimed": SHARE}
_CLOCKS: Final = {POINT: POINT, INTERVAL: INTERVAL, "points": POINT, "intervals": INTERVAL}


@dataclass(frozen=True)
class Topic:
    """What has statistics and is no analysis: its name, and where numbers stand in them; the first that fits counts."""

    name: str
    rates: tuple[Place, ...]


PUBLISHED: Final = Topic("published", (Place("workers/{subject}/{metric}"),))


def rows(topics: Iterable[Analysis | Topic], numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per number of the statistics (by topic), in their order.

    Raises AnalysisError for a number whose place its topic does not know.
    """
    return list(_rows(topics, numbers))


def _rows(topics: Iterable[Analysis | Topic], numbers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for topic in topics:
        places = [(place, _parts(place.path)) for place in topic.rates]
        for entry in entries(numbers[topic.name]):
            yield _row(topic, places, entry)


def unit_of_rate(topics: Iterable[Analysis | Topic], metric: str) -> str:
    """Return what the rate at ``topic/path`` of the statistics is counted in, "" if it is a share, or no rate."""
    name, *path = metric.split("/")
    places = (place for topic in topics if topic.name == name for place in topic.rates)
    return next((place.unit for place in places if _columns(_parts(place.path), tuple(path)) is not None), "")


def as_csv(topics: Iterable[Analysis | Topic], numbers: Mapping[str, Any]) -> str:
    """Return ``rates.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row.get(column, "") for column in COLUMNS] for row in _rows(topics, numbers))
    return text.getvalue()


def unit_of(metric: str, value: float | None) -> str:
    """Return the unit of a quantity: the names in a metric tell it, the last one first."""
    return _unit(metric, whole=isinstance(value, int))


@cache
def _unit(metric: str, *, whole: bool) -> str:
    *above, last = metric.split("/")
    if last == COUNT:  # of the values that a spread is of, which has the unit
        return COUNT
    for name in (last, *reversed(above)):
        words = name.split("_")
        if len(words) > 1 and words[-1] in UNITS:
            return UNITS[words[-1]]
        if found := next((WORDS[word] for word in words if word in WORDS), ""):
            return found
    return COUNT if whole else NO_UNIT


def _row(topic: Analysis | Topic, places: Sequence[tuple[Place, Sequence[_Part]]], entry: Entry) -> dict[str, Any]:
    for place, parts in places:
        columns = _columns(parts, entry.path)
        if columns is not None:
            row: dict[str, Any] = columns
            row["question"] = place.question or topic.name
            for name in GIVEN:
                if given := getattr(place, name):
                    row[name] = given
            row["unit"] = (place.unit or SHARE) if entry.is_share else unit_of(columns["metric"], entry.value)
            for name in OF_ENTRY:
                row[name] = getattr(entry, name)
            return row
    raise AnalysisError(f"{RATES_FILE}: expected a place of the number {'/'.join((topic.name, *entry.path))}, got none")


class _Part(NamedTuple):
    """A part of a place: a ``key`` as it must be; where that is empty, the column of a key, one of ``only`` if any."""

    key: str
    column: str
    only: frozenset[str]


@cache
def _parts(place: str) -> tuple[_Part, ...]:
    parts = []
    for part in place.split("/"):
        column, _, only = part.strip("{}").partition("=")
        in_column = part.startswith("{")
        parts.append(_Part("" if in_column else part, column, frozenset(only.split("|") if only else ())))
    return tuple(parts)


def _columns(place: Sequence[_Part], path: tuple[str, ...]) -> dict[str, str] | None:
    """Return which key goes into which column, None if the path is not one of this place."""
    if len(path) < len(place):
        return None
    columns: dict[str, str] = {}
    last = len(place) - 1
    for part, key in zip(place, (*path[:last], "/".join(path[last:])), strict=True):
        if part.key:
            if key != part.key:
                return None
        elif part.only and key not in part.only:
            return None
        elif (column := part.column) == "clock":
            if key not in _CLOCKS:
                return None
            columns[column] = _CLOCKS[key]
        else:
            columns[column] = f"{columns[column]} after {key}" if column in columns else key
    return columns
