"""Coordination: the rounds of messages the workers would need beyond reading their clocks.

One round per decision that is not decided. A bounded clock needs a round where it is ambiguous; a point clock decides
everything, so its rounds are those that repair its wrong decisions. Where a reading is missing there is no decision,
and a round is needed by either. Wrong confident decisions of a bounded clock are counted beside and never credited:
each needs its repair too, so that bounds too narrow to be true save nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis import causality_analysis, cli, ordering_consensus, statistics, window_assignment
from analysis.readings import POINT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from analysis.readings import Table

STATISTICS_FILE = "coordination_stats.json"
FIGURE = "coordination_cost"

CAUSALITY: Final = "causality"
WHO_FIRST: Final = "who_first"
TOTAL_WIDTH_MS: Final = 100  # the window width that stands for windows in the totals, where it was analysed
INTERVAL: Final = ordering_consensus.INTERVAL


@dataclass(frozen=True)
class Cost:
    """The rounds of one task with one clock. ``rounds`` is None where nobody can tell which decisions were wrong.

    ``decisions`` counts what had to be decided; ``unread`` of them had no reading and are among the rounds.
    ``wrong`` counts a bounded clock's wrong confident decisions, None where no truth is known.
    """

    task: str
    source: str
    clock: str
    decisions: int
    rounds: int | None
    unread: int
    wrong: int | None

    @property
    def per_decision(self) -> statistics.Rate | None:
        """Return the rounds per decision, or None where they are not evaluable."""
        return None if self.rounds is None else statistics.rate(self.rounds, self.decisions)


@dataclass(frozen=True)
class Coordination:
    """All costs. ``total_tasks`` are the tasks that make up a total."""

    costs: tuple[Cost, ...]
    total_tasks: tuple[str, ...]

    def total(self, source: str, clock: str, tasks: Sequence[str]) -> Cost | None:
        """Return the costs of some tasks taken together, or None if one of them is not evaluable."""
        parts = [one for one in self.costs if one.source == source and one.clock == clock and one.task in tasks]
        if {one.task for one in parts} != set(tasks) or not tasks:
            return None
        rounds = [one.rounds for one in parts if one.rounds is not None]
        if len(rounds) < len(parts):
            return None
        decisions, unread = (sum(getattr(one, name) for one in parts) for name in ("decisions", "unread"))
        return Cost("total", source, clock, decisions, sum(rounds), unread, None)

    def reduction(self, source: str, clock: str, against: tuple[str, str]) -> dict[str, Any]:
        """Return by how much fewer rounds per decision one clock needs than another, over the tasks both can tell.

        Who received first cannot be told of a point clock without a truth; without causality and windows there is no
        value, since a single easy task says little.
        """
        tasks = [
            task
            for task in self.total_tasks
            if self.total(source, clock, [task]) is not None and self.total(*against, [task]) is not None
        ]
        mine, theirs = self.total(source, clock, tasks), self.total(*against, tasks)
        value = None
        needed = set(self.total_tasks) - {WHO_FIRST}
        if needed <= set(tasks) and mine and theirs and mine.per_decision and theirs.per_decision and theirs.rounds:
            value = 1 - (mine.per_decision.value or 0.0) / (theirs.per_decision.value or 1.0)
        parts = {task: self.total(source, clock, [task]) for task in tasks}
        words = f"not evaluable over {_words(tasks)}" if mine and theirs else "not evaluable"
        if mine and theirs:
            counts = (
                f"{mine.rounds} of {mine.decisions} decisions; NTP {against[1]} {theirs.rounds} of {theirs.decisions}"
            )
            less = "" if value is None else f"{100 * abs(value):.1f} % {'fewer' if value >= 0 else 'more'} rounds: "
            words = f"{less}{counts} ({_words(tasks)})"
        no_room = mine and theirs and theirs.decisions and not theirs.rounds and needed <= set(tasks)
        return {
            "value": value,
            "in_words": words,
            "remark": f"no room to improve (NTP {against[1]} needs no round)" if no_room else None,
            "tasks": tasks,
            "decisions": {task: part.decisions for task, part in parts.items() if part is not None},
            "rounds": mine.rounds if mine else None,
            "rounds_against": theirs.rounds if theirs else None,
        }

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{tasks: {task: {source: {clock: …}}}, reductions: {source: {clock_vs_ntp_clock: …}}}``."""
        tasks: dict[str, Any] = {}
        for one in self.costs:
            per_decision = one.per_decision
            tasks.setdefault(one.task, {}).setdefault(one.source, {})[one.clock] = {
                "rounds_per_decision": None if per_decision is None else per_decision.as_dict(),
                "decisions": one.decisions,
                "rounds": one.rounds,
                "without_reading": one.unread,
                "wrong_confident": one.wrong,
            }
        sources = list(dict.fromkeys(one.source for one in self.costs if one.clock == INTERVAL))
        reductions: dict[str, Any] = {}
        for source in sources:
            pairs = [(POINT, INTERVAL)] if source == "ntp" else [(POINT, INTERVAL), (INTERVAL, INTERVAL)]
            reductions[source] = {
                f"{mine}_vs_ntp_{theirs}": self.reduction(source, mine, ("ntp", theirs)) for theirs, mine in pairs
            }
        return {"total_tasks": list(self.total_tasks), "tasks": tasks, "reductions": reductions}


