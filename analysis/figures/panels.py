"""Draw typed results: what was measured, with its interval and its counts; what was not evaluable, in words.

Every panel is a function of (axes, result), so that the dashboard shows the same panels as the single figures.
A point clock is hatched, an interval clock is filled; shade says the verdict, colour says the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.clocks.quality import FIGURE as CLOCK_QUALITY
from analysis.figures import clock_quality, commit_wait, judgements, reference, style
from analysis.figures.bars import (
    HATCH,
    HIGH,
    NO_TRIALS,
    PERCENT,
    bar_place,
    clock_handles,
    grouped,
    legend,
    percent_axis,
    task_label,
)
from analysis.figures.plotting import Patch
from analysis.figures.reference import FIGURE as REFERENCE_WIDTH
from analysis.questions.causality import FIGURE as CAUSALITY
from analysis.questions.commit_wait import FIGURE as COMMIT_WAIT
from analysis.questions.coordination import FIGURE as COORDINATION
from analysis.questions.ordering import FIGURE as ORDERING
from analysis.questions.ordering import INTERVAL
from analysis.questions.windows import FIGURE as WINDOWS
from analysis.run.readings import POINT
from analysis.stats import rates as statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.questions.causality import Causality
    from analysis.questions.coordination import Coordination, Cost
    from analysis.questions.judges import Judgement
    from analysis.questions.ordering import Ordering
    from analysis.questions.windows import Windows

SHADES: Final = {"proved": 1.0, "ambiguous": 0.35, "violated": 1.0, "not evaluable": 0.0}
MAY_NEED: Final[dict[str, Any]] = {"facecolor": "none", "edgecolor": "#444444", "linewidth": 0.8}
NO_JUDGE: Final = "not evaluable: no reference, and no truth was injected"


# --- causality -----------------------------------------------------------------------------------------------------


def causality_intervals(axes: Axes, result: Causality) -> None:
    """Draw, per worker and source, the shares of proved, ambiguous, violated and not evaluable events."""
    cells = [cell for cell in result.cells if cell.source != "system"]
    axes.set_title("As intervals: was it sent before it was received?")
    if not cells:
        style.say(axes, "no source with intervals in this run")
        return
    for place, cell in enumerate(cells):
        colour, left = style.colour(cell.source), 0.0
        parts = {"proved": cell.proved, "ambiguous": cell.ambiguous, "violated": cell.violated}
        parts["not evaluable"] = cell.events - sum(parts.values())
        for verdict, number in parts.items():
            share = PERCENT * number / cell.events if cell.events else 0.0
            black = verdict == "violated"
            axes.barh(
                place,
                share,
                0.7,
                left=left,
                color="black" if black else colour,
                alpha=None if black else SHADES[verdict],
            )
            axes.barh(place, share, 0.7, left=left, facecolor="none", edgecolor=colour, linewidth=0.6)
            if share > 9:
                ink = "white" if verdict in {"proved", "violated"} else "black"
                axes.text(left + share / 2, place, str(number), ha="center", va="center", fontsize=7, color=ink)
            left += share
    gap = " " if len(cells) > 6 else "\n"
    axes.set_yticks(range(len(cells)), [f"{cell.worker}{gap}{style.label(cell.source)}" for cell in cells])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("(event, worker) pairs (%)")


def verdict_handles(*, judged: bool = False) -> list[Patch]:
    """Return the legend of the shades; the same three stand for what a judge says."""
    also = {"proved": " / right", "ambiguous": " / unknown", "violated": " / wrong"} if judged else {}
    return [
        Patch(
            facecolor="black" if name == "violated" else (0.3, 0.3, 0.3, shade),
            edgecolor="#444444",
            label=name + also.get(name, ""),
        )
        for name, shade in SHADES.items()
    ]


def causality_points(axes: Axes, result: Causality) -> None:
    """Draw, per worker and source, the share of events whose point estimates violate causality."""
    axes.set_title("As points: received before sent")
    workers = list(dict.fromkeys(cell.worker for cell in result.cells))
    series = []
    for source in result.sources:
        by_worker = {cell.worker: cell for cell in result.of(source)}
        rates = [by_worker[worker].point_rates["violated"] for worker in workers]
        series.append((source, True, rates))
    grouped(axes, workers, series)
    percent_axis(axes, "events violated")


def causality_judged(axes: Axes, result: Causality) -> None:
    """Draw, of what every clock decided, what the judge calls right, cannot tell, or calls wrong."""
    judge = judgements.most_decisive(judgement for cell in result.totals for judgement in cell.point_against)
    axes.set_title(f"What was decided, by {judgements.WORDS[judge]}" if judge else "What was decided")
    rows = []
    for cell in result.totals:
        for clock, against in ((POINT, cell.point_against), (INTERVAL, cell.interval_against)):
            if clock == POINT or cell.interval_evaluable:
                rows += _judged_row(f"{style.label(cell.source)} {clock}", cell.source, clock, against, judge)
    judgements.draw(axes, rows, "decided (event, worker) pairs (%)", NO_JUDGE)


def _judged_row(label: str, source: str, clock: str, against: Sequence[Judgement], judge: str) -> list[judgements.Row]:
    told = next((judgement for judgement in against if judgement.judge == judge), None)
    row = None if told is None else judgements.judged(label, source, clock, told)
    return [] if row is None else [row]


def draw_causality(result: Causality) -> Figure:
    """Draw the figure ``causality_violations``."""
    with style.context():
        bars = sum(2 if cell.interval_evaluable else 1 for cell in result.totals)
        top, below = max(2.0, 0.2 * len(result.cells)), 0.55 + 0.17 * bars
        figure = style.canvas(style.PAGE_IN, top + below + 0.9)
        left, right, bottom = style.two_over_one(figure, [top, below])
        causality_intervals(left, result)
        causality_points(right, result)
        causality_judged(bottom, result)
        legend(figure, [*verdict_handles(judged=True), *clock_handles([(source, True) for source in result.sources])])
    return figure


# --- ordering ------------------------------------------------------------------------------------------------------


def ordering_agreement(axes: Axes, result: Ordering) -> None:
    """Draw the share of nearby pairs on which all workers agree, and the share they decide alike."""
    axes.set_title("Do all workers order nearby events alike?")
    if not result.agreement:
        style.say(axes, f"not evaluable: agreement needs two workers with data, this run has {len(result.workers)}")
        return
    series = [
        (agreement.source, agreement.clock == POINT, [agreement.same, agreement.same_decided])
        for agreement in result.agreement
    ]
    grouped(axes, ["same label", "same label, decided"], series)
    percent_axis(axes, "pairs within 1 s")
    if result.pairs_judged < result.pairs_total:
        axes.set_xlabel(f"stratified sample: {result.pairs_judged:,} of {result.pairs_total:,} pairs")


def ordering_who_first(axes: Axes, result: Ordering) -> None:
    """Draw how often the receipts of two workers are decided, and how often wrongly as far as the judge can tell."""
    axes.set_title("Which worker received first?")
    if not result.totals:
        style.say(axes, f"not evaluable: needs two workers with data, this run has {len(result.workers)}")
        return
    judge = _judge_of(result)
    series = []
    for total in result.totals:
        told = next((by for by in total.against if by.judge == judge), None)
        wrong = None if told is None else told.wrong
        series.append((total.source, total.clock == POINT, [total.decided, wrong] if judge else [total.decided]))
    by = f"of these provably wrong\n(by {judgements.WORDS[judge]})" if judge else ""
    groups = ["decided", by] if judge else ["decided (nobody judges)"]
    grouped(axes, groups, series)
    percent_axis(axes, "(event, pair of workers)")


def _judge_of(result: Ordering) -> str:
    return judgements.most_decisive(by for total in result.totals for by in total.against)


def ordering_judged(axes: Axes, result: Ordering) -> None:
    """Draw, of every clock's decisions who received first, what the judge calls right, cannot tell, or calls wrong."""
    judge = _judge_of(result)
    axes.set_title(
        f"Who received first: what was decided, by {judgements.WORDS[judge]}" if judge else "Who received first"
    )
    rows = []
    for total in result.totals:
        rows += _judged_row(
            f"{style.label(total.source)} {total.clock}", total.source, total.clock, total.against, judge
        )
    judgements.draw(axes, rows, "decided (event, pair of workers) (%)", NO_JUDGE)


