"""Commit-wait as it is shown: what became certain, what was claimed, how long events were held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.clocks import standards
from analysis.figures import spreads, style
from analysis.figures.bars import PERCENT, bar_place, clock_handles, grouped, legend, percent_axis, task_label
from analysis.questions import commit_wait
from analysis.questions.causality import QUESTION as CAUSALITY
from analysis.questions.commit_wait import ambiguous, asked, not_remeasured
from analysis.run.table import INTERVAL
from analysis.stats import rates
from analysis.tables import NOT_EVALUABLE, Grid, counted, number, share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.analyses.analysis import Context
    from analysis.questions.answers import Answer
    from analysis.questions.commit_wait import CommitWait
    from analysis.questions.held_events import Waits
    from analysis.questions.remeasurement import Width

Remeasured = tuple["Answer", "Width"]
US_PER_MS: Final = 1000.0


def compute(context: Context) -> CommitWait:
    """Judge again with every re-measured uncertainty, and all real commit-waits."""
    return commit_wait.compute(context.table, context.window_sizes_ms, context.judges)


def _certainly(name: str) -> Callable[[Remeasured], Any]:
    def cell(row: Remeasured) -> Any:
        rate = row[0].rates.get(name)
        return NOT_EVALUABLE if rate is None else rate.numerator

    return cell


COLUMNS: Final[Mapping[str, Callable[[Remeasured], Any]]] = {
    "source": lambda row: row[0].source,
    "question": lambda row: asked(row[0])[0].replace("_", " "),
    "delay (s)": lambda row: f"{asked(row[0])[1]:g}",
    "ambiguous at first": lambda row: share(row[0].rates["ambiguous_at_first"]),
    "certain after": lambda row: share(row[0].rates["certain_after"]),
    "of these proved": _certainly("proved_after"),
    "of these violated": _certainly("violated_after"),
    "receive interval contains the truth": lambda row: share(row[0].rates.get("receive_interval_contains_truth")),
    "not re-measured": lambda row: not_remeasured(row[0]),
    "half-width claimed, median (µs)": lambda row: number(_us(row[1].half_width_ms.median)),
    "which is": lambda row: row[1].claim,
    "latest measurement (ms late)": lambda row: number(row[1].late_ms.maximum, 2),
}


def _us(value_ms: float | None) -> float | None:
    return None if value_ms is None else US_PER_MS * value_ms


def _early(wait: Waits) -> str:
    early = NOT_EVALUABLE if wait.violations is None else share(wait.violations)
    return early + "".join(
        f"; {count:,} not judged, for they {standards.IN_WORDS[reason]}" for reason, count in wait.left_out.items()
    )


def _order(wait: Waits) -> str:
    consistency = wait.consistency
    return share(consistency.violated) if consistency.violated else f"{NOT_EVALUABLE}: {consistency.reason}"


def _waits(waits: Sequence[Waits]) -> Grid:
    rows = []
    for wait in waits:
        ratio = rates.spread(wait.ratios)
        waited = (number(wait.waited_ms.median, 3), number(wait.waited_ms.p95, 3))
        ratios = (number(ratio.median, 2), number(ratio.p95, 2))
        rows.append((wait.source, counted(wait.outcomes), *waited, *ratios, _early(wait), _order(wait)))
    head = ("source", "outcomes", "waited, median (ms)", "p95", "waited / (2 · bound), median", "p95")
    wrong = ("released before its time", "began after a release elsewhere, timestamp not later")
    return Grid.of((*head, *wrong), rows, "")


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return how long real commit-waits took, and what re-measuring made certain."""
    result: CommitWait = done[ANALYSIS.name]
    widths = {(width.source, width.delay_s): width for width in result.widths}
    open_ = [answer for answer in result if ambiguous(answer)]
    flights = [answer for answer in open_ if asked(answer)[0] == CAUSALITY]
    return {
        "commit_wait_note": _note(result),
        "waits": _waits(result.waits),
        "commit_wait": table(
            [(answer, widths[answer.source, asked(answer)[1]]) for answer in open_],
            COLUMNS,
            "Nothing that was ambiguous at first was re-measured.",
        ),
        "commit_wait_clear": _clear(result),
        "commit_wait_judged": judged.grid(
            ("source", "delay (s)"),
            [((answer.source, f"{asked(answer)[1]:g}"), answer.judgements) for answer in flights],
        ),
    }