def compute(
    table: Table,
    causality: causality_analysis.Causality | None = None,
    ordering: ordering_consensus.Ordering | None = None,
    windows: window_assignment.Windows | None = None,
) -> Coordination:
    """Count the rounds of the three tasks; the results of the three analyses are computed where not given."""
    causality = causality or causality_analysis.compute(table)
    ordering = ordering or ordering_consensus.compute(table)
    windows = windows or window_assignment.compute(table)
    bounded = {source for source, clock in ordering_consensus.clocks(table) if clock == INTERVAL}
    costs = [*_causality(causality, bounded), *_who_first(table, ordering), *_windows(windows, bounded)]
    widths = list(dict.fromkeys(cell.width_ms for cell in windows.cells))
    width = TOTAL_WIDTH_MS if TOTAL_WIDTH_MS in widths else widths[0] if widths else None
    window = () if width is None else (window_task(width),)
    return Coordination(tuple(costs), (CAUSALITY, WHO_FIRST, *window))


def _words(tasks: Sequence[str]) -> str:
    return ", ".join(task.replace("_", " ") for task in tasks) or "no task"


def window_task(width_ms: int) -> str:
    """Return the task name of one window width."""
    return f"window_{width_ms}ms"


def _causality(causality: causality_analysis.Causality, bounded: set[str]) -> list[Cost]:
    """Causality per (event, worker): a violation shows by itself, so point repairs are known without a truth."""
    costs = []
    for source in causality.sources:
        cells = causality.of(source)
        evaluable = sum(cell.point_evaluable for cell in cells)
        gone = ("lost", "no_data", "not_in_coordinator_csv")
        unread = sum(
            number for cell in cells for reason, number in cell.point_reasons.items() if not reason.endswith(gone)
        )
        decisions, wrong = evaluable + unread, sum(cell.point_violated for cell in cells)
        if evaluable == 0:
            costs.append(Cost(CAUSALITY, source, POINT, decisions, None, unread, None))
            continue
        costs.append(Cost(CAUSALITY, source, POINT, decisions, wrong + unread, unread, wrong))
        if source in bounded:
            proved, violated = (sum(getattr(cell, name) for cell in cells) for name in ("proved", "violated"))
            no_interval = decisions - sum(cell.interval_evaluable for cell in cells)
            costs.append(Cost(CAUSALITY, source, INTERVAL, decisions, decisions - proved, no_interval, violated))
    return costs


def _who_first(table: Table, ordering: ordering_consensus.Ordering) -> list[Cost]:
    """Who received first per (event, pair of workers): repairs are known only where the truth is."""
    costs = []
    for source, clock in dict.fromkeys((one.source, one.clock) for one in ordering.who_first):
        cells = [one for one in ordering.who_first if (one.source, one.clock) == (source, clock)]
        decisions = sum(int((table.received[one.pair[0]] & table.received[one.pair[1]]).sum()) for one in cells)
        evaluable, undecided = sum(one.evaluable for one in cells), sum(one.ambiguous for one in cells)
        unread = decisions - evaluable
        wrong = None if any(one.wrong is None for one in cells) else sum(one.wrong or 0 for one in cells)
        rounds: int | None = undecided + unread + (wrong or 0)
        if clock == POINT:
            rounds = None if wrong is None else rounds
        if evaluable == 0:
            rounds = None
        costs.append(Cost(WHO_FIRST, source, clock, decisions, rounds, unread, wrong))
    return costs


def _windows(windows: window_assignment.Windows, bounded: set[str]) -> list[Cost]:
    """Windows per event: a point clock's disagreement shows when workers compare indices, and is repaired."""
    costs = []
    for cell in windows.cells:
        task, unread = window_task(cell.width_ms), cell.shared - cell.evaluable
        rounds = cell.shared - cell.agree if cell.evaluable else None
        costs.append(Cost(task, cell.source, POINT, cell.shared, rounds, unread, cell.clock_disagreements))
        if cell.source in bounded:
            rounds = cell.shared - cell.provable if cell.bounded else None
            no_interval = cell.shared - cell.bounded
            costs.append(Cost(task, cell.source, INTERVAL, cell.shared, rounds, no_interval, cell.wrong_certain))
    return costs


def analyze(experiment_dir: str | Path) -> dict[str, Any]:
    """Return the coordination statistics of a run folder."""
    return compute(cli.table_of(experiment_dir)).as_statistics()


def generate_figure(experiment_dir: str | Path, output_dir: str | Path) -> list[Path]:
    """Draw ``coordination_cost`` of a run folder as PNG and PDF; return their paths."""
    return cli.draw(FIGURE, compute(cli.table_of(experiment_dir)), output_dir)


def main(argv: list[str] | None = None) -> int:
    """Print the statistics of one experiment as JSON and draw its figure."""
    return cli.main(__doc__, analyze, generate_figure, argv)


if __name__ == "__main__":
    raise SystemExit(main())
