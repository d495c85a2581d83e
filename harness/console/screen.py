"""The console: lines and tables on one stream, and a live display of what goes on."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from harness.console.check_table import FACTS, facts_in_words, node_row, source_row
from harness.console.grid import grid
from harness.console.run_display import RunDisplay
from harness.console.sweep_display import SweepDisplay
from harness.console.watch_display import WatchDisplay
from node_agent import streams
from node_agent.clocks.sources import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from harness.check.preflight import Preflight

PLAIN_WIDTH: Final = 160
REFRESH_HZ: Final = 4


class Console:
    """Lines, tables and the live display of a run, on one stream. Threads may speak at the same time."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream`` (standard output); whether it is a terminal decides how."""
        self._stream = stream = stream or sys.stdout
        width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
        self._rich = RichConsole(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._sweep: SweepDisplay | None = None  # what a run's display is drawn below
        self._lock = threading.RLock()  # a signal may speak while this thread does

    @property
    def width(self) -> int:
        """Return how many characters a line has."""
        return self._rich.width

    def fits(self, picture: RenderableType, beside: int) -> bool:
        """Return whether the screen has room for a picture and so many lines beside it."""
        return len(self._rich.render_lines(picture)) + beside < self._rich.height

    @property
    def is_live(self) -> bool:
        """Return whether there is a terminal to draw on."""
        return self._rich.is_terminal

    @property
    def failure(self) -> str | None:
        """Return why not all that was said is heard (a pipe without a reader, a closed terminal, a full disk)."""
        return streams.failure_of(self._stream)

    def say(self, line: str) -> None:
        """Write one line."""
        with self._lock:
            self._rich.print(Text(line))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table of words; columns whose cells are all numbers are for the caller to align."""
        table = grid(self._rich.width, title=title, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        with self._lock:
            self._rich.print(table, soft_wrap=False)

    def check_table(self, cluster: str, preflight: Preflight) -> None:
        """Write what `check` found: every node, then each service as each node sees it."""
        nodes = preflight.nodes
        columns: tuple[str, ...] = ("node", "role", preflight.reached_by, "python", "free disk", "UDP", "clock", "fit")
        self.table(f"{cluster}: nodes", columns, [node_row(node) for node in nodes])
        facts = {node.node_id: facts_in_words(node.facts) for node in nodes}
        told = [name for name in FACTS if any(words[name] for words in facts.values())]
        if told:
            rows = [(node_id, *(words[name] for name in told)) for node_id, words in facts.items()]
            self.table(f"{cluster}: node facts", ("node", *told), rows)
        for kind in KINDS:
            answers = [(node.node_id, answer) for node in nodes for answer in node.sources.get(kind.name, ())]
            seen = [(node_id, source_row(answer)) for node_id, answer in answers if answer.outcome not in kind.absent]
            if seen:
                headings = {name: text for name in seen[0][1] if (text := getattr(kind.check, name))}
                cells = [(node_id, *(row[name] for name in headings)) for node_id, row in seen]
                self.table(f"{cluster}: {kind.check.title}", ("node", *headings.values()), cells)
        if preflight.directions:
            heard = "datagrams arrived on each" if not preflight.way_problems else "not on each did datagrams arrive"
            self.say(f"{cluster}: {preflight.directions} ways between the nodes tried: {heard}")

    @contextlib.contextmanager
    def display(
        self, planned_s: float, paths: str = "", lead_s: float = 0.0, every_s: float | None = None
    ) -> Iterator[RunDisplay]:
        """Show a run while it lasts: live on a terminal, else in lines; it takes ``planned_s`` from the first event.

        ``lead_s``: how long before that event the nodes probe each other.
        ``paths``: between which ends packets are made to take how long, in words.
        ``every_s``: of a watch, the time from one reading to the next.
        """
        if self._sweep is not None:
            try:
                yield RunDisplay(planned_s, self, self._sweep.draw_below, paths, lead_s)
            finally:
                self._sweep.draw_below(None)
            return
        live = Live(console=self._rich, refresh_per_second=REFRESH_HZ) if self._rich.is_terminal else None
        with live or contextlib.nullcontext():
            draw = live.update if live else None
            if every_s is None:
                yield RunDisplay(planned_s, self, draw, paths, lead_s)
            else:
                yield WatchDisplay(planned_s, self, draw, paths, lead_s, every_s)

    @contextlib.contextmanager
    def sweep_display(self) -> Iterator[SweepDisplay]:
        """Show a sweep while it goes on: on a terminal a table above the display of its run, else in lines."""
        shown = SweepDisplay(self)
        if not self._rich.is_terminal:
            yield shown
            return
        self._sweep = shown
        try:
            with Live(shown, console=self._rich, refresh_per_second=REFRESH_HZ):
                try:
                    yield shown
                finally:
                    shown.end()
        finally:
            self._sweep = None