def draw_ordering(result: Ordering) -> Figure:
    """Draw the figure ``ordering_consensus``."""
    with style.context():
        below = 0.55 + 0.17 * max(3, len(result.totals))
        figure = style.canvas(style.PAGE_IN, 2.0 + below + 0.9)
        left, right, bottom = style.two_over_one(figure, [2.0, below])
        ordering_agreement(left, result)
        ordering_who_first(right, result)
        ordering_judged(bottom, result)
        clocks = clock_handles([(total.source, total.clock == POINT) for total in result.totals])
        legend(figure, [*clocks, *judgements.handles("right", "unknown", "wrong")])
    return figure


# --- windows -------------------------------------------------------------------------------------------------------


def windows_points(axes: Axes, result: Windows) -> None:
    """Draw the share of events whose receipts all workers put into the same window."""
    _windows(axes, result, "Same window (point estimates)", point=True)


def windows_provable(axes: Axes, result: Windows) -> None:
    """Draw the share of events whose window all workers can prove to be the same."""
    _windows(axes, result, "Provably the same window", point=False)
    contradictions = sum(cell.contradictions for cell in result.cells)
    bounded = sum(cell.bounded for cell in result.cells)
    if bounded:
        axes.set_xlabel(f"window width (ms)\ncontradictions: {contradictions} of {bounded}")


