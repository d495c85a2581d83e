"""Markdown tables and numbers as a reader wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.statistics import Rate

NONE = "–"  # noqa: RUF001 - a dash in a table is an en dash


def markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "Nothing to list.") -> str:
    """Return a Markdown table; ``empty`` where there is no row."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) if len(lines) > 2 else empty


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
    return " ".join(text.split()).replace("|", "\\|")
