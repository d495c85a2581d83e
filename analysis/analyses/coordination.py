"""Coordination as it is shown: rounds per decision, by how much fewer than NTP, messages and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses.analysis import Analysis, Place
from analysis.figures import bars, style
from analysis.figures.bars import HIGH, NO_TRIALS, PERCENT, clock_handles, grouped, legend, look, task_label
from analysis.figures.plotting import Patch
from analysis.questions import coordination
from analysis.questions.rounds import fewer_in_words
from analysis.run.table import POINT
from analysis.stats import rates
from analysis.tables import NOT_EVALUABLE, Grid, count, number, share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.questions.coordination import Coordination, Cost
    from analysis.stats.rates import Rate

TASKS: Final = ("causality", "ordering", "windows")
MAY_NEED: Final[dict[str, Any]] = {"facecolor": "none", "edgecolor": "#444444", "linewidth": 0.8}


def _rounds(cost: Cost) -> str:
    if cost.counted is None or not cost.unknown:
        return share(cost.per_decision)
    return f"at least {share(cost.counted.at_least)}, at most {share(cost.counted.at_most)}"


COLUMNS: Final[Mapping[str, Callable[[Cost], Any]]] = {
    "task": lambda cost: cost.task.replace("_", " "),
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
        "common_tasks": ", ".join(task.replace("_", " ") for task in result.common_tasks) or "no task",
        "message_bytes": str(result.message_bytes),
    }


def _reductions(result: Coordination) -> Grid:
    rows = []
    for source, pairs in result.reductions().items():
        for pair, less in pairs.items():
            tasks = ", ".join(f"{task.replace('_', ' ')} ({decided})" for task, decided in less["decisions"].items())
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


def rounds_panel(axes: Axes, result: Coordination, tasks: Sequence[str] | None = None) -> None:
    """Draw the rounds per decision of every task, point clocks hatched; dotted what no judge can tell."""
    axes.set_title("Rounds of coordination per decision")
    shown = list(tasks or dict.fromkeys(cost.task for cost in result.costs))
    costs = {(cost.source, cost.clock, cost.task): cost for cost in result.costs}
    clocks = result.clocks
    series = [
        (source, clock == POINT, [_exact_rounds(costs.get((source, clock, task))) for task in shown])
        for source, clock in clocks
    ]
    grouped(axes, [task_label(task) for task in shown], series)
    for place, clock in enumerate(clocks):
        for group, task in enumerate(shown):
            cost = costs.get((*clock, task))
            if cost is not None and cost.unknown:
                _between(axes, bars.bar_place(group, place, len(clocks)), cost)
    bars.percent_axis(axes, "needing a round")


def _exact_rounds(cost: Cost | None) -> Rate | None:
    """Return the bar of a task, an empty one where it is not evaluable, none where it is between two numbers."""
    return None if cost is None or cost.unknown else cost.per_decision or rates.rate(0, 0)


def _between(axes: Axes, at: tuple[float, float], cost: Cost) -> None:
    """Draw rounds between two numbers: full up to the least, dotted from there to the most."""
    if cost.counted is None:
        return
    (width, place), colour, point = at, style.colour(cost.source), cost.clock == POINT
    least, most = (PERCENT * (rate.value or 0.0) for rate in (cost.counted.at_least, cost.counted.at_most))
    axes.bar(place, least, width, **look(colour, hatched=point), linewidth=0.8)
    axes.bar(place, most - least, width, bottom=least, linestyle=":", **MAY_NEED | {"edgecolor": colour})
    text = f"{cost.counted.at_least.numerator} to {cost.counted.at_most.numerator}/{cost.decisions}"
    inside = most > HIGH
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if inside else None
    axes.text(
        place, most - 4 if inside else most + 2, text, ha="center", va="top" if inside else "bottom", rotation=90,
        fontsize=7, color="#333333", bbox=box,
    )  # fmt: skip


def handles(result: Coordination) -> list[Patch]:
    """Return the legend of the rounds: the clocks, and what dotted means where anything is."""
    clocks = clock_handles([(cost.source, cost.clock == POINT) for cost in result.costs])
    dotted = Patch(linestyle=":", label="dotted: no judge can tell", **MAY_NEED)
    return [*clocks, *([dotted] if any(cost.unknown for cost in result.costs) else [])]


def messages_panel(axes: Axes, result: Coordination) -> None:
    """Draw the messages of all rounds of the common tasks, and, paler, the questions of the clock and its feeder.

    Dotted are those that no judge can tell to be needed.
    """
    names = [task_label(task).replace("\n", " ") for task in result.common_tasks]
    axes.set_title(f"Messages of {', '.join(names) or 'no task'}; pale: the clock's own")
    labels, tallest = [], 1
    for place, (source, clock) in enumerate(result.clocks):
        sent, colour = result.traffic(source, clock), style.colour(source)
        labels.append(f"{style.label(source)}\n{clock}")
        least, most = (sent["rounds_only"][f"messages_at_{end}"] for end in ("least", "most"))
        if least is None:
            axes.text(place, 0, NO_TRIALS, ha="center", va="bottom", rotation=90, color=colour, fontsize=7)
            continue
        axes.bar(place, least, 0.7, **look(colour, hatched=clock == POINT))
        own = (sent["with_what_it_rests_on"]["messages_at_least"] or least) - least
        axes.bar(place, own, 0.7, bottom=least, facecolor=colour, edgecolor=colour, alpha=0.35)
        text = f"{least + own:,}"
        if most > least:
            axes.bar(place, most - least, 0.7, bottom=least + own, linestyle=":", **MAY_NEED | {"edgecolor": colour})
            text += f" to {most + own:,}"
        axes.annotate(text, (place, most + own), (0, 2), textcoords="offset points", ha="center", fontsize=7)
        tallest = max(tallest, most + own)
    axes.set_xticks(range(len(labels)), labels, fontsize=6.5)
    axes.set_xlim(-0.6, len(labels) - 0.4)  # a clock without a bar has its place, too
    axes.set_ylim(0, 1.15 * tallest)
    axes.set_ylabel("messages of the run")
    axes.grid(axis="y")


def draw(result: Coordination) -> Figure:
    """Draw the figure."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 5.0)
        top, bottom = style.panels(figure, 2, 1)
        rounds_panel(top, result)
        messages_panel(bottom, result)
        legend(figure, handles(result))
    return figure


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
