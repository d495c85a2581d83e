"""Windows as they are shown: agreement by width, why workers disagree, and what the judges say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.figures import shares, style
from analysis.figures.bars import clock_handles, grouped, legend, percent_axis
from analysis.questions import ordering, windows
from analysis.questions.judges import TRUTH
from analysis.questions.windows import shared
from analysis.run.table import INTERVAL, POINT
from analysis.tables import NOT_EVALUABLE, POINT_CLOCK, Grid, share, table
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def points_panel(axes: Axes, result: Windows) -> None:
    """Draw the share of events whose receipts all workers put into the same window."""
    _panel(axes, result, "Same window (point estimates)", POINT, "agreement")


def provable_panel(axes: Axes, result: Windows) -> None:
    """Draw the share of events whose window all workers can prove to be the same."""
    _panel(axes, result, "Provably the same window", INTERVAL, "provable_agreement")
    rates = [answer.rates["contradictions"] for answer in result.of(clock=INTERVAL)]
    if bounded := sum(rate.denominator for rate in rates):
        contradictions = sum(rate.numerator for rate in rates)
        axes.set_xlabel(f"window width (ms)\ncontradictions: {contradictions} of {bounded}")


def _panel(axes: Axes, result: Windows, title: str, clock: str, rate: str) -> None:
    axes.set_title(title)
    if len(result.workers) < 2:
        style.say(axes, f"not evaluable: needs two workers with data, this run has {len(result.workers)}")
        return
    series = []
    for source in result.sources:
        answers = result.of(source=source, clock=clock)
        if clock == POINT or any(answer.evaluable for answer in answers):
            series.append((source, clock == POINT, [answer.rates[rate] for answer in answers]))
    if not series:
        style.say(axes, "not evaluable: no event has an interval at every worker that received it")
        return
    grouped(axes, result.subjects, series)
    percent_axis(axes, "events")
    axes.set_xlabel("window width (ms)")


def causes_panel(axes: Axes, result: Windows) -> None:
    """Draw why point indices differ, by the judge: the windows really do, nobody knows, or the clocks caused it."""
    answers = result.of(clock=POINT)
    judge = judged.most_decisive(answers)
    axes.set_title(judged.by(judge, "Why windows differ"))
    rows = []
    for answer in answers:
        if judge in answer.counts.truths:
            total, differ, by_clocks = windows.disagreements(answer, judge)
            rest = total - differ - by_clocks
            parts = ((differ, shares.FULL), (rest, shares.PALE), (by_clocks, shares.BLACK))
            rows.append(shares.Row(f"{style.label(answer.source)}, {answer.subject} ms", answer.source, True, parts))
    some = [row for row in rows if any(number for number, _ in row.parts)]
    left_out = f"; {len(rows) - len(some)} of {len(rows)} clocks and widths have none" if len(some) < len(rows) else ""
    nothing = "no disagreement to explain" if rows else judged.NO_JUDGE
    shares.draw(axes, some, f"events with unequal windows (%){left_out}", nothing)


def draw(result: Windows) -> Figure:
    """Draw the figure."""
    with style.context():
        agreement = [answer.rates["agreement"] for answer in result.of(clock=POINT)]
        unequal = sum(rate.denominator > rate.numerator for rate in agreement)
        below = 0.55 + 0.17 * max(3, unequal)
        figure = style.canvas(style.PAGE_IN, 2.0 + below + 0.9)
        left, right, bottom = style.two_over_one(figure, [2.0, below])
        points_panel(left, result)
        provable_panel(right, result)
        causes_panel(bottom, result)
        bounded = dict.fromkeys(answer.source for answer in result.of(clock=INTERVAL) if answer.evaluable)
        points = [(source, True) for source in result.sources]
        clocks = clock_handles([*points, *((source, False) for source in bounded)])
        legend(figure, [*clocks, *shares.handles("truly different", "unknown", "caused by the clocks")])
    return figure


ANALYSIS: Final = Analysis(
    name=windows.QUESTION,
    title="Windows",
    compute=lambda context: windows.compute(context.table, context.window_sizes_ms, context.judges),
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
