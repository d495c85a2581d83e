"""Markdown tables and numbers as a reader wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.statistics import Rate

NONE = "–"  # noqa: RUF001 - a dash in a table is an en dash


class Grid(str):
    """A Markdown table that remembers its cells, so that the same table can be set in LaTeX; ``rows`` may be empty."""

    __slots__ = ("columns", "rows")

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "Nothing to list.") -> Grid:
    """Return a Markdown table; the text ``empty`` where there is no row."""
    cells = tuple(tuple(_cell(value) for value in row) for row in rows)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    grid = Grid("\n".join(lines) if cells else empty)
    grid.columns, grid.rows = tuple(columns), cells
    return grid


def share(rate: Rate | None) -> str:
    """Return a rate as "97.50 % (195/200; 94.28 to 98.93)", or why there is none."""
    if rate is None:
        return "not evaluable"
    if rate.value is None or rate.low is None or rate.high is None:
        return "not evaluable (0 events)"
    counts = f"{rate.numerator}/{rate.denominator}"
    return f"{100 * rate.value:.2f} % ({counts}; {100 * rate.low:.2f} to {100 * rate.high:.2f})"


def number(value: float | None, digits: int = 1) -> str:
    """Return a number with so many decimals, or a dash where there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def counted(counts: dict[str, int]) -> str:
    """Return counts by reason in words."""
    return ", ".join(f"{reason}: {number_}" for reason, number_ in counts.items() if number_) or NONE


def _cell(value: Any) -> str:
    text = NONE if value is None or value == "" else str(value)
    return " ".join(text.split())
