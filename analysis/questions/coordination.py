"""Coordination: the rounds of messages the workers would need beyond reading their clocks, and what they cost.

One round per decision that is not decided. A bounded clock needs a round where it is ambiguous; a point clock decides
everything but equal estimates. Where a reading is missing there is no decision, and a round is needed by either. A
wrong confident decision needs its repair, whoever made it, so that bounds too narrow to be true save nothing. Where no
judge can tell whether a confident decision is right, nobody knows whether it needs a round: rounds are then between
two numbers, and not evaluable as one.

A round is a question and an answer: between the worker and the coordinator (causality), the two workers (who first), or
one worker and each other one that received (windows). Its messages carry what a probe carries and no more. A source's
own questions to its server come on top, as counted (``polling``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.questions import causality as causality_analysis
from analysis.questions import judges, rounds
from analysis.questions import ordering as ordering_consensus
from analysis.questions import traffic as polling
from analysis.questions import windows as window_assignment
from analysis.run.readings import POINT
from analysis.stats import rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.questions.judges import Judgement
    from analysis.questions.rounds import Rounds
    from analysis.run.readings import Table

STATISTICS_FILE = "coordination_stats.json"
FIGURE = "coordination_cost"

CAUSALITY: Final = "causality"
WHO_FIRST: Final = "who_first"
TOTAL_WIDTH_MS: Final = 100  # the window width that stands for windows in the totals, where it was analysed
INTERVAL: Final = ordering_consensus.INTERVAL


@dataclass(frozen=True)
class Cost:
    """The rounds of one task with one clock. ``counted`` is None where it has no reading to decide anything by.

    ``decisions`` counts what had to be decided; ``unread`` of them had no reading and are among the rounds.
    ``undecided`` are a bounded clock's ambiguous readings and a point clock's equal ones. ``wrong`` counts the wrong
    confident decisions by the judge ``wrong_by``, None where no judge knows any.
    """

    task: str
    source: str
    clock: str
    decisions: int
    counted: Rounds | None
    unread: int
    undecided: int
    wrong: int | None
    wrong_by: str

    @property
    def unknown(self) -> int:
        """Return how many decisions may need a round for all that the judge can tell."""
        return 0 if self.counted is None else self.counted.unknown

    @property
    def per_decision(self) -> rates.Rate | None:
        """Return the rounds per decision, or None where they are not evaluable, or not as one number."""
        return None if self.counted is None or self.unknown else self.counted.at_least

    @property
    def rounds(self) -> int | None:
        """Return the rounds, or None where they are not evaluable, or not as one number."""
        return None if self.per_decision is None else self.per_decision.numerator

    @property
    def messages(self) -> int | None:
        """Return what the rounds send, or None where they are not evaluable, or not as one number."""
        return None if self.counted is None or self.unknown else self.counted.messages_at_least

    @property
    def bytes(self) -> int | None:
        """Return the bytes of the rounds' messages, headers included."""
        return None if self.messages is None else self.messages * rounds.MESSAGE_BYTES

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as JSON-serialisable data."""
        found = self.counted
        return {
            "rounds_per_decision": None if self.per_decision is None else self.per_decision.as_dict(),
            "rounds_at_least": None if found is None else found.at_least.as_dict(),
            "rounds_at_most": None if found is None else found.at_most.as_dict(),
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

    def total(self, source: str, clock: str, tasks: Sequence[str]) -> rounds.Total | None:
        """Return the costs of some tasks taken together, or None if one of them is not evaluable."""
        parts = [cost for cost in self.costs if cost.source == source and cost.clock == clock and cost.task in tasks]
        found = [one.counted for one in parts if one.counted is not None]
        if {part.task for part in parts} != set(tasks) or not tasks or len(found) < len(parts):
            return None
        return rounds.total(found)

    def exact(self, source: str, clock: str, task: str) -> bool:
        """Tell whether the rounds of a task are known as one number."""
        total = self.total(source, clock, [task])
        return total is not None and total.exact

    @property
    def common_tasks(self) -> tuple[str, ...]:
        """Return those of the totals' tasks that came up: with one worker nobody asks who was first."""
        there = {cost.task for cost in self.costs if cost.counted is not None}
        return tuple(task for task in self.total_tasks if task in there)

    def traffic(self, source: str, clock: str) -> dict[str, Any]:
        """Return messages and bytes, at least and at most, of all rounds of the common tasks: the same for every clock.

        ``own`` adds the source's own questions, ``with_what_it_rests_on`` also those of the source it is fed with. None
        where a task is not evaluable, or nobody counted the questions.
        """
        total = self.total(source, clock, self.common_tasks)
        by_source = {one.source: one for one in self.pollings}
        own = by_source[source]
        fed = [own, *([by_source[own.rests_on]] if own.rests_on in by_source else [])]
        result: dict[str, Any] = {"tasks": list(self.common_tasks), "decisions": total.decisions if total else None}
        for name, questions in (("rounds_only", []), ("own", [own]), ("with_what_it_rests_on", fed)):
            known = total if not any(question.reason for question in questions) else None
            polled, polled_bytes = (sum(getattr(one, unit) for one in questions) for unit in ("messages", "bytes"))
            result[name] = {
                "messages_at_least": polled + known.messages_at_least if known else None,
                "messages_at_most": polled + known.messages_at_most if known else None,
                "bytes_at_least": polled_bytes + known.messages_at_least * rounds.MESSAGE_BYTES if known else None,
                "bytes_at_most": polled_bytes + known.messages_at_most * rounds.MESSAGE_BYTES if known else None,
            }
        return result

    def reduction(self, source: str, clock: str, against: tuple[str, str]) -> dict[str, Any]:
        """Return by how much fewer rounds per decision one clock needs than another, over the tasks both can tell.

        Who received first is among them if it is known exactly of both; without causality and windows there is no
        value, since a single easy task says little. Where rounds are not known exactly there is no value either, but
        what it is at least and at most (no least where the other clock may need no round).
        """
        needed = set(self.total_tasks) - {WHO_FIRST}
        tasks = []
        for task in self.total_tasks:
            told = self.total(source, clock, [task]) is not None and self.total(*against, [task]) is not None
            if told and (task in needed or (self.exact(source, clock, task) and self.exact(*against, task))):
                tasks.append(task)
        mine, theirs = self.total(source, clock, tasks), self.total(*against, tasks)
        least, most, words, remark = None, None, "not evaluable", None
        enough = needed <= set(tasks)
        if mine and theirs:
            least, most = rounds.fewer(mine, theirs) if enough else (None, None)
            less = rounds.fewer_in_words(least, most)
            counts = (
                f"{mine.words} of {mine.decisions} decisions; NTP {against[1]} {theirs.words} of {theirs.decisions}"
            )
            words = f"{less} rounds: {counts} ({_words(tasks)})" if less else f"{counts} ({_words(tasks)})"
            if enough and theirs.decisions and not theirs.at_most:
                remark = f"no room to improve (NTP {against[1]} needs no round)"
            elif not (mine.exact and theirs.exact):
                unknown = ", ".join(f"{one.at_most - one.at_least} of {one.decisions}" for one in (mine, theirs))
                remark = f"no judge can tell whether a round is needed for {unknown} decisions (own, NTP {against[1]})"
        return {
            "value": least if mine and theirs and mine.exact and theirs.exact else None,
            "at_least": least,
            "at_most": most,
            "in_words": words,
            "remark": remark,
            "tasks": tasks,
            "read": self._read(source, clock, tasks),
            "read_by_ntp": self._read(*against, tasks),
            "decisions": {task: part.decisions for task in tasks if (part := self.total(source, clock, [task]))},
            "rounds": mine.at_least if mine and mine.exact else None,
            "rounds_in_words": mine.words if mine else None,
            "rounds_against": theirs.at_least if theirs and theirs.exact else None,
            "rounds_against_in_words": theirs.words if theirs else None,
        }

    def _read(self, source: str, clock: str, tasks: Sequence[str]) -> dict[str, Any]:
        """Return for how many decisions of some tasks the clock has a reading: a round without one tells nothing."""
        parts = [cost for cost in self.costs if cost.source == source and cost.clock == clock and cost.task in tasks]
        due = sum(one.decisions for one in parts)
        return rates.rate(due - sum(part.unread for part in parts), due).as_dict()

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{tasks: {task: {source: {clock: …}}}, reductions: {source: {clock_vs_ntp_clock: …}}}``."""
        tasks: dict[str, Any] = {}
        for one in self.costs:
            tasks.setdefault(one.task, {}).setdefault(one.source, {})[one.clock] = one.as_dict()
        traffic: dict[str, Any] = {}
        for source, clock in dict.fromkeys((cost.source, cost.clock) for cost in self.costs):
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
            "message_bytes": rounds.MESSAGE_BYTES,
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
    costs = [*_causality(causality, bounded), *_who_first(ordering), *_windows(windows, bounded)]
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
    """Causality per (event, worker): a violation shows by itself, so repairs are known without a judge."""
    costs = []
    for cell in causality.totals:
        if cell.point_evaluable == 0:
            due = cell.point_rounds.decisions
            costs.append(Cost(CAUSALITY, cell.source, POINT, due, None, due, 0, None, ""))
            continue
        counts = (cell.point_evaluable, cell.point_equal, cell.point_violated)
        costs.append(_cost(CAUSALITY, cell.source, POINT, cell.point_rounds, *counts))
        if cell.source in bounded:
            counts = (cell.interval_evaluable, cell.ambiguous, cell.violated)
            costs.append(_cost(CAUSALITY, cell.source, INTERVAL, cell.interval_rounds, *counts))
    return costs


def _who_first(ordering: ordering_consensus.Ordering) -> list[Cost]:
    """Who received first per (event, pair of workers): repairs are known only where a judge knows the order."""
    costs = []
    for total in ordering.totals:
        if total.rounds is None:
            continue
        told = next((by for by in total.against if by.judge == total.rounds.judge), None)
        wrong = told.wrong.numerator if told and told.wrong else None
        costs.append(_cost(WHO_FIRST, total.source, total.clock, total.rounds, total.evaluable, total.ambiguous, wrong))
    return costs


def _windows(windows: window_assignment.Windows, bounded: set[str]) -> list[Cost]:
    """Windows per event: indices that differ show when workers compare them; one that is wrong everywhere does not."""
    costs = []
    for cell in windows.cells:
        task = window_task(cell.width_ms)
        wrong = _wrong(cell.wrong_points, cell.point_rounds, cell.point_against)
        costs.append(_cost(task, cell.source, POINT, cell.point_rounds, cell.evaluable, 0, wrong))
        if cell.source in bounded:
            open_ = cell.bounded - cell.provable - cell.contradictions
            wrong = _wrong(cell.wrong_certain, cell.interval_rounds, cell.interval_against)
            costs.append(_cost(task, cell.source, INTERVAL, cell.interval_rounds, cell.bounded, open_, wrong))
    return costs


def _wrong(absolute: int | None, found: Rounds, against: Sequence[Judgement]) -> int | None:
    """Return how many windows are wrong: by true time where it is known, else by the judge of the rounds."""
    told = next((judgement for judgement in against if judgement.judge == found.judge), None)
    return told.wrong.numerator if absolute is None and told and told.wrong else absolute


def _cost(task: str, source: str, clock: str, found: Rounds, evaluable: int, undecided: int, wrong: int | None) -> Cost:
    """Return a task's cost; without anything evaluable there is none."""
    counted = found if evaluable else None
    return Cost(
        task, source, clock, found.decisions, counted, found.decisions - evaluable, undecided, wrong, found.judge
    )
