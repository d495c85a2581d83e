"""Coordination: the rounds of messages the workers would need beyond reading their clocks, and what they cost.

One round per decision that is not decided. A bounded clock needs a round where it is ambiguous; a point clock decides
everything but equal estimates, so its rounds are those and the repairs of its wrong decisions. Where a reading is
missing there is no decision, and a round is needed by either. Wrong confident decisions of a bounded clock are counted
beside and never credited: each needs its repair too, so that bounds too narrow to be true save nothing.

A round is a question and an answer: between the worker and the coordinator (causality), the two workers (who first), or
one worker and each other one that received (windows). Its messages carry what a probe carries and no more. A source's
own questions to its server come on top, as counted (``polling``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from analysis import causality_analysis, cli, judges, ordering_consensus, polling, statistics, window_assignment
from analysis.readings import POINT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from analysis.judges import Judgement
    from analysis.readings import Table

STATISTICS_FILE = "coordination_stats.json"
FIGURE = "coordination_cost"

CAUSALITY: Final = "causality"
WHO_FIRST: Final = "who_first"
ORDER_OF_SENDING: Final = "order_of_sending"  # the judge of causality: no packet arrives before it left
TOTAL_WIDTH_MS: Final = 100  # the window width that stands for windows in the totals, where it was analysed
INTERVAL: Final = ordering_consensus.INTERVAL
MESSAGES_PER_ROUND: Final = 2
MESSAGE_BYTES: Final = polling.PROBE_BYTES + polling.HEADERS_BYTES  # of one message of a round: 64 and its headers


@dataclass(frozen=True)
class Cost:
    """The rounds of one task with one clock. ``rounds`` is None where nobody can tell which decisions were wrong.

    ``decisions`` counts what had to be decided; ``unread`` of them had no reading and are among the rounds.
    ``undecided`` are a bounded clock's ambiguous readings and a point clock's equal ones. ``wrong`` counts the wrong
    confident decisions by the judge ``wrong_by``, None where no judge knows any; ``unknown`` those it cannot tell.
    ``messages``: what the rounds send.
    """

    task: str
    source: str
    clock: str
    decisions: int
    rounds: int | None
    unread: int
    undecided: int
    wrong: int | None
    wrong_by: str
    unknown: int
    messages: int | None

    @property
    def per_decision(self) -> statistics.Rate | None:
        """Return the rounds per decision, or None where they are not evaluable."""
        return None if self.rounds is None else statistics.rate(self.rounds, self.decisions)

    @property
    def bytes(self) -> int | None:
        """Return the bytes of the rounds' messages, headers included."""
        return None if self.messages is None else self.messages * MESSAGE_BYTES

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as JSON-serialisable data."""
        per_decision = self.per_decision
        return {
            "rounds_per_decision": None if per_decision is None else per_decision.as_dict(),
            "decisions": self.decisions,
            "rounds": self.rounds,
            "without_reading": self.unread,
            "undecided": self.undecided,
            "wrong_confident": self.wrong,
            "wrong_by": self.wrong_by,
            "unknown_to_the_judge": self.unknown,
            "messages": self.messages,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class Coordination:
    """All costs. ``total_tasks`` are the tasks that make up a total; ``probes`` are the experiment's own cost."""

    costs: tuple[Cost, ...]
    total_tasks: tuple[str, ...]
    pollings: tuple[polling.Polling, ...]
    probes: dict[str, int]

    def total(self, source: str, clock: str, tasks: Sequence[str]) -> Cost | None:
        """Return the costs of some tasks taken together, or None if one of them is not evaluable."""
        parts = [one for one in self.costs if one.source == source and one.clock == clock and one.task in tasks]
        if {one.task for one in parts} != set(tasks) or not tasks:
            return None
        rounds = [one.rounds for one in parts if one.rounds is not None]
        if len(rounds) < len(parts):
            return None
        decisions, unread, undecided, unknown = (
            sum(getattr(one, name) for one in parts) for name in ("decisions", "unread", "undecided", "unknown")
        )
        messages = sum(one.messages or 0 for one in parts)
        return Cost("total", source, clock, decisions, sum(rounds), unread, undecided, None, "", unknown, messages)

    def traffic(self, source: str, clock: str) -> dict[str, Any]:
        """Return messages and bytes of all rounds of the tasks that can be told, and of the source's own questions.

        ``with_what_it_rests_on`` adds the questions of the source it is fed with. None where something is not known.
        """
        tasks = [task for task in self.total_tasks if self.total(source, clock, [task]) is not None]
        rounds = self.total(source, clock, tasks)
        by_source = {one.source: one for one in self.pollings}
        own = by_source[source]
        fed = [own, *([by_source[own.rests_on]] if own.rests_on in by_source else [])]
        result: dict[str, Any] = {"tasks": tasks, "decisions": rounds.decisions if rounds else None}
        for name, questions in (("own", [own]), ("with_what_it_rests_on", fed)):
            known = rounds is not None and not any(one.reason for one in questions)
            result[name] = {
                unit: sum(getattr(one, unit) for one in (rounds, *questions)) if known else None
                for unit in ("messages", "bytes")
            }
        result["rounds_only"] = {
            "messages": rounds.messages if rounds else None,
            "bytes": rounds.bytes if rounds else None,
        }
        return result

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
            tasks.setdefault(one.task, {}).setdefault(one.source, {})[one.clock] = one.as_dict()
        traffic: dict[str, Any] = {}
        for source, clock in dict.fromkeys((one.source, one.clock) for one in self.costs):
            traffic.setdefault(source, {})[clock] = self.traffic(source, clock)
        sources = list(dict.fromkeys(one.source for one in self.costs if one.clock == INTERVAL))
        reductions: dict[str, Any] = {}
        for source in sources:
            pairs = [(POINT, INTERVAL)] if source == "ntp" else [(POINT, INTERVAL), (INTERVAL, INTERVAL)]
            reductions[source] = {
                f"{mine}_vs_ntp_{theirs}": self.reduction(source, mine, ("ntp", theirs)) for theirs, mine in pairs
            }
        return {
            "total_tasks": list(self.total_tasks),
            "tasks": tasks,
            "reductions": reductions,
            "message_bytes": MESSAGE_BYTES,
            "polling": {one.source: one.as_dict() for one in self.pollings},
            "traffic": traffic,
            "probes": self.probes,
        }


