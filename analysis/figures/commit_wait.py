"""Draw what waiting achieves: what became certain, what was claimed, how long events were held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.figures import style
from analysis.figures.bars import PERCENT, bar_place, clock_handles, grouped, legend, percent_axis, task_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.questions.commit_wait import CommitWait
    from analysis.stats.rates import Spread


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
        series.append((source, False, [None if one is None else one.certain_after for one in cells]))
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
    """Draw half-widths: of the readings at receipt (hollow), and what is claimed then and at each delay; bar to p95.

    Claims are not of one kind: NTP's bound is aged, ChronoTick's sigma is not. The readings can be compared.
    """
    axes.set_title("Half-width: read, and claimed")
    widths = [one for one in result.widths if one.half_width_ms.median is not None]
    if not widths:
        style.say(axes, "no uncertainty was re-measured in this run")
        return
    sources = list(dict.fromkeys(one.source for one in widths))
    delays = sorted({one.delay_s for one in widths})
    for number, source in enumerate(sources):
        mine = [one for one in widths if one.source == source]
        beside, colour = 0.12 * (number - (len(sources) - 1) / 2), style.colour(source)
        places = [1 + delays.index(one.delay_s) + beside for one in mine]
        label = f"{style.label(source)}: {mine[0].claim}"
        _spreads(axes, places, [one.half_width_ms for one in mine], color=colour, label=label)
        _spreads(axes, [beside], [mine[0].read_half_width_ms], color=colour, markerfacecolor="white")
    axes.set_xticks(
        range(1 + len(delays)), ["reading", *("claim" if delay == 0 else f"+{delay:g} s" for delay in delays)]
    )
    axes.set_xlim(-0.4, len(delays) + 0.4)
    highest_ms = max(one.p95 or 0.0 for width in widths for one in (width.half_width_ms, width.read_half_width_ms))
    axes.set_ylim(0, 1.5 * 1000 * highest_ms or 1.0)
    axes.set_ylabel("median, bar to p95 (µs)")
    axes.grid(axis="y")
    axes.legend(loc="upper right")


def _spreads(axes: Axes, places: Sequence[float], spreads: Sequence[Spread], **looks: Any) -> None:
    """Draw medians (µs) of spreads in ms, each with a bar up to its 95th percentile; one of nothing is left out."""
    told = [
        (place, 1000 * one.median, 1000 * one.p95)
        for place, one in zip(places, spreads, strict=True)
        if one.median is not None and one.p95 is not None
    ]
    if not told:
        return
    at, medians, tops = zip(*told, strict=True)
    above = [top - median for top, median in zip(tops, medians, strict=True)]
    axes.errorbar(at, medians, yerr=[[0.0] * len(above), above], marker="o", markersize=3, capsize=2, **looks)


def commit_wait_ratios(axes: Axes, result: CommitWait) -> None:
    """Draw the distribution of the time real commit-waits took, over twice the bound."""
    axes.set_title("Commit-wait: time held")
    if not any(len(wait.ratios) for wait in result.waits):
        style.say(axes, "no real commit-wait\nwas released in this run")
        return
    for one in result.waits:
        shares = [PERCENT * (place + 1) / len(one.ratios) for place in range(len(one.ratios))]
        axes.step(one.ratios, shares, where="post", color=style.colour(one.source), label=style.label(one.source))
    axes.axvline(1, color="black", linewidth=0.6, linestyle=":")
    style.readable_log(axes.xaxis)
    violated = [one.consistency.violated for one in result.waits if one.consistency.violated is not None]
    judged = sum(one.denominator for one in violated)
    order = f"\nout of order: {sum(one.numerator for one in violated)} of {judged}" if judged else ""
    axes.set_xlabel(f"time waited / (2 · bound){order}")
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