def _windows(axes: Axes, result: Windows, title: str, *, point: bool) -> None:
    axes.set_title(title)
    if len(result.workers) < 2:
        style.say(axes, f"not evaluable: needs two workers with data, this run has {len(result.workers)}")
        return
    widths = list(dict.fromkeys(cell.width_ms for cell in result.cells))
    series = []
    for source in dict.fromkeys(cell.source for cell in result.cells):
        cells = [cell for cell in result.cells if cell.source == source]
        if point:
            series.append((source, True, [cell.agreement for cell in cells]))
        elif any(cell.bounded for cell in cells):
            series.append((source, False, [cell.provable_agreement for cell in cells]))
    if not series:
        style.say(axes, "not evaluable: no event has an interval at every worker that received it")
        return
    grouped(axes, [str(width) for width in widths], series)
    percent_axis(axes, "events")
    axes.set_xlabel("window width (ms)")


def windows_causes(axes: Axes, result: Windows) -> None:
    """Draw why point indices differ, by the judge: the windows really do, nobody knows, or the clocks caused it."""
    judge = judgements.most_decisive(by for cell in result.cells for by in cell.point_against)
    axes.set_title(f"Why windows differ, by {judgements.WORDS[judge]}" if judge else "Why windows differ")
    found = [row for cell in result.cells if (row := judgements.causes(cell, judge)) is not None]
    some = [row for row in found if any(number for number, _ in row.parts)]
    left_out = (
        f"; {len(found) - len(some)} of {len(found)} clocks and widths have none" if len(some) < len(found) else ""
    )
    nothing = "no disagreement to explain" if found else NO_JUDGE
    judgements.draw(axes, some, f"events with unequal windows (%){left_out}", nothing)


def draw_windows(result: Windows) -> Figure:
    """Draw the figure ``window_assignment``."""
    with style.context():
        unequal = sum(cell.evaluable > cell.agree for cell in result.cells)
        below = 0.55 + 0.17 * max(3, unequal)
        figure = style.canvas(style.PAGE_IN, 2.0 + below + 0.9)
        left, right, bottom = style.two_over_one(figure, [2.0, below])
        windows_points(left, result)
        windows_provable(right, result)
        windows_causes(bottom, result)
        sources = list(dict.fromkeys(cell.source for cell in result.cells))
        bounded = [one for one in sources if any(cell.source == one and cell.bounded for cell in result.cells)]
        clocks = clock_handles([*((source, True) for source in sources), *((one, False) for one in bounded)])
        legend(figure, [*clocks, *judgements.handles("truly different", "unknown", "caused by the clocks")])
    return figure


# --- coordination --------------------------------------------------------------------------------------------------


def coordination(axes: Axes, result: Coordination, tasks: Sequence[str] | None = None) -> None:
    """Draw the rounds per decision of every task, point clocks hatched; dotted what no judge can tell."""
    axes.set_title("Rounds of coordination per decision")
    shown = list(tasks or dict.fromkeys(cost.task for cost in result.costs))
    by_key: dict[tuple[str, str], dict[str, Cost]] = {}
    for one in result.costs:
        by_key.setdefault((one.source, one.clock), {})[one.task] = one
    series = []
    for (source, clock), costs in by_key.items():
        rates = [_exact_rounds(costs.get(task)) for task in shown]
        series.append((source, clock == POINT, rates))
    grouped(axes, [task_label(task) for task in shown], series)
    for number, costs in enumerate(by_key.values()):
        for group, task in enumerate(shown):
            if task in costs and costs[task].unknown:
                _between(axes, bar_place(group, number, len(by_key)), costs[task])
    percent_axis(axes, "needing a round")


