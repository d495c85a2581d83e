"""Draw typed results: what was measured, with its interval and its counts; what was not evaluable, in words.

Every panel is a function of (axes, result), so that the dashboard shows the same panels as the single figures.
A point clock is hatched, an interval clock is filled; shade says the verdict, colour says the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter, ScalarFormatter

from analysis import clock_quality_figure, statistics, style
from analysis.bars import PERCENT, bar_place, clock_handles, grouped, legend, percent_axis
from analysis.causality_analysis import FIGURE as CAUSALITY
from analysis.clock_quality import FIGURE as CLOCK_QUALITY
from analysis.commit_wait import FIGURE as COMMIT_WAIT
from analysis.coordination_cost import FIGURE as COORDINATION
from analysis.ordering_consensus import FIGURE as ORDERING
from analysis.readings import POINT
from analysis.window_assignment import FIGURE as WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.causality_analysis import Causality
    from analysis.commit_wait import CommitWait
    from analysis.coordination_cost import Coordination, Cost
    from analysis.ordering_consensus import Ordering
    from analysis.window_assignment import Windows

SHADES: Final = {"proved": 1.0, "ambiguous": 0.35, "violated": 1.0, "not evaluable": 0.0}
TASK_LABELS: Final = {"causality": "causality", "who_first": "who first"}


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


def verdict_handles() -> list[Patch]:
    """Return the legend of the shades."""
    return [
        Patch(facecolor="black" if name == "violated" else (0.3, 0.3, 0.3, shade), edgecolor="#444444", label=name)
        for name, shade in SHADES.items()
    ]


def causality_points(axes: Axes, result: Causality) -> None:
    """Draw, per worker and source, the share of events whose point estimates violate causality."""
    axes.set_title("As points: received before sent")
    workers = list(dict.fromkeys(cell.worker for cell in result.cells))
    series = []
    for source in result.sources:
        by_worker = {cell.worker: cell for cell in result.of(source)}
        rates = [statistics.rate(by_worker[one].point_violated, by_worker[one].point_evaluable) for one in workers]
        series.append((source, True, rates))
    grouped(axes, workers, series)
    percent_axis(axes, "events violated")


def draw_causality(result: Causality) -> Figure:
    """Draw the figure ``causality_violations``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, max(2.9, 1.0 + 0.2 * len(result.cells)))
        left, right = style.panels(figure, 1, 2)
        causality_intervals(left, result)
        causality_points(right, result)
        legend(figure, [*verdict_handles(), *clock_handles([(source, True) for source in result.sources])])
    return figure


# --- ordering ------------------------------------------------------------------------------------------------------


def ordering_agreement(axes: Axes, result: Ordering) -> None:
    """Draw the share of nearby pairs on which all workers agree, and the share they decide alike."""
    axes.set_title("Do all workers order nearby events alike?")
    if not result.agreement:
        style.say(axes, f"not evaluable: agreement needs two workers with data, this run has {len(result.workers)}")
        return
    series = [
        (
            one.source,
            one.clock == POINT,
            [statistics.rate(one.same, one.evaluable), statistics.rate(one.same_decided, one.evaluable)],
        )
        for one in result.agreement
    ]
    grouped(axes, ["same label", "same label, decided"], series)
    percent_axis(axes, "pairs within 1 s")
    if result.pairs_judged < result.pairs_total:
        axes.set_xlabel(f"stratified sample: {result.pairs_judged:,} of {result.pairs_total:,} pairs")


def ordering_who_first(axes: Axes, result: Ordering) -> None:
    """Draw how often the receipts of two workers are decided, and how often wrongly where the truth is known."""
    axes.set_title("Which worker received first?")
    pairs = list(dict.fromkeys(one.pair for one in result.who_first))
    if not pairs:
        style.say(axes, f"not evaluable: needs two workers with data, this run has {len(result.workers)}")
        return
    series = []
    known = any(one.wrong is not None for one in result.who_first)
    for source, clock in dict.fromkeys((one.source, one.clock) for one in result.who_first):
        cells = [one for one in result.who_first if (one.source, one.clock) == (source, clock)]
        evaluable = sum(one.evaluable for one in cells)
        decided = statistics.rate(sum(one.first_before + one.second_before for one in cells), evaluable)
        wrong = statistics.rate(sum(one.wrong or 0 for one in cells), sum(one.truth_known for one in cells))
        series.append((source, clock == POINT, [decided, wrong] if known else [decided]))
    grouped(axes, ["decided", "decided wrongly"] if known else ["decided (truth unknown)"], series)
    percent_axis(axes, "events")


