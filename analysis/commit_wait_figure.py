"""Draw what waiting achieves: what became certain, what was claimed, how long events were held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import style
from analysis.bars import PERCENT, bar_place, clock_handles, grouped, legend, percent_axis, task_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.commit_wait import CommitWait


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