def compute(
    table: Table,
    causality: causality_analysis.Causality | None = None,
    ordering: ordering_consensus.Ordering | None = None,
    windows: window_assignment.Windows | None = None,
) -> Coordination:
    """Count the rounds of the three tasks; the results of the three analyses are computed where not given."""
    if causality is None or ordering is None or windows is None:
        known = judges.of(table)
        causality = causality or causality_analysis.compute(table, known)
        ordering = ordering or ordering_consensus.compute(table, known)
        windows = windows or window_assignment.compute(table, known=known)
    bounded = {source for source, clock in ordering_consensus.clocks(table) if clock == INTERVAL}
    costs = [*_causality(causality, bounded), *_who_first(table, ordering), *_windows(windows, bounded)]
    widths = list(dict.fromkeys(cell.width_ms for cell in windows.cells))
    width = TOTAL_WIDTH_MS if TOTAL_WIDTH_MS in widths else widths[0] if widths else None
    window = () if width is None else (window_task(width),)
    pollings = tuple(polling.of(table.run, source) for source in table.sources)
    return Coordination(tuple(costs), (CAUSALITY, WHO_FIRST, *window), pollings, polling.probes(table.run))


def _words(tasks: Sequence[str]) -> str:
    return ", ".join(task.replace("_", " ") for task in tasks) or "no task"


def window_task(width_ms: int) -> str:
    """Return the task name of one window width."""
    return f"window_{width_ms}ms"


