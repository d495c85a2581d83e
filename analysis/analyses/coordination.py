"""Coordination as it is shown: rounds per decision, by how much fewer than NTP, messages and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses.analysis import Analysis, Place
from analysis.by_event.table import POINT
from analysis.figures import dots, steps, style
from analysis.figures.sheet import Panel, Sheet
from analysis.questions import coordination
from analysis.questions.rounds import fewer_in_words
from analysis.questions.task_names import in_words
from analysis.tables import NOT_EVALUABLE, Grid, count, number, share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from analysis.questions.coordination import Coordination, Cost

TASKS: Final = ("causality", "ordering", "windows")
SHAPES: Final = ("o", "s", "^", "v", "P", "X")  # of tasks, in turn
WINDOW: Final = "window_"
LOG_ROOM: Final = 1.6  # beyond the least and the most messages
OF_MESSAGES: Final = {"rounds": dots.RIGHT, "and own questions": dots.THIRD}  # shapes


def _rounds(cost: Cost) -> str:
    if cost.counted is None or not cost.unknown:
        return share(cost.per_decision)
    return f"at least {share(cost.counted.at_least)}, at most {share(cost.counted.at_most)}"


COLUMNS: Final[Mapping[str, Callable[[Cost], Any]]] = {
    "task": lambda cost: in_words(cost.task),
    "source": lambda cost: cost.source,
    "clock": lambda cost: cost.clock,
    "rounds per decision": _rounds,
    "of them without reading": lambda cost: cost.unread,
    "undecided": lambda cost: cost.undecided,
    "wrong decisions": lambda cost: NOT_EVALUABLE if cost.wrong is None else cost.wrong,
    "by": lambda cost: cost.wrong_by.replace("_", " "),
    "no judge can tell": lambda cost: cost.unknown,
    "messages": lambda cost: number(cost.messages, 0),
    "bytes": lambda cost: number(cost.bytes, 0),
}


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return the rounds of every task with every clock, what they save, and what they send."""
    result: Coordination = done[ANALYSIS.name]
    return {
        "coordination": table(result.costs, COLUMNS),
        "reductions": _reductions(result),
        "traffic": _traffic(result),
        "probes": f"{result.probes['probes']:,} probes, {result.probes['bytes']:,} bytes",
        "common_tasks": ", ".join(in_words(task) for task in result.common_tasks) or "no task",
        "message_bytes": str(result.message_bytes),
    }


def _reductions(result: Coordination) -> Grid:
    rows = []
    for source, pairs in result.reductions().items():
        for pair, less in pairs.items():
            tasks = ", ".join(f"{in_words(task)} ({decided:,})" for task, decided in less["decisions"].items())
            words = fewer_in_words(less["at_least"], less["at_most"]) or NOT_EVALUABLE
            counts = (less["rounds_in_words"], less["rounds_against_in_words"])
            rows.append((source, pair.replace("_", " "), words, *counts, tasks))
    return Grid.of(("source", "comparison", "rounds", "own", "against", "tasks added up (decisions)"), rows, "")


def _traffic(result: Coordination) -> Grid:
    """Return the messages and bytes of each clock: its rounds, its own questions, and what it rests on."""

    def between(counts: Mapping[str, int | None], unit: str) -> str:
        least, most = counts[f"{unit}_at_least"], counts[f"{unit}_at_most"]
        return count(least) if least == most else f"{count(least)} to {count(most)}"

    rows = []
    for source, clock in result.clocks:
        sent = result.traffic(source, clock)
        polled = next(polling for polling in result.pollings if polling.source == source)
        own = (polled.reason, None) if polled.reason else (count(polled.messages), count(polled.bytes))
        ends = [[between(sent[part], unit) for unit in ("messages", "bytes")] for part in PARTS]
        rows.append((source, clock, sent["decisions"], *ends[0], *own, polled.rests_on, *ends[1]))
    head = ("source", "clock", "decisions", "messages of rounds", "bytes", "own questions: messages", "bytes")
    return Grid.of((*head, "rests on", "all messages", "all bytes"), rows, "")


PARTS: Final = ("rounds_only", "with_what_it_rests_on")


def rounds_panel(result: Coordination, tasks: Sequence[str]) -> Panel:
    """Show the rounds per decision of some tasks, a shape each; dotted between two ends what no judge can tell."""
    costs = {(cost.source, cost.clock, cost.task): cost for cost in result.costs}
    rows = []
    for source, clock in result.clocks:
        marks = [_mark(costs.get((source, clock, task)), in_words(task), shape) for task, shape in _shapes(tasks)]
        rows.append(dots.Row(source, clock, tuple(marks)))
    nothing = "not evaluable: no clock has readings to decide any task by"
    return dots.panel("Rounds per decision", rows, "decisions that need a round", nothing, note=_by_whom(result, tasks))


def _mark(cost: Cost | None, word: str, shape: str) -> dots.Mark:
    if cost is None or cost.counted is None:
        return dots.Mark(word, None, shape)
    return dots.Mark(word, cost.counted.at_least, shape, cost.counted.at_most)


def _shapes(tasks: Sequence[str]) -> list[tuple[str, str]]:
    return [(task, SHAPES[place % len(SHAPES)]) for place, task in enumerate(tasks)]


