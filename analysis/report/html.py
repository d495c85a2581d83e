"""Tables and marked text as HTML: everything that comes from a run is escaped, whatever it looks like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

from analysis.tables import CODE, EMPHASIS, STRONG, Grid, marked

if TYPE_CHECKING:
    from collections.abc import Mapping

ELEMENTS: Final[Mapping[str, str]] = {STRONG: "strong", EMPHASIS: "em", CODE: "code"}
MOST_ROWS: Final = 300  # of a table on a page
_NUMBER: Final = re.compile(r"[-−–+]?[\d.,]*( %)?( to [\d.,]+( %)?)?")  # noqa: RUF001 - signs and dashes


def text(said: str, *, breakable: bool = False) -> Markup:
    """Return a text with what is marked in it as elements; ``breakable``: a line may end behind a slash."""
    slash = Markup("/<wbr>") if breakable else Markup("/")
    return Markup("").join(
        Markup("<{0}>{1}</{0}>").format(Markup(ELEMENTS[kind]), part)  # noqa: S704 - a constant
        if kind
        else slash.join(escape(piece) for piece in part.split("/"))
        for kind, part in marked(said)
    )


def table(grid: Grid, name: str) -> Markup:
    """Return a table that scrolls by itself where it is too wide; what is said in its place if it has no row."""
    if not grid.rows:
        return Markup("<p>{}</p>").format(text(grid.empty)) if grid.empty else Markup("")
    numeric = [all(_NUMBER.fullmatch(row[place]) for row in grid.rows) for place in range(len(grid.columns))]
    rows = Markup("").join(Markup("<tr>{}</tr>").format(_row(row, numeric)) for row in grid.rows)
    return _framed(name, grid.columns, rows)


def grouped(grid: Grid, name: str) -> Markup:
    """Return a table whose first column heads the rows that share it, and whose second stays in sight.

    What a cell says in brackets stands below the rest.
    """
    rows: list[Markup] = []
    for place, row in enumerate(grid.rows):
        if not place or row[0] != grid.rows[place - 1][0]:
            head = Markup('<tr class="group"><th scope="rowgroup" colspan="{}">{}</th></tr>')
            rows.append(head.format(len(grid.columns) - 1, text(row[0])))
        cells = Markup("").join(Markup("<td>{}</td>").format(_above(cell)) for cell in row[2:])
        rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(text(row[1]), cells))
    return _framed(name, grid.columns[1:], Markup("").join(rows), "short")


def _above(cell: str) -> Markup:
    """Return a cell with what it says in brackets apart, to be set smaller."""
    said, bracket, beside = cell.partition(" (")
    return text(cell) if not bracket else Markup("{} <small>{}</small>").format(text(said), text(f"({beside}"))


def folded(grid: Grid, name: str) -> Markup:
    """Return a table behind its name, to be opened; nothing where it has no row and nothing to say.

    Of a long table its first rows: one that is quadratic in the nodes would be most of a page.
    """
    if not grid.rows:
        return table(grid, name)
    shown = grid.first(MOST_ROWS, "statistics/rates.csv")
    count = f"{len(grid.rows)} {'row' if len(grid.rows) == 1 else 'rows'}"
    said = Markup('<details class="folded"><summary>{} <small>{}</small></summary>{}</details>')
    return said.format(name[:1].upper() + name[1:], count, table(shown, name))


def _row(row: tuple[str, ...], numeric: list[bool]) -> Markup:
    plain, right = Markup("<td>{}</td>"), Markup('<td class="number">{}</td>')
    return Markup("").join(
        (right if is_number else plain).format(text(cell, breakable=True))
        for cell, is_number in zip(row, numeric, strict=True)
    )


def _framed(name: str, columns: tuple[str, ...], rows: Markup, kind: str = "") -> Markup:
    heads = Markup("").join(Markup('<th scope="col">{}</th>').format(text(head)) for head in columns)
    return Markup(
        '<div class="scroll" role="region" tabindex="0" aria-label="{0}"><table class="{1}"><caption>{0}</caption>'
        "<thead><tr>{2}</tr></thead><tbody>{3}</tbody></table></div>"
    ).format(name, kind, heads, rows)