def _causality(causality: causality_analysis.Causality, bounded: set[str]) -> list[Cost]:
    """Causality per (event, worker): a violation shows by itself, so point repairs are known without a judge."""
    costs = []
    for cell in causality.totals:
        gone = ("lost", "no_data", "not_in_coordinator_csv")
        unread = sum(number for reason, number in cell.point_reasons.items() if not reason.endswith(gone))
        evaluable, by = cell.point_evaluable, ORDER_OF_SENDING
        decisions, equal, wrong = evaluable + unread, cell.point_equal, cell.point_violated
        if evaluable == 0:
            costs.append(Cost(CAUSALITY, cell.source, POINT, decisions, None, unread, 0, None, "", 0, None))
            continue
        rounds = wrong + equal + unread
        sent = MESSAGES_PER_ROUND * rounds
        costs.append(Cost(CAUSALITY, cell.source, POINT, decisions, rounds, unread, equal, wrong, by, 0, sent))
        if cell.source in bounded:
            rounds, no_interval = decisions - cell.proved, decisions - cell.interval_evaluable
            counts = (decisions, rounds, no_interval, cell.ambiguous, cell.violated)
            costs.append(Cost(CAUSALITY, cell.source, INTERVAL, *counts, by, 0, MESSAGES_PER_ROUND * rounds))
    return costs


def _who_first(table: Table, ordering: ordering_consensus.Ordering) -> list[Cost]:
    """Who received first per (event, pair of workers): repairs are known only where a judge knows the order."""
    costs = []
    received = [table.received[worker] for worker in ordering.workers]
    decisions = sum(int((one & other).sum()) for one, other in combinations(received, 2))
    for one in ordering.totals:
        unread = decisions - one.evaluable
        told = _best(one.against)
        wrong = told.wrong.numerator if told and told.wrong else None
        unknown = told.unknown.numerator if told and told.unknown else 0
        rounds: int | None = one.ambiguous + unread + (wrong or 0)
        if one.evaluable == 0 or (one.clock == POINT and wrong is None):
            rounds = None
        messages = None if rounds is None else MESSAGES_PER_ROUND * rounds
        by = told.judge if told else ""
        counts = (decisions, rounds, unread, one.ambiguous, wrong)
        costs.append(Cost(WHO_FIRST, one.source, one.clock, *counts, by, unknown, messages))
    return costs


def _best(against: Sequence[Judgement]) -> Judgement | None:
    """Return the judge who knows most: the injected truth, else the reference, else nobody."""
    able = {one.judge: one for one in against if not one.reason}
    return able.get(judges.TRUTH) or able.get(judges.REFERENCE)


def _windows(windows: window_assignment.Windows, bounded: set[str]) -> list[Cost]:
    """Windows per event: a point clock's disagreement shows when workers compare indices, and is repaired."""
    costs = []
    for cell in windows.cells:
        task, unread = window_task(cell.width_ms), cell.shared - cell.evaluable
        rounds = cell.shared - cell.agree if cell.evaluable else None
        sent = None if rounds is None else cell.point_messages
        by = judges.TRUTH if cell.truth_known is not None else ""
        wrong: int | None = cell.clock_disagreements
        unknown = 0
        if not by and (split := next((one for one in cell.splits if not one.reason), None)) is not None:
            wrong, by = split.by_clocks, split.judge
            unknown = split.disagreements - split.truly_differ - split.by_clocks
        counts = (cell.shared, rounds, unread, 0, wrong)
        costs.append(Cost(task, cell.source, POINT, *counts, by, unknown, sent))
        if cell.source in bounded:
            rounds = cell.shared - cell.provable if cell.bounded else None
            sent = None if rounds is None else cell.interval_messages
            open_ = cell.bounded - cell.provable - cell.contradictions
            by = judges.TRUTH if cell.truth_known is not None else ""
            counts = (cell.shared, rounds, cell.shared - cell.bounded, open_, cell.wrong_certain)
            costs.append(Cost(task, cell.source, INTERVAL, *counts, by, 0, sent))
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
