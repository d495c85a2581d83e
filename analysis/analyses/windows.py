"""Windows as they are shown: agreement by width, why workers disagree, and what the judges say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.by_event.table import INTERVAL, POINT
from analysis.figures import dots, steps
from analysis.figures.sheet import Panel, Sheet
from analysis.questions import ordering, windows
from analysis.questions.judges import TRUTH
from analysis.questions.windows import shared
from analysis.stats import rates
from analysis.tables import NOT_EVALUABLE, POINT_CLOCK, Grid, share, table
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from analysis.questions.answers import Answer, Judgement
    from analysis.questions.windows import Windows

Clocks = tuple["Answer", "Answer"]  # of one source and width, as points and as intervals


def by_width(result: Windows) -> list[Clocks]:
    """Return the answers of every source and width."""
    return [
        (points, intervals)
        for source in result.sources
        for width in result.subjects
        for points, intervals in [result.of(source=source, subject=width)]
    ]


def _of_intervals(name: str) -> Callable[[Clocks], str]:
    return lambda clocks: POINT_CLOCK if clocks[1].source == records.SYSTEM else share(clocks[1].rates[name])


def _caused(clocks: Clocks) -> str:
    tallies = clocks[0].counts.tallies
    if not tallies:
        return NOT_EVALUABLE
    by_clocks, true = tallies["clock_disagreements"], tallies["true_windows_differ"]
    return f"{by_clocks} by clocks, {true} true ({tallies['truth_known']} judged)"


COLUMNS: Final[Mapping[str, Callable[[Clocks], Any]]] = {
    "source": lambda clocks: clocks[0].source,
    "width (ms)": lambda clocks: clocks[0].subject,
    "agreement": lambda clocks: share(clocks[0].rates["agreement"]),
    "provable": _of_intervals("provable_agreement"),
    "contradictions": _of_intervals("contradictions"),
    "disagreements": _caused,
    "events not evaluable": lambda clocks: shared(clocks[0]) - clocks[0].evaluable,
}


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return agreement by width, why workers disagree, and what the judges say of all but what is right throughout."""
    result: Windows = done[ANALYSIS.name]
    answers = _bounded(result)
    return {
        "windows": table(by_width(result), COLUMNS),
        "disagreements": Grid.of(
            ("about", "source", "clock", "by", "disagreements", "truly different", "caused by the clocks", "unknown"),
            [*disagreements(result), *judged.order_disagreements(done[ordering.QUESTION])],
            "",
        ),
        "windows_all_right": _all_right(answers),
        "windows_judged": judged.grid(
            ("source", "width (ms)", "clock"),
            [((a.source, a.subject, a.clock), [by for by in a.judgements if not _right(by)]) for a in answers],
        ),
    }


def disagreements(result: Windows) -> list[tuple[Any, ...]]:
    """Return why point indices differ, by each judge that can judge."""
    rows = []
    for answer in result.of(clock=POINT):
        for judgement in answer.judgements:
            if judgement.judge in answer.counts.truths:
                counts = windows.disagreements(answer, judgement.judge)
                place = (f"window {answer.subject} ms", answer.source, POINT, judged.WORDS[judgement.judge])
                rows.append((*place, *judged.causes(*counts)))
    return rows


def _bounded(result: Windows) -> list[Answer]:
    """Return the answers, the intervals only of clocks that have any."""
    return [answer for answer in result if answer.clock == POINT or answer.evaluable]


def _right(judgement: Judgement) -> bool:
    """Tell whether everything was decided, and rightly."""
    if judgement.reason:
        return False
    right, decided = judgement.rates["right"], judgement.rates["decided_by_judge"]
    return right.numerator == right.denominator == decided.denominator > 0


def _all_right(answers: Iterable[Answer]) -> str:
    """Return, in a sentence, which windows were decided and right throughout, by every judge that could tell."""
    clean: dict[tuple[str, str, str], list[str]] = {}
    for answer in answers:
        for judgement in answer.judgements:
            if _right(judgement):
                key = (answer.source, answer.clock, judged.WORDS[judgement.judge])
                clean.setdefault(key, []).append(answer.subject)
    parts = [f"{source} {clock} by the {judge} ({', '.join(of)} ms)" for (source, clock, judge), of in clean.items()]
    return f"Every event decided, and every decision right: {'; '.join(parts)}." if parts else ""