def draw_ordering(result: Ordering) -> Figure:
    """Draw the figure ``ordering_consensus``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 2.9)
        left, right = style.panels(figure, 1, 2)
        ordering_agreement(left, result)
        ordering_who_first(right, result)
        legend(figure, clock_handles([(one.source, one.clock == POINT) for one in result.who_first]))
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
            series.append((source, True, [statistics.rate(cell.agree, cell.evaluable) for cell in cells]))
        elif any(cell.bounded for cell in cells):
            series.append((source, False, [statistics.rate(cell.provable, cell.bounded) for cell in cells]))
    if not series:
        style.say(axes, "not evaluable: no event has an interval at every worker that received it")
        return
    grouped(axes, [str(width) for width in widths], series)
    percent_axis(axes, "events")
    axes.set_xlabel("window width (ms)")


def draw_windows(result: Windows) -> Figure:
    """Draw the figure ``window_assignment``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 2.9)
        left, right = style.panels(figure, 1, 2)
        windows_points(left, result)
        windows_provable(right, result)
        sources = list(dict.fromkeys(cell.source for cell in result.cells))
        bounded = [one for one in sources if any(cell.source == one and cell.bounded for cell in result.cells)]
        legend(figure, clock_handles([*((one, True) for one in sources), *((one, False) for one in bounded)]))
    return figure


# --- coordination --------------------------------------------------------------------------------------------------


def coordination(axes: Axes, result: Coordination, tasks: Sequence[str] | None = None) -> None:
    """Draw the rounds per decision of every task, point clocks hatched."""
    axes.set_title("Rounds of coordination per decision")
    shown = list(tasks or dict.fromkeys(one.task for one in result.costs))
    by_key: dict[tuple[str, str], dict[str, Cost]] = {}
    for one in result.costs:
        by_key.setdefault((one.source, one.clock), {})[one.task] = one
    series = []
    for (source, clock), costs in by_key.items():
        rates = [None if task not in costs else costs[task].per_decision or statistics.rate(0, 0) for task in shown]
        series.append((source, clock == POINT, rates))
    grouped(axes, [task_label(task) for task in shown], series)
    percent_axis(axes, "needing a round")


def task_label(task: str) -> str:
    """Return how a task is written: ``window_100ms`` -> ``window 100 ms``."""
    if task.startswith("window_"):
        return f"window\n{task.removeprefix('window_').removesuffix('ms')} ms"
    return TASK_LABELS.get(task, task)


