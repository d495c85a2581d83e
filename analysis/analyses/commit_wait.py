"""Commit-wait as it is shown: what became certain, what was claimed, how long events were held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place, added
from analysis.by_event.table import INTERVAL
from analysis.clocks import standards
from analysis.figures import curves, dots, spreads, steps
from analysis.figures.sheet import Panel, Sheet
from analysis.questions import commit_wait
from analysis.questions.causality import QUESTION as CAUSALITY
from analysis.questions.commit_wait import ambiguous, asked, not_remeasured
from analysis.questions.task_names import in_words
from analysis.questions.waits import holds, remeasurement
from analysis.stats import rates
from analysis.storage.scratch import taken
from analysis.tables import NOT_EVALUABLE, Grid, counted, number, share, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from analysis.analyses.analysis import Context, Counted, Part
    from analysis.questions.answers import Answer
    from analysis.questions.commit_wait import CommitWait
    from analysis.questions.waits.held_events import Waits
    from analysis.questions.waits.holds import Held
    from analysis.questions.waits.remeasurement import Claimed, Width
    from analysis.storage.scratch import Put

Remeasured = tuple["Answer", "Width"]
US_PER_MS: Final = 1000.0


class Again(NamedTuple):
    """What a part of a run tells: the counts, what was claimed again, and the real commit-waits, by node and source."""

    counts: Counted
    claimed: Mapping[tuple[str, float], Claimed]
    waits: Mapping[tuple[str, str], tuple[Held | Put, ...]]


def count(part: Part) -> Again:
    """Judge a part of a run again with every re-measured uncertainty."""
    measured = remeasurement.Remeasured(part.table)
    counts = dict(commit_wait.count(part.table, part.judges, measured, part.window_sizes_ms))
    claimed = {key: own.kept(part.keep) for key, own in measured.claimed.items()}
    of_nodes = measured.waits.items()
    waits = {(node, source): (part.put(held),) for node, own in of_nodes for source, held in own.items()}
    return Again(counts, claimed, waits)


def add(parts: Sequence[Again]) -> Again:
    """Return what all parts tell together."""
    claimed: dict[tuple[str, float], Claimed] = {}
    waits: dict[tuple[str, str], tuple[Held | Put, ...]] = {}
    for part in parts:
        for key, own in part.claimed.items():
            claimed[key] = claimed[key] + own if key in claimed else own
        for whose, held in part.waits.items():
            waits[whose] = waits.get(whose, ()) + held
    return Again(added([part.counts for part in parts]), claimed, waits)


def compute(context: Context) -> CommitWait:
    """Return what was judged again, and all real commit-waits."""
    again: Again = context.counted[ANALYSIS.name]
    held: dict[str, dict[str, Held]] = {}
    for (node_id, source), parts in again.waits.items():
        held.setdefault(node_id, {})[source] = holds.together([taken(part) for part in parts])
    return commit_wait.result(context.table, again.counts.items(), context.judges, again.claimed, held)


def _certainly(name: str) -> Callable[[Remeasured], Any]:
    def cell(row: Remeasured) -> Any:
        rate = row[0].rates.get(name)
        return NOT_EVALUABLE if rate is None else rate.numerator

    return cell


COLUMNS: Final[Mapping[str, Callable[[Remeasured], Any]]] = {
    "source": lambda row: row[0].source,
    "question": lambda row: in_words(asked(row[0])[0]),
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
    parts = [f"{source} {in_words(question)} ({events})" for (source, question), events in clear.items()]
    listed = ", ".join(parts)
    return f"Nothing was ambiguous at first, so waiting had nothing to add ((event, worker) pairs judged): {listed}."


def certain_panel(result: CommitWait, question: str) -> Panel:
    """Show the share of what was ambiguous at first that is certain later, and the violations among it."""
    title = f"{in_words(question)}: certain after waiting".capitalize()
    by_delay = {(answer.source, asked(answer)[1]): answer for answer in result if asked(answer)[0] == question}
    delays = sorted({delay for _, delay in by_delay})
    series = []
    for source in dict.fromkeys(source for source, _ in by_delay):
        answers = [by_delay.get((source, delay)) for delay in delays]
        series.append(steps.Series(source, INTERVAL, tuple(_certain(answer) for answer in answers)))
    nothing = f"nothing was ambiguous at first, or re-measured, of {in_words(question)}"
    places = [f"{delay:g}" for delay in delays]
    return steps.panel(title, places, series, "delay (s)", "ambiguous pairs", nothing)


def _certain(answer: Answer | None) -> tuple[dots.Mark, ...]:
    if answer is None:
        return ()
    certain, violated = answer.rates["certain_after"], answer.rates.get("violated_after")
    wrong = () if violated is None else (dots.Mark("violated", violated, dots.WRONG),)
    return (dots.Mark("certain", certain), *wrong)


def widths_panel(result: CommitWait) -> Panel:
    """Show half-widths: of the readings at receipt, and what is claimed then and at each delay; bar to p95.

    Claims are not of one kind: a bound is aged, a sigma only where the law is the claim's. Readings can be compared.
    """
    title = "Half-width: read, and claimed"
    widths = [width for width in result.widths if width.half_width_ms.median is not None]
    if not widths:
        return Panel(title, "no uncertainty was re-measured in this run")
    delays = sorted({width.delay_s for width in widths})
    by_source: dict[str, list[rates.Spread]] = {}
    said = []
    for source in dict.fromkeys(width.source for width in widths):
        own = {width.delay_s: width for width in widths if width.source == source}
        none = rates.Spread(0, None, None, None)
        first = next(iter(own.values()))
        claimed = [own[delay].half_width_ms if delay in own else none for delay in delays]
        by_source[source] = [first.read_half_width_ms, *claimed]
        said.append(f"{dots.name(source, INTERVAL)} claims {first.claim}, {own[min(own)].half_width_ms.count:,} claims")
    places = ["read", *("at once" if delay == 0 else f"+{delay:g} s" for delay in delays)]
    says = f"median, bar to the 95th percentile (µs); {'; '.join(said)}"

    def draw_widths(axes: Axes) -> None:
        spreads.grouped(axes, places, by_source, US_PER_MS)
        axes.set_ylabel("half-width (µs)")
        axes.set_xlabel("of the reading, then as claimed after a wait")

    return Panel(title, says, draw_widths)


def ratios_panel(result: CommitWait) -> Panel:
    """Show the distribution of the time real commit-waits took, over twice the bound, and what was out of order."""
    own = [curves.of_values(wait.source, dots.name(wait.source, INTERVAL), wait.ratios) for wait in result.waits]
    nothing = "no real commit-wait was released in this run"
    said = []
    for wait in result.waits:
        name, order = dots.name(wait.source, INTERVAL), wait.consistency.violated
        early = "not evaluable" if wait.violations is None else dots.Mark("", wait.violations).counts
        said.append(f"{name} released too early {early}, out of order {dots.Mark('', order).counts}")
    what, of = "time held / (2 · bound)", "released waits"
    panel = curves.panel("Commit-wait: time held", own, what, "", of, nothing)
    return replace(panel, says=f"{panel.says}; {'; '.join(said)}") if panel.draw or panel.line else panel


def draw(result: CommitWait) -> Sheet:
    """Return the figure."""
    questions = _most_ambiguous(result) or [CAUSALITY]
    certain = (certain_panel(result, question) for question in questions)
    return Sheet(
        "Commit-wait: does waiting make ambiguous events certain, and what does it cost?",
        (*certain, widths_panel(result), ratios_panel(result)),
        "Dark diamonds: certain, but violated; strokes: 95 % intervals",
    )


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
    count=count,
    add=add,
    beside=True,
)