def points_panel(result: Windows) -> Panel:
    """Show the share of events whose receipts all workers put into the same window."""
    title = "Same window, by point estimates"
    return _panel(result, title, POINT, lambda answer: (dots.Mark("same", answer.rates["agreement"]),))


def provable_panel(result: Windows) -> Panel:
    """Show the share of events whose window all workers can prove to be the same, and contradictions."""

    def marks(answer: Answer) -> tuple[dots.Mark, ...]:
        proved, contradictions = answer.rates["provable_agreement"], answer.rates["contradictions"]
        return dots.Mark("provable", proved), dots.Mark("contradictions", contradictions, dots.WRONG)

    return _panel(result, "Provably the same window", INTERVAL, marks)


def _panel(result: Windows, title: str, clock: str, marks: Callable[[Answer], tuple[dots.Mark, ...]]) -> Panel:
    if len(result.workers) < 2:
        return Panel(title, f"not evaluable: it needs two workers with data, this run has {len(result.workers)}")
    series = [
        steps.Series(source, clock, tuple(marks(answer) for answer in result.of(source=source, clock=clock)))
        for source in result.sources
    ]
    nothing = "not evaluable: no event has such a reading at every worker that received it"
    places = [f"{int(width):,}" for width in result.subjects]
    return steps.panel(title, places, series, "window width (ms)", "events", nothing)


def causes_panel(result: Windows) -> Panel:
    """Show why point indices differ, by the judge: because windows really do, or the clocks caused it."""
    answers = result.of(clock=POINT)
    judge = judged.most_decisive(answers)
    title = f"Unequal windows: why, by {judged.NAMES[judge]}" if judge else "Unequal windows: why"
    rows = []
    for answer in answers:
        if judge in answer.counts.truths:
            total, differ, by_clocks = windows.disagreements(answer, judge)
            shares = (
                dots.Mark("truly different", rates.rate(differ, total)),
                dots.Mark("caused by clocks", rates.rate(by_clocks, total), dots.WRONG),
            )
            rows.append(dots.Row(answer.source, POINT, shares, f"{int(answer.subject):,} ms"))
    some = [row for row in rows if row.evaluable]
    nothing = "no disagreement to explain" if rows else judged.NO_JUDGE
    left = f"{len(rows) - len(some)} of {len(rows)} clocks and widths have none" if len(some) < len(rows) else ""
    return dots.panel(title, some, "events with unequal windows", nothing, note=left)


def draw(result: Windows) -> Sheet:
    """Return the figure."""
    return Sheet(
        "Windows: do all workers put an event into the same one?",
        (points_panel(result), provable_panel(result), causes_panel(result)),
        "Hollow: as points; full and ±: as intervals; dark diamonds: wrong; strokes: 95 % intervals",
    )


ANALYSIS: Final = Analysis(
    name=windows.QUESTION,
    title="Windows",
    count=lambda part: dict(windows.count(part.table, part.judges, part.window_sizes_ms)),
    compute=lambda context: windows.answer(context.table, context.counted[windows.QUESTION].items(), context.judges),
    statistics=windows.Windows.as_statistics,
    file=windows.STATISTICS_FILE,
    texts=texts,
    figure="window_assignment",
    draw=draw,
    rates=(
        Place("sources/{source}/{subject}/points_against/{ground_truth}/{metric}", clock=POINT),
        Place("sources/{source}/{subject}/intervals_against/{ground_truth}/{metric}", clock=INTERVAL),
        Place(
            "sources/{source}/{subject}/disagreements/{ground_truth}/{metric}",
            question="window_disagreements",
            clock=POINT,
        ),
        Place("sources/{source}/{subject}/truth/{metric}", ground_truth=TRUTH),
        Place("sources/{source}/{subject}/{metric=agreement|not_evaluable_events}", clock=POINT),
        Place("sources/{source}/{subject}/{metric}", clock=INTERVAL),
    ),
    cited=(
        "sources/*/*/agreement",
        "sources/*/*/provable_agreement",
        "sources/*/100/disagreements/*/disagreements",
        "sources/*/100/disagreements/*/true_windows_differ",
        "sources/*/100/disagreements/*/caused_by_clocks",
    ),
    windows=True,
)
