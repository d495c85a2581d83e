"""A run while it lasts: a table that is drawn anew, or lines where there is no terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.console.grid import grid
from node_agent.clocks.sources import KINDS, in_rows
from node_agent.contract.records import BROADCASTING, HELLO, OK, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from harness.console.screen import Console
    from harness.run.monitor import NodeView
    from node_agent.clocks.kind import SourceKind

PLAIN_EVERY_S: Final = 5.0


class RunDisplay:
    """The state of a run as seen on the screen."""

    counted: ClassVar[tuple[str, ...]] = ("sent", "received", "lost")
    line_every_s = PLAIN_EVERY_S

    def __init__(
        self,
        planned_s: float,
        console: Console,
        draw: Callable[[RenderableType], None] | None,
        paths: str,
        lead_s: float,
    ) -> None:
        """Show by ``draw`` if there is one, else in lines of ``console``."""
        self._planned_s, self._lead_s = planned_s, lead_s
        self._console, self._draw, self._paths = console, draw, paths
        self._lead_since_s: float | None = None
        self._broadcast_since_s: float | None = None
        self._phases: dict[str, str] = {}
        self._last_line_s = time.monotonic()

    def show(self, views: Mapping[str, NodeView]) -> None:
        """Draw the nodes as they are now."""
        phases = {view.phase for view in views.values()}
        if self._broadcast_since_s is None and BROADCASTING in phases:
            self._broadcast_since_s = time.monotonic()
        if self._lead_since_s is None and HELLO in phases:  # probes begin with it
            self._lead_since_s = time.monotonic()
        if self._draw is not None:
            self._draw(self._picture(views))
        else:
            self._lines(views)

    def left_s(self, _views: Mapping[str, NodeView]) -> float:
        """Return how long the run will still take, in s, as planned: what is left of the probes' lead, and the rest."""
        now_s = time.monotonic()
        if self._broadcast_since_s is not None:
            return max(0.0, self._planned_s - (now_s - self._broadcast_since_s))
        led_s = 0.0 if self._lead_since_s is None else now_s - self._lead_since_s
        return self._planned_s + max(0.0, self._lead_s - led_s)

    def _table(self, views: Mapping[str, NodeView]) -> Table:
        """Return a row for each node."""
        table = grid(self._console.width)
        kinds = in_rows({name for view in views.values() if view.status for name in view.status.sources})
        clocks = [f"{kind.label} offset\n± bound ms" for kind in kinds]
        for name in ("node", "phase", *self.counted, *clocks, "sample\nage"):
            table.add_column(name, justify="right" if name in self.counted else "left", overflow="fold")
        for node_id, view in views.items():
            table.add_row(*(Text(cell) for cell in _live_row(node_id, view, self.counted, kinds)))
        return table

    def _picture(self, views: Mapping[str, NodeView]) -> Group:
        remarks = [Text(f"{node_id}: {remark}") for node_id, view in views.items() if (remark := _remark(view))]
        over = bool(views) and all(view.over for view in views.values())
        whole_s = self._lead_s + self._planned_s
        left_s = 0.0 if over else self.left_s(views)
        share = max(0.0, 1 - left_s / whole_s) if whole_s else 1.0
        words = "finished" if over else f"{left_s:.0f} s left"
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=1.0, completed=share, width=40), Text(f"{share:.0%}, {words}"))
        paths = [Text(f"paths: {self._paths}")] if self._paths else []
        return Group(self._table(views), *remarks, *paths, bar)

    def _lines(self, views: Mapping[str, NodeView]) -> None:
        for node_id, view in views.items():
            if self._phases.get(node_id, "-") != view.phase:
                self._phases[node_id] = view.phase
                self._console.say(f"{node_id} phase={view.phase}")
        if time.monotonic() - self._last_line_s >= self.line_every_s:
            self._last_line_s = time.monotonic()
            nodes = " ".join(f"{node_id}[{_counts(view, self.counted)}]" for node_id, view in views.items())
            self._console.say(f"progress {nodes} left={self.left_s(views):.0f}s")


def _counts(view: NodeView, counted: Sequence[str]) -> str:
    if view.status is None:
        return view.problem or "no status yet"
    counts = view.status.counts
    words = [f"{name}={counts[name]}" for name in counted if name in counts]
    sources = view.status.sources
    words += [f"{kind.prefix}={reading(sources[kind.name], 'ms')}" for kind in KINDS if kind.name in sources]
    return " ".join([*words, *view.status.waiting_for])


def _live_row(node_id: str, view: NodeView, counted: Sequence[str], kinds: Sequence[SourceKind[Any]]) -> list[str]:
    status = view.status
    if status is None:
        return [node_id, view.phase, *[""] * (len(counted) + len(kinds) + 1)]
    sources = status.sources
    numbers = [str(status.counts.get(name, "")) for name in counted]
    readings = [reading(sources[kind.name]) if kind.name in sources else "" for kind in kinds]
    ages = [source.age_ms for source in sources.values() if source.age_ms is not None]
    age = f"{min(ages) / 1e3:.1f} s" if ages else ""
    return [node_id, view.phase, *numbers, *readings, age]


def _remark(view: NodeView) -> str:
    if view.problem or view.status is None:
        return view.problem
    return ", ".join(view.status.waiting_for) or view.status.detail


def reading(source: SourceStatus, unit: str = "") -> str:
    """Return offset ± bound in ms, or the reason why there is none."""
    if source.status != OK or source.offset_ms is None or source.bound_ms is None:
        return source.status
    return f"{source.offset_ms:+.3f}±{source.bound_ms:.3f}{unit}"
