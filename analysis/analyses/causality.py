"""Causality as it is shown: verdicts per worker and source, and what the judges say of them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

from analysis.analyses import judged
from analysis.analyses.analysis import Analysis, Place
from analysis.by_event.table import INTERVAL, POINT
from analysis.figures import dots
from analysis.figures.sheet import Panel, Sheet
from analysis.questions import causality
from analysis.questions.causality import ADVANCE
from analysis.questions.decisions import ALL
from analysis.tables import POINT_CLOCK, counted, number, share, table
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def _proved(answer: Answer) -> tuple[dots.Mark, ...]:
    proved, violated = answer.rates["proved"], answer.rates["violated"]
    return dots.Mark("proved", proved), dots.Mark("violated", violated, dots.WRONG)


def _violated(answer: Answer) -> tuple[dots.Mark, ...]:
    return (dots.Mark("violated", answer.rates["violated"], dots.WRONG),)


def intervals_panel(result: Causality) -> Panel:
    """Show which share of the events the intervals prove to be received after they were sent, and which before."""
    nothing = "no source has an interval at both ends of any event"
    return _by_worker(result, "As intervals: sent before received", INTERVAL, _proved, nothing, "ambiguous")


def points_panel(result: Causality) -> Panel:
    """Show which share of the events the point estimates have received before they were sent."""
    title, nothing = "As points: received before sent", "no source has a reading at both ends of any event"
    return _by_worker(result, title, POINT, _violated, nothing, "")


def _by_worker(
    result: Causality, title: str, clock: str, marks: Callable[[Answer], tuple[dots.Mark, ...]], nothing: str, rest: str
) -> Panel:
    rows, said = [], []
    for source in result.sources:
        own = [answer for worker in result.workers for answer in result.of(source=source, clock=clock, subject=worker)]
        if clock == POINT or any(answer.evaluable for answer in own):
            rows += judged.each_or_all(own, result.at(source, clock, ALL), marks)
            said.append(judged.worst(own, lambda answer: marks(answer)[0], most=clock == POINT, of="workers"))
    return dots.panel(
        title, rows, "events at a worker", nothing, rest=rest, note="; ".join(part for part in said if part)
    )


def decided_panel(result: Causality) -> Panel:
    """Show, per clock and of all workers together, what was decided, and what of it is right and wrong."""
    return judged.panel("Decided, right, wrong", _shown(result), "(event, worker) pairs", decided=True)


def draw(result: Causality) -> Sheet:
    """Return the figure."""
    return Sheet(
        "Causality: do the clocks see that every message was received after it was sent?",
        (points_panel(result), intervals_panel(result), decided_panel(result)),
        "Hollow: as points; full and ±: as intervals; dark diamonds: wrong; strokes: 95 % intervals",
    )


ANALYSIS: Final = Analysis(
    name=causality.QUESTION,
    title="Causality: received after sent",
    count=lambda part: {key: counts.kept(part.keep) for key, counts in causality.count(part.table, part.judges)},
    compute=lambda context: causality.answer(
        context.table, context.counted[causality.QUESTION].items(), context.judges
    ),
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
