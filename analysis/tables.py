"""Tables of column specifications, and numbers as a reader wants them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from analysis.stats.rates import Rate

NONE: Final = "–"  # noqa: RUF001 - a dash in a table is an en dash
NOT_EVALUABLE: Final = "not evaluable"
POINT_CLOCK: Final = "point clock"
NOTHING: Final = "Nothing to list."

STRONG, EMPHASIS, CODE = "strong", "emphasis", "code"
_MARKS: Final = re.compile(
    r"\*\*(?P<strong>[^*]+?)\*\*|`(?P<code>[^`]+?)`|(?<![\w*])\*(?P<emphasis>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])"
)


@dataclass(frozen=True)
class Grid:
    """A table as a value: heads of columns, rows of cells, and what is said in its place where it has no row.

    A cell is text in which ``**strong**``, ``*emphasis*`` and ```code``` mean what they mean in Markdown. It is set as
    Markdown here, in HTML by ``report.html`` and in LaTeX by ``report.latex``.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = NOTHING

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = NOTHING) -> Grid:
        """Return the table of some cells, which may be anything that can be said as text; a dash stands for None."""
        return cls(tuple(columns), tuple(tuple(_cell(value) for value in row) for row in rows), empty)

    def __bool__(self) -> bool:
        """Tell whether there is any row."""
        return bool(self.rows)

    @property
    def markdown(self) -> str:
        """Return the table in Markdown, or what is said where it has no row."""
        if not self.rows:
            return self.empty
        lines = ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        return "\n".join(lines)

    def first(self, most: int, where: str) -> Grid:
        """Return the table's first rows; if that are not all, a last one says how many more there are, and where."""
        left = len(self.rows) - most
        if left <= 0:
            return self
        rest = (f"and {left:,} more: {where}", *("" for _ in self.columns[1:]))
        return Grid(self.columns, (*self.rows[:most], rest), self.empty)


def table(rows: Iterable[Any], columns: Mapping[str, Callable[[Any], Any]], empty: str = NOTHING) -> Grid:
    """Return the table of some rows whose columns are functions of a row, by their heads."""
    return Grid.of(tuple(columns), [tuple(cell(row) for cell in columns.values()) for row in rows], empty)


def marked(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a text, each with how it is marked: ``STRONG``, ``EMPHASIS``, ``CODE``, or ""."""
    end = 0
    for match in _MARKS.finditer(text):
        if match.start() > end:
            yield "", text[end : match.start()]
        kind = match.lastgroup or ""
        yield kind, match[kind]
        end = match.end()
    if end < len(text):
        yield "", text[end:]


def share(rate: Rate | None) -> str:
    """Return a rate as "97.50 % (195/200; 94.28 to 98.93)", or why there is none; without an interval without it."""
    return NOT_EVALUABLE if rate is None else share_between(rate, rate)


def share_between(least: Rate, most: Rate) -> str:
    """Return a share that is no less than one rate and no more than another of the same denominator.

    As "90.00 to 97.50 % (180 to 195/200; 81.30 to 98.93)": the interval is from the one's lower to the other's upper
    limit.
    """
    if least.value is None or most.value is None:
        return f"{NOT_EVALUABLE} (0 events)"
    percent = between(100 * least.value, 100 * most.value, 2)
    hits = between(least.numerator, most.numerator, 0)
    beside = ""
    if least.low is not None and most.high is not None:
        beside = f"; {100 * least.low:.2f} to {100 * most.high:.2f}"
    return f"{percent} % ({hits}/{least.denominator:,}{beside})"


def between(least: float | None, most: float | None, digits: int = 1) -> str:
    """Return a number between two limits as "1.2 to 3.4", or as "1.2" where they are the same; a dash for none."""
    if least is None or most is None:
        return NONE
    low, high = (f"{value:,.{digits}f}" for value in (least, most))
    return low if low == high else f"{low} to {high}"


def number(value: float | None, digits: int = 1) -> str:
    """Return a number with so many decimals, or a dash where there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def count(value: int | None) -> str:
    """Return a count with its thousands apart."""
    return NOT_EVALUABLE if value is None else f"{value:,}"


def counted(counts: Mapping[str, int]) -> str:
    """Return counts by reason in words."""
    return ", ".join(f"{reason}: {number_:,}" for reason, number_ in counts.items() if number_) or NONE


def _cell(value: Any) -> str:
    text = NONE if value is None or value == "" else str(value)
    return " ".join(text.split())
