"""A watch while it lasts: what every source of every node says."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text

from harness.console.grid import grid
from harness.console.run_display import PLAIN_EVERY_S, RunDisplay, reading
from node_agent.clocks.sources import KINDS
from node_agent.contract.records import NOT_CONFIGURED, OK, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import RenderableType
    from rich.table import Table

    from harness.console.screen import Console
    from harness.run.monitor import NodeView


class WatchDisplay(RunDisplay):
    """The state of a watch as seen on the screen: a row for each source of each node, as long as there is room."""

    counted: ClassVar[tuple[str, ...]] = ("readings", "missed")

    def __init__(
        self,
        planned_s: float,
        console: Console,
        draw: Callable[[RenderableType], None] | None,
        paths: str,
        lead_s: float,
        every_s: float,
    ) -> None:
        """Show by ``draw`` if there is one, else in lines of ``console``, no more than one a reading."""
        super().__init__(planned_s, console, draw, paths, lead_s)
        self._every_s = every_s
        self.line_every_s = max(PLAIN_EVERY_S, every_s)

    def left_s(self, views: Mapping[str, NodeView]) -> float:
        """Return how long the watch will still take, in s, by the readings that are still to be taken."""
        due = [sum(view.status.counts.get(name, 0) for name in self.counted) for view in views.values() if view.status]
        fewest = min(due, default=0)
        return max(0.0, self._planned_s - (fewest - 1) * self._every_s) if fewest else self._lead_s + self._planned_s

    def _table(self, views: Mapping[str, NodeView]) -> Table:
        table = grid(self._console.width)
        for name in ("node", "phase", "readings", "missed", "source", "offset\n± bound ms", "age", "samples", "status"):
            table.add_column(name, justify="right" if name in {*self.counted, "samples"} else "left", overflow="fold")
        for node_id, view in views.items():
            for row in _watched_rows(node_id, view):
                table.add_row(*(Text(cell) for cell in row))
        beside = len(views) + 2  # remarks, the paths, the bar
        return table if self._console.fits(table, beside) else super()._table(views)


def _watched_rows(node_id: str, view: NodeView) -> list[list[str]]:
    """Return a row for each source that the node asks, the first of them with what is the node's."""
    if view.status is None:
        return [[node_id, view.phase]]
    counts, sources = view.status.counts, view.status.sources
    taken = f"{counts.get('readings', 0)}/{counts.get('planned', 0)}"
    own = [node_id, view.phase, taken, f"{counts.get('missed', 0)}"]
    asked = [kind for kind in KINDS if kind.name in sources and sources[kind.name].status != NOT_CONFIGURED]
    rows = [[*[""] * len(own), kind.label, *_watched(sources[kind.name])] for kind in asked]
    return [[*own, *rows[0][len(own) :]], *rows[1:]] if rows else [[*own, "none"]]


def _watched(source: SourceStatus) -> list[str]:
    """Return a source's reading, its age, how many samples there are of it, and what is wrong with it."""
    last = f" (last: {source.last_outcome})" if source.last_outcome not in {"", OK} else ""
    age = "" if source.age_ms is None else f"{source.age_ms / 1e3:.1f} s"
    failed = f" ({source.failures} failed)" if source.failures else ""
    says = reading(source) if source.status == OK else ""
    return [says, age, f"{source.samples}{failed}", f"{source.status}{last}"]
