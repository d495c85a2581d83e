"""Causality as it is shown: verdicts per worker and source, and what the judges say of them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.figures import shares, style
from analysis.figures.bars import clock_handles, grouped, legend, percent_axis
from analysis.questions import causality
from analysis.questions.causality import ADVANCE
from analysis.questions.decisions import ALL
from analysis.run.table import POINT
from analysis.tables import POINT_CLOCK, counted, number, share, table
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analysis.questions.answers import Answer
    from analysis.questions.causality import Causality
    from analysis.tables import Grid

Clocks = tuple["Answer", "Answer"]  # of one source at one worker, as points and as intervals
VERDICTS: Final = ("proved", "ambiguous", "violated")


def by_worker(result: Causality) -> list[Clocks]:
    """Return the answers of every source at every worker."""
    clocks = product(result.sources, result.workers)
    pairs = [tuple(result.of(source=source, subject=worker)) for source, worker in clocks]
    return [(points, intervals) for points, intervals in pairs]


def _verdict(name: str) -> Callable[[Clocks], str]:
    return lambda clocks: POINT_CLOCK if clocks[1].source == records.SYSTEM else share(clocks[1].rates[name])


COLUMNS: Final[Mapping[str, Callable[[Clocks], Any]]] = {
    "source": lambda clocks: clocks[0].source,
    "worker": lambda clocks: clocks[0].subject,
    **{name: _verdict(name) for name in VERDICTS},
    "violated as points": lambda clocks: share(clocks[0].rates["violated"]),
    "not evaluable": lambda clocks: counted(clocks[1].reasons or clocks[0].reasons),
    "receive − send, median (µs)": lambda clocks: number(clocks[0].spreads[ADVANCE].median),  # noqa: RUF001
}


def _shown(result: Causality) -> list[Answer]:
    """Return the answers of all workers together, the intervals only of clocks that have any."""
    return [answer for answer in result.of(subject=ALL) if answer.clock == POINT or answer.evaluable]


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return the verdicts of every source on every worker, and what the judges say of all workers together."""
    result: Causality = done[ANALYSIS.name]
    rows = [((answer.source, answer.clock), answer.judgements) for answer in _shown(result)]
    return {"causality": table(by_worker(result), COLUMNS), "causality_judged": judged.grid(("source", "clock"), rows)}


def intervals_panel(axes: Axes, result: Causality) -> None:
    """Draw, per worker and source, the shares of proved, ambiguous, violated and not evaluable events."""
    axes.set_title("As intervals: was it sent before it was received?")
    answers = [intervals for _, intervals in by_worker(result) if intervals.source != records.SYSTEM]
    gap = " " if len(answers) > 6 else "\n"
    rows = []
    for answer in answers:
        proved, ambiguous, violated = (answer.rates[name].numerator for name in VERDICTS)
        rest = int(answer.counts.total.sum()) - answer.evaluable
        parts = ((proved, shares.FULL), (ambiguous, shares.PALE), (violated, shares.BLACK), (rest, shares.EMPTY))
        rows.append(shares.Row(f"{answer.subject}{gap}{style.label(answer.source)}", answer.source, False, parts))
    shares.draw(axes, rows, "(event, worker) pairs (%)", "no source with intervals in this run")


def points_panel(axes: Axes, result: Causality) -> None:
    """Draw, per worker and source, the share of events whose point estimates violate causality."""
    axes.set_title("As points: received before sent")
    series = [
        (source, True, [points.rates["violated"] for points, _ in by_worker(result) if points.source == source])
        for source in result.sources
    ]
    grouped(axes, result.workers, series)
    percent_axis(axes, "events violated")


def draw(result: Causality) -> Figure:
    """Draw the figure."""
    with style.context():
        bars = _shown(result)
        top, below = max(2.0, 0.2 * len(by_worker(result))), 0.55 + 0.17 * len(bars)
        figure = style.canvas(style.PAGE_IN, top + below + 0.9)
        left, right, bottom = style.two_over_one(figure, [top, below])
        intervals_panel(left, result)
        points_panel(right, result)
        judge = judged.most_decisive(answer for answer in bars if answer.clock == POINT)
        bottom.set_title(judged.by(judge, "What was decided"))
        shares.draw(bottom, judged.bars(bars, judge), "decided (event, worker) pairs (%)", judged.NO_JUDGE)
        both = shares.handles("proved / right", "ambiguous / unknown", "violated / wrong", "not evaluable")
        legend(figure, [*both, *clock_handles([(source, True) for source in result.sources])])
    return figure


ANALYSIS: Final = Analysis(
    name=causality.QUESTION,
    title="Causality: received after sent",
    compute=lambda context: causality.compute(context.table, context.judges),
    statistics=causality.Causality.as_statistics,
    file=causality.STATISTICS_FILE,
    texts=texts,
    figure="causality_violations",
    draw=draw,
    rates=(
        Place("{metric=received}"),
        Place("sources/{source}/{subject=all}/{clock}/against/{ground_truth}/{metric}"),
        Place("sources/{source}/{subject=all}/{clock}/{metric}"),
        Place("sources/{source}/{subject=all}/{metric}"),
        Place("sources/{source}/workers/{subject}/{clock}/against/{ground_truth}/{metric}"),
        Place("sources/{source}/workers/{subject}/{clock}/{metric}"),
        Place("sources/{source}/workers/{subject}/{metric}"),
    ),
    cited=(
        "received",
        "sources/*/all/points/violated",
        "sources/*/all/intervals/proved",
        "sources/*/all/intervals/ambiguous",
        "sources/*/all/intervals/violated",
        "sources/*/all/intervals/decided",
    ),
)
