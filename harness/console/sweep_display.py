"""A sweep while it goes on: its cells in a table, with the display of the run that is under way below."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from harness.console.grid import grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console as RichConsole
    from rich.console import ConsoleOptions, RenderableType

    from harness.console.screen import Console


@dataclass(frozen=True)
class CellRow:
    """One cell of a sweep: its values, its repeats that are done, which is under way, and what is wrong with others."""

    name: str
    values: tuple[str, ...]
    done: str
    now: str
    wrong: str


@dataclass(frozen=True)
class SweepView:
    """A sweep as it is now: as a table with ``title`` and ``ends`` around it, and as one line."""

    title: str
    headings: tuple[str, ...]  # of the values
    rows: tuple[CellRow, ...]
    ends: str
    line: str


class SweepDisplay:
    """The state of a sweep as seen on the screen, with that of its run below."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self._console = console
        self._view: SweepView | None = None
        self._below: RenderableType | None = None

    def show(self, view: SweepView) -> None:
        """Show how the sweep is now: from the next refresh on, or as a line."""
        self._view = view
        if not self._console.is_live:
            self._console.say(view.line)

    def end(self) -> None:
        """Leave what is done and wrong on the screen, and nothing of what was to come."""
        self._below = None
        if self._view is not None:
            self._view = replace(self._view, ends="", rows=tuple(replace(row, now="") for row in self._view.rows))

    def draw_below(self, picture: RenderableType | None) -> None:
        """Show the run that is under way, or none."""
        self._below = picture

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, with as many of its rows as the run below leaves room for, then the run."""
        view, below = self._view, self._below
        if view is None:
            return
        room = console.height - 1 - (len(console.render_lines(below, options)) if below is not None else 0)
        rows = len(view.rows)
        table = _sweep_table(options.max_width, view, rows)
        while rows > 1 and (excess := len(console.render_lines(table, options)) - room) > 0:
            rows = max(1, rows - excess)
            table = _sweep_table(options.max_width, view, rows)
        yield table
        if below is not None:
            yield below


def _sweep_table(width: int, view: SweepView, most: int) -> Group:
    """Return the table of a sweep with ``most`` of its rows: first those under way or wrong, then those not done."""
    table = grid(width, title=view.title, title_justify="left", title_style="bold")
    for name in ("cell", *view.headings, "done", "now", "wrong"):
        table.add_column(name, overflow="fold")
    urgent = sorted(view.rows, key=lambda row: (not row.now, not row.wrong, _all_done(row)))
    chosen = set(urgent[:most])
    for row in view.rows:
        if row in chosen:
            cells = (row.name, *row.values, row.done, row.now, row.wrong)
            table.add_row(*(Text(cell) for cell in cells), style="bold" if row.now else "")
    left_out = [row for row in view.rows if row not in chosen]
    told = []
    if left_out:
        told.append(f"{len(left_out)} more cells, {sum(map(_all_done, left_out))} of them done")
    told += [view.ends] if view.ends else []
    return Group(table, Text("; ".join(told)))


def _all_done(row: CellRow) -> bool:
    done, _, of = row.done.partition("/")
    return done == of