def _by_whom(result: Coordination, tasks: Sequence[str]) -> str:
    judges = dict.fromkeys(cost.wrong_by.replace("_", " ") for cost in result.costs if cost.task in tasks)
    named = ", ".join(judge for judge in judges if judge)
    return f"wrong decisions need a round, too, by {named}" if named else ""


def windows_panel(result: Coordination) -> Panel:
    """Show the rounds per decision of windows, by their width."""
    tasks = [task for task in dict.fromkeys(cost.task for cost in result.costs) if task.startswith(WINDOW)]
    costs = {(cost.source, cost.clock, cost.task): cost for cost in result.costs}
    series = []
    for source, clock in result.clocks:
        marks = ((_mark(costs.get((source, clock, task)), "", dots.RIGHT),) for task in tasks)
        series.append(steps.Series(source, clock, tuple(marks)))
    widths = [f"{int(task.removeprefix(WINDOW).removesuffix('ms')):,}" for task in tasks]
    nothing = "not evaluable: no event was received by two workers and read by any clock"
    return steps.panel("Rounds per window", widths, series, "window width (ms)", "need a round", nothing)


def messages_panel(result: Coordination) -> Panel:
    """Show the messages of all rounds of the common tasks, and with the clock's own questions and its feeder's."""
    title = "Messages, rounds only and with own questions"
    names = ", ".join(in_words(task) for task in result.common_tasks)
    rows, said = [], []
    for source, clock in result.clocks:
        sent = result.traffic(source, clock)
        ends = [sent[part][f"messages_at_{end}"] for part in PARTS for end in ("least", "most")]
        if ends[0] is None:
            said.append(f"{dots.name(source, clock)} not evaluable")
            continue
        rows.append((source, clock, ends))
        own = "unknown" if ends[2] is None else _span(ends[2], ends[3])
        said.append(f"{dots.name(source, clock)} rounds {_span(ends[0], ends[1])}, all {own}")
    if not rows:
        return Panel(title, "not evaluable: no task was decided by any clock")
    says = f"{names}: {'; '.join(said)}"
    height = 0.12 + dots.ROW_IN * len(rows)
    return Panel(title, says, lambda axes: _messages(axes, rows), height_in=height, above_in=dots.key_in(OF_MESSAGES))


def _span(least: int, most: int) -> str:
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def _messages(axes: Axes, rows: Sequence[tuple[str, str, Sequence[int | None]]]) -> None:
    """Draw, per clock, the messages of its rounds and all of them, on a logarithmic axis from 1 on."""
    for place, (source, clock, ends) in enumerate(rows):
        looks: dict[str, Any] = {"color": style.colour(source), "markersize": dots.SIZE, "clip_on": False}
        face = "white" if clock == POINT else style.colour(source)
        for part, aside, shape in ((ends[:2], -0.15, dots.RIGHT), (ends[2:], 0.15, dots.THIRD)):
            known = [max(1, number) for number in part if number is not None]
            if known:
                axes.plot(
                    known, [place + aside] * 2, marker=shape, markerfacecolor=face, linestyle=(0, (1, 1)), **looks
                )
    numbers = [max(1, number) for _, _, ends in rows for number in ends if number is not None]
    axes.set_yticks(range(len(rows)), [dots.name(source, clock) for source, clock, _ in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(min(numbers) / LOG_ROOM, max(numbers) * LOG_ROOM)
    style.readable_log(axes.xaxis)
    axes.set_xlabel("messages of the run (none: at 1)" if min(numbers) == 1 else "messages of the run")
    axes.grid(axis="x")
    dots.key(axes, OF_MESSAGES)


def draw(result: Coordination) -> Sheet:
    """Return the figure."""
    tasks = [task for task in dict.fromkeys(cost.task for cost in result.costs) if not task.startswith(WINDOW)]
    return Sheet(
        "Coordination: the rounds that are left to do, and what they send",
        (rounds_panel(result, tasks), windows_panel(result), messages_panel(result)),
        "Hollow: as points; full and ±: as intervals; strokes: 95 % intervals; dotted: no judge can tell",
    )


ANALYSIS: Final = Analysis(
    name="coordination",
    title="Coordination",
    compute=lambda context: coordination.compute(context.table, *(context.done[name] for name in TASKS)),
    statistics=coordination.Coordination.as_statistics,
    file=coordination.STATISTICS_FILE,
    texts=texts,
    figure="coordination_cost",
    draw=draw,
    rates=(
        Place("tasks/{subject}/{source}/{clock}/{metric}", unit="rounds per decision"),
        Place("reductions/{source}/{subject}/{metric}"),
        Place("polling/{source}/{metric}", subject="own_questions"),
        Place("traffic/{source}/{clock}/{metric}", subject="traffic"),
        Place("probes/{metric}", subject="probes"),
        Place("{metric=message_bytes}"),
    ),
    cited=(
        "message_bytes",
        "tasks/causality/*/*/rounds_per_decision",
        "tasks/who_first/*/*/rounds_per_decision",
        "tasks/window_100ms/*/*/rounds_per_decision",
        "tasks/*/*/*/wrong_confident",
        "reductions/*/*/in_words",
        "traffic/*/*/rounds_only/messages_at_least",
        "traffic/*/*/with_what_it_rests_on/messages_at_least",
    ),
    needs=TASKS,
)