def draw_coordination(result: Coordination) -> Figure:
    """Draw the figure ``coordination_cost``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 3.0)
        (axes,) = style.panels(figure, 1, 1)
        coordination(axes, result)
        legend(figure, clock_handles([(one.source, one.clock == POINT) for one in result.costs]))
    return figure


# --- commit-wait ---------------------------------------------------------------------------------------------------


def commit_wait_certain(axes: Axes, result: CommitWait, questions: Sequence[str] | None = None) -> None:
    """Draw the share of what was ambiguous at first that is certain later; the violations among it in black."""
    axes.set_title("Ambiguous at first, certain after")
    if not result.cells:
        style.say(axes, "not evaluable: nothing was re-measured in this run")
        return
    sources = list(dict.fromkeys(cell.source for cell in result.cells))
    asked = list(questions or dict.fromkeys(cell.question for cell in result.cells))
    delays = sorted({cell.delay_s for cell in result.cells})
    groups = [f"{task_label(question)}\n+{delay:g} s" for question in asked for delay in delays]
    series = []
    for source in sources:
        found = {(cell.question, cell.delay_s): cell for cell in result.cells if cell.source == source}
        cells = [found.get((question, delay)) for question in asked for delay in delays]
        series.append(
            (source, False, [None if one is None else statistics.rate(one.certain, one.remeasured) for one in cells])
        )
    grouped(axes, groups, series)
    for number, source in enumerate(sources):
        found = {(cell.question, cell.delay_s): cell for cell in result.cells if cell.source == source}
        for group, key in enumerate((question, delay) for question in asked for delay in delays):
            cell = found.get(key)
            if cell is not None and cell.violated:
                width, place = bar_place(group, number, len(sources))
                axes.bar(place, PERCENT * cell.violated / cell.remeasured, width, color="black")
    certain, violated = (
        sum(getattr(cell, name) or 0 for cell in result.cells if cell.question in asked)
        for name in ("certain", "violated")
    )
    axes.set_xlabel(f"black: certain, but violated ({violated} of {certain})" if certain else "nothing became certain")
    percent_axis(axes, "re-measured pairs")


def commit_wait_widths(axes: Axes, result: CommitWait) -> None:
    """Draw the half-width claimed at the event and at each delay: median, and the 95th percentile above it."""
    axes.set_title("Half-width claimed")
    widths = [one for one in result.widths if one.half_width_ms.median is not None]
    if not widths:
        style.say(axes, "no uncertainty was re-measured in this run")
        return
    sources = list(dict.fromkeys(one.source for one in widths))
    delays = sorted({one.delay_s for one in widths})
    for number, source in enumerate(sources):
        mine = [one for one in widths if one.source == source]
        places = [delays.index(one.delay_s) + 0.12 * (number - (len(sources) - 1) / 2) for one in mine]
        medians = [1000 * (one.half_width_ms.median or 0.0) for one in mine]
        above = [1000 * (one.half_width_ms.p95 or 0.0) - median for one, median in zip(mine, medians, strict=True)]
        axes.errorbar(
            places,
            medians,
            yerr=[[0.0] * len(above), above],
            color=style.colour(source),
            marker="o",
            markersize=3,
            capsize=2,
            label=f"{style.label(source)}: {mine[0].claim}",
        )
    axes.set_xticks(range(len(delays)), ["receipt" if delay == 0 else f"+{delay:g} s" for delay in delays])
    axes.set_xlim(-0.4, len(delays) - 0.6)
    axes.set_ylim(0, 1.5 * max(1000 * (one.half_width_ms.p95 or 0.0) for one in widths))
    axes.set_ylabel("median, bar to p95 (µs)")
    axes.grid(axis="y")
    axes.legend(loc="upper right")


def commit_wait_ratios(axes: Axes, result: CommitWait) -> None:
    """Draw the distribution of the time real commit-waits took, over twice the bound."""
    axes.set_title("Commit-wait: time held")
    if not any(len(one.ratios) for one in result.waits):
        style.say(axes, "no real commit-wait\nwas released in this run")
        return
    for one in result.waits:
        shares = [PERCENT * (place + 1) / len(one.ratios) for place in range(len(one.ratios))]
        axes.step(one.ratios, shares, where="post", color=style.colour(one.source), label=style.label(one.source))
    axes.axvline(1, color="black", linewidth=0.6, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("time waited / (2 · bound)")
    axes.set_ylim(0, 100)
    axes.set_ylabel("released waits (%)")
    axes.grid(axis="y")


def draw_commit_wait(result: CommitWait) -> Figure:
    """Draw the figure ``commit_wait``."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 2.9)
        left, middle, right = style.panels(figure, 1, 3, width_ratios=[4, 3, 3])
        commit_wait_certain(left, result, _asked(result))
        commit_wait_widths(middle, result)
        commit_wait_ratios(right, result)
        legend(figure, clock_handles([(cell.source, False) for cell in result.cells]))
    return figure


def _asked(result: CommitWait) -> list[str]:
    """Return causality and the window that was ambiguous most often: the questions that fit into a panel."""
    ambiguous: dict[str, int] = {}
    for cell in result.cells:
        ambiguous[cell.question] = ambiguous.get(cell.question, 0) + cell.ambiguous
    windows = [question for question in ambiguous if question.startswith("window_")]
    return ["causality", *sorted(windows, key=lambda question: -ambiguous[question])[:1]] if ambiguous else []


DRAW: Final[dict[str, Callable[[Any], Figure]]] = {
    CAUSALITY: draw_causality,
    ORDERING: draw_ordering,
    WINDOWS: draw_windows,
    COORDINATION: draw_coordination,
    COMMIT_WAIT: draw_commit_wait,
    CLOCK_QUALITY: clock_quality_figure.draw,
}