def _note(result: CommitWait) -> str:
    if not result.waits:
        return "No real commit-wait was made in this run; what follows is about re-measured uncertainties."
    part = "a share" if result.planned_share is None else f"{100 * result.planned_share:g} %"
    return (
        "Real commit-waits (s = now().latest, released when now().earliest > s): "
        f"{part} of the events, as planned (`commit_wait_share`), on every node; the counts are of all nodes together."
    )


def _clear(result: CommitWait) -> str:
    """Return, in a sentence, the questions that were clear at first for every event and so wait for nothing."""
    clear = {
        (answer.source, asked(answer)[0]): answer.rates["ambiguous_at_first"].denominator
        for answer in result
        if not ambiguous(answer)
    }
    if not clear:
        return ""
    parts = [f"{source} {question.replace('_', ' ')} ({events})" for (source, question), events in clear.items()]
    listed = ", ".join(parts)
    return f"Nothing was ambiguous at first, so waiting had nothing to add ((event, worker) pairs judged): {listed}."


def certain_panel(axes: Axes, result: CommitWait, questions: Sequence[str]) -> None:
    """Draw the share of what was ambiguous at first that is certain later; the violations among it in black."""
    axes.set_title("Ambiguous at first, certain after")
    by_group = {(answer.source, *asked(answer)): answer for answer in result}
    if not by_group:
        style.say(axes, "not evaluable: nothing was re-measured in this run")
        return
    delays = sorted({delay for _, _, delay in by_group})
    groups = [(question, delay) for question in questions for delay in delays]
    series = []
    for source in result.sources:
        answers = [by_group.get((source, *group)) for group in groups]
        certain_after = [None if answer is None else answer.rates["certain_after"] for answer in answers]
        series.append((source, False, certain_after))
    grouped(axes, [f"{task_label(question)}\n+{delay:g} s" for question, delay in groups], series)
    certain = violations = 0
    for number_, source in enumerate(result.sources):
        for group, key in enumerate(groups):
            answer = by_group.get((source, *key))
            if answer is None:
                continue
            certain += answer.rates["certain_after"].numerator
            violated = answer.rates.get("violated_after")
            if violated is not None and violated.numerator:
                violations += violated.numerator
                width, place = bar_place(group, number_, len(result.sources))
                axes.bar(place, PERCENT * (violated.value or 0.0), width, color="black")
    words = f"black: certain, but violated ({violations} of {certain})"
    axes.set_xlabel(words if certain else "nothing became certain")
    percent_axis(axes, "re-measured pairs")


def widths_panel(axes: Axes, result: CommitWait) -> None:
    """Draw half-widths: of the readings at receipt (hollow), and what is claimed then and at each delay; bar to p95.

    Claims are not of one kind: a bound is aged, a sigma only where the law is the claim's. Readings can be compared.
    """
    axes.set_title("Half-width: read, and claimed")
    widths = [width for width in result.widths if width.half_width_ms.median is not None]
    if not widths:
        style.say(axes, "no uncertainty was re-measured in this run")
        return
    sources = list(dict.fromkeys(width.source for width in widths))
    delays = sorted({width.delay_s for width in widths})
    for place, source in enumerate(sources):
        own = [width for width in widths if width.source == source]
        beside, colour = 0.12 * (place - (len(sources) - 1) / 2), style.colour(source)
        places = [1 + delays.index(width.delay_s) + beside for width in own]
        label = f"{style.label(source)}: {own[0].claim}"
        spreads.points(axes, places, [width.half_width_ms for width in own], US_PER_MS, color=colour, label=label)
        hollow = {"color": colour, "markerfacecolor": "white"}
        spreads.points(axes, [beside], [own[0].read_half_width_ms], US_PER_MS, **hollow)
    ticks = ["claim" if delay == 0 else f"+{delay:g} s" for delay in delays]
    axes.set_xticks(range(1 + len(delays)), ["reading", *ticks])
    axes.set_xlim(-0.4, len(delays) + 0.4)
    spreads_ms = [spread for width in widths for spread in (width.half_width_ms, width.read_half_width_ms)]
    highest_ms = max(spread.p95 or 0.0 for spread in spreads_ms)
    axes.set_ylim(0, 1.5 * US_PER_MS * highest_ms or 1.0)
    axes.set_ylabel("median, bar to p95 (µs)")
    axes.grid(axis="y")
    axes.legend(loc="upper right")