def _exact_rounds(one: Cost | None) -> statistics.Rate | None:
    """Return the bar of a task, an empty one where it is not evaluable, none where it is between two numbers."""
    return None if one is None or one.unknown else one.per_decision or statistics.rate(0, 0)


def _between(axes: Axes, at: tuple[float, float], one: Cost) -> None:
    """Draw rounds between two numbers: full up to the least, dotted from there to the most."""
    if one.counted is None:
        return
    (width, place), colour, point = at, style.colour(one.source), one.clock == POINT
    least, most = (PERCENT * (rate.value or 0.0) for rate in (one.counted.at_least, one.counted.at_most))
    face, hatch = ("white", HATCH) if point else (colour, None)
    axes.bar(place, least, width, facecolor=face, edgecolor=colour, hatch=hatch, linewidth=0.8)
    axes.bar(place, most - least, width, bottom=least, linestyle=":", **MAY_NEED | {"edgecolor": colour})
    text = f"{one.counted.at_least.numerator} to {one.counted.at_most.numerator}/{one.decisions}"
    inside = most > HIGH
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if inside else None
    axes.text(
        place, most - 4 if inside else most + 2, text, ha="center", va="top" if inside else "bottom", rotation=90,
        fontsize=7, color="#333333", bbox=box,
    )  # fmt: skip


def coordination_handles(result: Coordination) -> list[Patch]:
    """Return the legend of the rounds: the clocks, and what dotted means where anything is."""
    clocks = clock_handles([(one.source, one.clock == POINT) for one in result.costs])
    dotted = Patch(linestyle=":", label="dotted: no judge can tell", **MAY_NEED)
    return [*clocks, *([dotted] if any(cost.unknown for cost in result.costs) else [])]


def coordination_messages(axes: Axes, result: Coordination) -> None:
    """Draw the messages of all rounds of the common tasks, and, paler, the questions of the clock and its feeder.

    Dotted are those that no judge can tell to be needed.
    """
    names = [task_label(task).replace("\n", " ") for task in result.common_tasks]
    axes.set_title(f"Messages of {', '.join(names) or 'no task'}; pale: the clock's own")
    labels, tallest = [], 1
    for place, (source, clock) in enumerate(dict.fromkeys((cost.source, cost.clock) for cost in result.costs)):
        told, colour = result.traffic(source, clock), style.colour(source)
        labels.append(f"{style.label(source)}\n{clock}")
        least, most = (told["rounds_only"][f"messages_at_{end}"] for end in ("least", "most"))
        if least is None:
            axes.text(place, 0, NO_TRIALS, ha="center", va="bottom", rotation=90, color=colour, fontsize=7)
            continue
        point = clock == POINT
        axes.bar(
            place, least, 0.7, facecolor="white" if point else colour, edgecolor=colour, hatch=HATCH if point else None
        )
        own = (told["with_what_it_rests_on"]["messages_at_least"] or least) - least
        axes.bar(place, own, 0.7, bottom=least, facecolor=colour, edgecolor=colour, alpha=0.35)
        text = f"{least + own:,}"
        if most > least:
            axes.bar(place, most - least, 0.7, bottom=least + own, linestyle=":", **MAY_NEED | {"edgecolor": colour})
            text += f" to {most + own:,}"
        axes.annotate(text, (place, most + own), (0, 2), textcoords="offset points", ha="center", fontsize=7)
        tallest = max(tallest, most + own)
    axes.set_xticks(range(len(labels)), labels, fontsize=6.5)
    axes.set_ylim(0, 1.15 * tallest)
    axes.set_ylabel("messages of the run")
    axes.grid(axis="y")


def draw_coordination(result: Coordination) -> Figure:
    """Draw the figure ``coordination_cost``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 5.0)
        top, bottom = style.panels(figure, 2, 1)
        coordination(top, result)
        coordination_messages(bottom, result)
        legend(figure, coordination_handles(result))
    return figure


DRAW: Final[dict[str, Callable[[Any], Figure]]] = {
    CAUSALITY: draw_causality,
    ORDERING: draw_ordering,
    WINDOWS: draw_windows,
    COORDINATION: draw_coordination,
    COMMIT_WAIT: commit_wait.draw_commit_wait,
    CLOCK_QUALITY: clock_quality.draw,
    REFERENCE_WIDTH: reference.draw,
}
