"""What the user sees. The only importer of rich: tables and a live display on a terminal, else plain lines."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TextIO

from rich import box
from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from node_agent import streams
from node_agent.clocks.self_report import is_unfit
from node_agent.clocks.sources import KINDS, in_rows
from node_agent.contract.records import BROADCASTING, HELLO, NOT_CONFIGURED, OK, SourceCheck, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import ConsoleOptions, RenderableType

    from harness.check.preflight import NodeCheck, Preflight
    from harness.run.monitor import NodeView
    from node_agent.clocks.kind import SourceKind
    from node_agent.contract.facts import NodeFacts

PLAIN_WIDTH: Final = 160
PLAIN_EVERY_S: Final = 5.0
REFRESH_HZ: Final = 4
ROOMY_WIDTH: Final = 100  # a narrower terminal gets tables without lines between the columns


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

    @property
    def height(self) -> int:
        """Return how many lines the screen has."""
        return self._rich.height

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
        table = _grid(self._rich.width, title=title, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        with self._lock:
            self._rich.print(table, soft_wrap=False)

    def check_table(self, cluster: str, preflight: Preflight) -> None:
        """Write what `check` found: every node, then each service as each node sees it."""
        nodes = preflight.nodes
        columns: tuple[str, ...] = ("node", "role", "ssh", "python", "free disk", "UDP", "clock", "fit")
        self.table(f"{cluster}: nodes", columns, [_node_row(node) for node in nodes])
        facts = {node.node_id: facts_in_words(node.facts) for node in nodes}
        told = [name for name in FACTS if any(words[name] for words in facts.values())]
        if told:
            rows = [(node_id, *(words[name] for name in told)) for node_id, words in facts.items()]
            self.table(f"{cluster}: node facts", ("node", *told), rows)
        for kind in KINDS:
            answers = [(node.node_id, answer) for node in nodes for answer in node.sources.get(kind.name, ())]
            seen = [(node_id, _source_row(answer)) for node_id, answer in answers if answer.outcome not in kind.absent]
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
    table = _grid(width, title=view.title, title_justify="left", title_style="bold")
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


def _grid(width: int, **options: Any) -> Table:
    """Return an empty table whose columns stand as close as ``width`` asks for."""
    if width >= ROOMY_WIDTH:
        return Table(show_edge=False, pad_edge=False, **options)
    return Table(show_edge=False, pad_edge=False, box=box.SIMPLE_HEAD, padding=0, **options)


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
        table = _grid(self._console.width)
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
        table = _grid(self._console.width)
        for name in ("node", "phase", "readings", "missed", "source", "offset\n± bound ms", "age", "samples", "status"):
            table.add_column(name, justify="right" if name in {*self.counted, "samples"} else "left", overflow="fold")
        for node_id, view in views.items():
            for row in _watched_rows(node_id, view):
                table.add_row(*(Text(cell) for cell in row))
        return table if len(views) + table.row_count < self._console.height else super()._table(views)


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
    reading = _reading(source) if source.status == OK else ""
    return [reading, age, f"{source.samples}{failed}", f"{source.status}{last}"]


def _counts(view: NodeView, counted: Sequence[str]) -> str:
    if view.status is None:
        return view.problem or "no status yet"
    counts = view.status.counts
    words = [f"{name}={counts[name]}" for name in counted if name in counts]
    sources = view.status.sources
    words += [f"{kind.prefix}={_reading(sources[kind.name], 'ms')}" for kind in KINDS if kind.name in sources]
    return " ".join([*words, *view.status.waiting_for])


def _live_row(node_id: str, view: NodeView, counted: Sequence[str], kinds: Sequence[SourceKind[Any]]) -> list[str]:
    status = view.status
    if status is None:
        return [node_id, view.phase, *[""] * (len(counted) + len(kinds) + 1)]
    sources = status.sources
    numbers = [str(status.counts.get(name, "")) for name in counted]
    readings = [_reading(sources[kind.name]) if kind.name in sources else "" for kind in kinds]
    ages = [source.age_ms for source in sources.values() if source.age_ms is not None]
    age = f"{min(ages) / 1e3:.1f} s" if ages else ""
    return [node_id, view.phase, *numbers, *readings, age]


def _remark(view: NodeView) -> str:
    if view.problem or view.status is None:
        return view.problem
    return ", ".join(view.status.waiting_for) or view.status.detail


def _reading(source: SourceStatus, unit: str = "") -> str:
    """Return offset ± bound in ms, or the reason why there is none."""
    if source.status != OK or source.offset_ms is None or source.bound_ms is None:
        return source.status
    return f"{source.offset_ms:+.3f}±{source.bound_ms:.3f}{unit}"


def _node_row(node: NodeCheck) -> list[str]:
    if node.python is None:
        return [node.node_id, node.role, node.host, "", "", "", "", "no"]
    disk = "" if node.disk_free_bytes is None else f"{node.disk_free_bytes / 1e9:.1f} GB"
    port = f"{node.listen} {_free(node.port_free)}"
    if node.probe_port is not None:
        port += f", {node.probe_port} {_free(node.probe_port_free)}"
    fit = "no" if node.problems else "yes"
    return [node.node_id, node.role, node.host, node.python, disk, port, node.clock_source or "", fit]


def _free(free: bool | None) -> str:
    return "free" if free else "in use"


def _source_row(answer: SourceCheck) -> dict[str, str]:
    """Return the cells of one server, by the heading of ``CheckTable``, in the order they are shown in.

    The answer has what the source said of itself, where that is why it is not believed.
    """
    unfit = is_unfit(answer.outcome) and answer.detail
    width = answer.bound_ms if answer.sigma_ms is None else answer.sigma_ms
    return {
        "server": answer.server,
        "health": "healthy" if answer.health_ok else "not healthy",
        "answer": f"{answer.outcome}: {answer.detail}" if unfit else answer.outcome,
        "offset": "" if answer.offset_ms is None or width is None else f"{answer.offset_ms:+.3f} ± {width:.3f}",
        "asymmetry": "" if answer.asymmetry_ms is None else f"{answer.asymmetry_ms:.3f}",
        "delay": "" if answer.delay_ms is None else f"{answer.delay_ms:.3f}",
        "stratum": "" if answer.stratum is None else str(answer.stratum),
    }


FACTS: Final = ("interface", "Mbit/s", "driver", "time stamps", "PTP", "governor", "CPUs", "memory limit", "Slurm job")


def facts_in_words(facts: NodeFacts) -> dict[str, str]:
    """Return the cells of a node's facts by their heading (``FACTS``); what the node cannot tell is empty."""
    memory = "" if facts.memory_limited is None else "none"
    if facts.memory_limit_bytes is not None:
        memory = f"{facts.memory_limit_bytes / 1e6:.0f} MB"
    cpus = "" if facts.allowed_cpus is None else f"{facts.allowed_cpus} of {facts.cpus or '?'}"
    names = ("time_stamps", "ptp_clocks", "governors")
    stamps, ptp, governors = (_none_or_all(getattr(facts, name)) for name in names)
    speed = "" if facts.speed_mbps is None else str(facts.speed_mbps)
    cells = (facts.interface or "", speed, facts.driver or "", stamps, ptp, governors, cpus, memory)
    return dict(zip(FACTS, (*cells, facts.slurm_job_id or ""), strict=True))


def _none_or_all(names: tuple[str, ...] | None) -> str:
    return "" if names is None else ", ".join(names) or "none"
