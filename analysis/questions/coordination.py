"""Coordination: the rounds of messages the workers would need beyond reading their clocks, and what they cost.

One round per decision that is not decided. A bounded clock needs a round where it is ambiguous; a point clock decides
everything but equal estimates. Where a reading is missing there is no decision, and a round is needed by either. A
wrong confident decision needs its repair, whoever made it, so that bounds too narrow to be true save nothing. Where no
judge can tell whether a confident decision is right, nobody knows whether it needs a round: rounds are then between
two numbers, and not evaluable as one.

A round is a question and an answer: between the worker and the coordinator (causality), the two workers (who first), or
one worker and each other one that received (windows). Its messages carry what a probe carries and no more. A source's
own questions to its server come on top, as counted (``traffic``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.by_event.table import INTERVAL, POINT
from analysis.questions import causality as causality_analysis
from analysis.questions import judges, task_names, who_first
from analysis.questions import ordering as ordering_consensus
from analysis.questions import windows as window_assignment
from analysis.questions.decisions import ALL
from analysis.questions.rounds import Total, fewer, fewer_in_words, total
from analysis.run import traffic as polling
from analysis.stats import rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analysis.by_event.table import Table
    from analysis.questions.answers import Answer, Rounds
    from analysis.stats.rates import Rate

STATISTICS_FILE: Final = "coordination_stats.json"

CAUSALITY: Final = causality_analysis.QUESTION
WHO_FIRST: Final = who_first.QUESTION
TOTAL_WIDTH_MS: Final = 100  # the window width that stands for windows in the totals, where it was analysed


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
    message_bytes: int

    @classmethod
    def of(cls, task: str, answer: Answer, message_bytes: int) -> Cost:
        """Return the cost of a task, of its answer; without anything evaluable there is none."""
        rounds = answer.rounds
        if rounds is None or not rounds.evaluable:
            due = 0 if rounds is None else rounds.decisions
            return cls(task, answer.source, answer.clock, due, None, due, 0, None, "", message_bytes)
        unread = rounds.decisions - rounds.evaluable
        numbers = (rounds.decisions, rounds, unread, rounds.undecided, rounds.wrong, rounds.judge)
        return cls(task, answer.source, answer.clock, *numbers, message_bytes)

    @property
    def unknown(self) -> int:
        """Return how many decisions may need a round for all that the judge can tell."""
        return 0 if self.counted is None else self.counted.unknown

    @property
    def per_decision(self) -> Rate | None:
        """Return the rounds per decision, or None where they are not evaluable, or not as one number."""
        return None if self.counted is None or self.unknown else self.counted.at_least

    @property
    def messages(self) -> int | None:
        """Return what the rounds send, or None where they are not evaluable, or not as one number."""
        return None if self.counted is None or self.unknown else self.counted.messages_at_least

    @property
    def bytes(self) -> int | None:
        """Return the bytes of the rounds' messages, headers included."""
        return None if self.messages is None else self.messages * self.message_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as JSON-serialisable data."""
        rounds, exact = self.counted, self.per_decision
        return {
            "rounds_per_decision": None if exact is None else exact.as_dict(),
            "rounds_at_least": None if rounds is None else rounds.at_least.as_dict(),
            "rounds_at_most": None if rounds is None else rounds.at_most.as_dict(),
            "decisions": self.decisions,
            "rounds": None if exact is None else exact.numerator,
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
    message_bytes: int

    @property
    def clocks(self) -> list[tuple[str, str]]:
        """Return every (source, clock), in order."""
        return list(dict.fromkeys((cost.source, cost.clock) for cost in self.costs))

    def total(self, source: str, clock: str, tasks: Sequence[str]) -> Total | None:
        """Return the costs of some tasks taken together, or None if one of them is not evaluable."""
        parts = [cost for cost in self.costs if (cost.source, cost.clock) == (source, clock) and cost.task in tasks]
        counted = [cost.counted for cost in parts if cost.counted is not None]
        if {part.task for part in parts} != set(tasks) or not tasks or len(counted) < len(parts):
            return None
        return total(counted)

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
        by_source = {asked.source: asked for asked in self.pollings}
        own = by_source[source]
        fed = [own, *([by_source[own.rests_on]] if own.rests_on in by_source else [])]
        result: dict[str, Any] = {"tasks": list(self.common_tasks), "decisions": total.decisions if total else None}
        for name, questions in (("rounds_only", []), ("own", [own]), ("with_what_it_rests_on", fed)):
            known = total if not any(question.reason for question in questions) else None
            polled, polled_bytes = (sum(getattr(by, unit) for by in questions) for unit in ("messages", "bytes"))
            result[name] = {
                "messages_at_least": polled + known.messages_at_least if known else None,
                "messages_at_most": polled + known.messages_at_most if known else None,
                "bytes_at_least": polled_bytes + known.messages_at_least * self.message_bytes if known else None,
                "bytes_at_most": polled_bytes + known.messages_at_most * self.message_bytes if known else None,
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
            known = self.total(source, clock, [task]) is not None and self.total(*against, [task]) is not None
            if known and (task in needed or (self.exact(source, clock, task) and self.exact(*against, task))):
                tasks.append(task)
        own, ntp = self.total(source, clock, tasks), self.total(*against, tasks)
        least, most, words, remark = None, None, "not evaluable", None
        enough = needed <= set(tasks)
        if own and ntp:
            least, most = fewer(own, ntp) if enough else (None, None)
            less = fewer_in_words(least, most)
            counts = f"{own.words} of {own.decisions:,} decisions; NTP {against[1]} {ntp.words} of {ntp.decisions:,}"
            words = f"{less} rounds: {counts} ({_words(tasks)})" if less else f"{counts} ({_words(tasks)})"
            if enough and ntp.decisions and not ntp.at_most:
                remark = f"no room to improve (NTP {against[1]} needs no round)"
            elif not (own.exact and ntp.exact):
                unknown = ", ".join(
                    f"{total.at_most - total.at_least:,} of {total.decisions:,}" for total in (own, ntp)
                )
                remark = f"no judge can tell whether a round is needed for {unknown} decisions (own, NTP {against[1]})"
        return {
            "value": least if own and ntp and own.exact and ntp.exact else None,
            "at_least": least,
            "at_most": most,
            "ratio_at_least": None if most is None else 1 - most,
            "ratio_at_most": None if least is None else 1 - least,
            "in_words": words,
            "remark": remark,
            "tasks": tasks,
            "read": self._read(source, clock, tasks),
            "read_by_ntp": self._read(*against, tasks),
            "decisions": {task: part.decisions for task in tasks if (part := self.total(source, clock, [task]))},
            "rounds": own.at_least if own and own.exact else None,
            "rounds_at_least": own.at_least if own else None,
            "rounds_at_most": own.at_most if own else None,
            "rounds_in_words": own.words if own else None,
            "rounds_against": ntp.at_least if ntp and ntp.exact else None,
            "rounds_against_at_least": ntp.at_least if ntp else None,
            "rounds_against_at_most": ntp.at_most if ntp else None,
            "rounds_against_in_words": ntp.words if ntp else None,
        }

    def _read(self, source: str, clock: str, tasks: Sequence[str]) -> dict[str, Any]:
        """Return for how many decisions of some tasks the clock has a reading: a round without one tells nothing."""
        parts = [cost for cost in self.costs if cost.source == source and cost.clock == clock and cost.task in tasks]
        due = sum(cost.decisions for cost in parts)
        return rates.rate(due - sum(part.unread for part in parts), due).as_dict()

    def reductions(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the reductions of every bounded clock against NTP, by source and by what is compared."""
        by_source: dict[str, dict[str, dict[str, Any]]] = {}
        for source in dict.fromkeys(cost.source for cost in self.costs if cost.clock == INTERVAL):
            others = [POINT] if source == "ntp" else [POINT, INTERVAL]
            by_source[source] = {
                f"{INTERVAL}_vs_ntp_{other}": self.reduction(source, INTERVAL, ("ntp", other)) for other in others
            }
        return by_source

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{tasks: {task: {source: {clock: …}}}, reductions: {source: {clock_vs_ntp_clock: …}}}``."""
        tasks: dict[str, Any] = {}
        for cost in self.costs:
            tasks.setdefault(cost.task, {}).setdefault(cost.source, {})[cost.clock] = cost.as_dict()
        traffic: dict[str, Any] = {}
        for source, clock in self.clocks:
            traffic.setdefault(source, {})[clock] = self.traffic(source, clock)
        return {
            "total_tasks": list(self.total_tasks),
            "tasks": tasks,
            "reductions": self.reductions(),
            "message_bytes": self.message_bytes,
            "polling": {cost.source: cost.as_dict() for cost in self.pollings},
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
    widths = windows.subjects
    width = str(TOTAL_WIDTH_MS) if str(TOTAL_WIDTH_MS) in widths else next(iter(widths), None)
    costs = [
        *_costs(table, [(CAUSALITY, answer) for answer in causality.of(subject=ALL)]),
        *_costs(table, [(WHO_FIRST, answer) for answer in ordering.who_first.of(subject=ALL)]),
        *_costs(table, [(window_task(answer.subject), answer) for answer in windows]),
    ]
    tasks = (CAUSALITY, WHO_FIRST, *(() if width is None else (window_task(width),)))
    pollings = tuple(polling.of(table.run, source) for source in table.sources)
    return Coordination(tuple(costs), tasks, pollings, polling.probes(table.run), polling.message_bytes(table.run))


def _costs(table: Table, answers: Iterable[tuple[str, Answer]]) -> list[Cost]:
    """Return the cost of every task with every clock there is."""
    clocks, message_bytes = set(table.clocks), polling.message_bytes(table.run)
    return [Cost.of(task, answer, message_bytes) for task, answer in answers if (answer.source, answer.clock) in clocks]


def window_task(width_ms: str) -> str:
    """Return the task name of one window width."""
    return f"window_{width_ms}ms"


def _words(tasks: Sequence[str]) -> str:
    return ", ".join(task_names.in_words(task) for task in tasks) or "no task"