def ratios_panel(axes: Axes, result: CommitWait) -> None:
    """Draw the distribution of the time real commit-waits took, over twice the bound."""
    axes.set_title("Commit-wait: time held")
    if not any(len(wait.ratios) for wait in result.waits):
        style.say(axes, "no real commit-wait\nwas released in this run")
        return
    for wait in result.waits:
        shares = [PERCENT * (place + 1) / len(wait.ratios) for place in range(len(wait.ratios))]
        axes.step(wait.ratios, shares, where="post", color=style.colour(wait.source), label=style.label(wait.source))
    axes.axvline(1, color="black", linewidth=0.6, linestyle=":")
    style.readable_log(axes.xaxis)
    violated = [wait.consistency.violated for wait in result.waits if wait.consistency.violated is not None]
    judged_waits = sum(rate.denominator for rate in violated)
    order = f"\nout of order: {sum(rate.numerator for rate in violated)} of {judged_waits}" if judged_waits else ""
    axes.set_xlabel(f"time waited / (2 · bound){order}")
    axes.set_ylim(0, 100)
    axes.set_ylabel("released waits (%)")
    axes.grid(axis="y")


def draw(result: CommitWait) -> Figure:
    """Draw the figure."""
    with style.context():
        figure = style.canvas(style.PAGE_IN, 2.9)
        left, middle, right = style.panels(figure, 1, 3, width_ratios=[4, 3, 3])
        certain_panel(left, result, _most_ambiguous(result))
        widths_panel(middle, result)
        ratios_panel(right, result)
        legend(figure, clock_handles([(source, False) for source in result.sources]))
    return figure


def _most_ambiguous(result: CommitWait) -> list[str]:
    """Return causality and the window that was ambiguous most often: the questions that fit into a panel."""
    counts: dict[str, int] = {}
    for answer in result:
        question, _ = asked(answer)
        counts[question] = counts.get(question, 0) + ambiguous(answer)
    windows = [question for question in counts if question != CAUSALITY]
    return [CAUSALITY, *sorted(windows, key=lambda question: -counts[question])[:1]] if counts else []


ANALYSIS: Final = Analysis(
    name=commit_wait.QUESTION,
    title="Commit-wait",
    compute=compute,
    statistics=commit_wait.CommitWait.as_statistics,
    file=commit_wait.STATISTICS_FILE,
    texts=texts,
    figure="commit_wait",
    draw=draw,
    rates=(
        Place("commit_waits/{source}/{metric}", question="held_events"),
        Place("sources/{source}/{subject}/{subject}/against/{ground_truth}/{metric}", clock=INTERVAL),
        Place("sources/{source}/{subject}/{subject}/{metric}", clock=INTERVAL),
    ),
    cited=(
        "sources/*/causality/*/certain_after",
        "sources/*/causality/*/violated_after",
        "commit_waits/*/waited_ms/median",
        "commit_waits/*/waited_over_twice_bound/median",
        "commit_waits/*/released_too_early",
        "commit_waits/*/external_consistency/violated",
    ),
    takes_long=True,
)
