"""Every clock over time: against the truth or the reference; without either, against the sending and other clocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from analysis.analyses.analysis import Analysis, Place
from analysis.by_event.table import INTERVAL, POINT
from analysis.clocks import standards, traces
from analysis.figures import dots, style
from analysis.figures import timeline as figure
from analysis.figures.sheet import Panel, Sheet
from analysis.stats.thinning import MOST_POINTS
from analysis.tables import share, table
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from analysis.analyses.analysis import Context
    from analysis.by_event.table import Table
    from analysis.clocks.quality import ClockQuality
    from analysis.clocks.traces import Trace
    from analysis.tables import Grid

ERROR, FLIGHT, APART = "misses", "received_before_sent", "apart_from"
WHAT: Final = {  # title, and what a cross is
    ERROR: ("reading − {}", "intervals that miss the {}"),  # noqa: RUF001 - a minus
    FLIGHT: ("received − sent, by each clock", "received before it was sent"),  # noqa: RUF001 - a minus
    APART: ("each clock − {}", "intervals that have no instant in common with that of {}"),  # noqa: RUF001 - a minus
}
AXIS: Final = {ERROR: "error", FLIGHT: "under way", APART: "difference"}
MOST_PANELS: Final = 3  # nodes, the worst of many; the statistics have all
NAMED: Final = 5  # of the worst nodes in the caption


@dataclass(frozen=True)
class Course:
    """One source on one node over time. ``kind``: what of it, and so what a contradiction is; ``other``: a source."""

    source: str
    node_id: str
    kind: str
    standard: str
    trace: Trace
    point_clock: bool
    other: str = ""

    @property
    def metric(self) -> str:
        """Return how the statistics call the contradictions."""
        return f"{self.kind}_{self.other}" if self.other else self.kind


Courses = tuple[Course, ...]


def compute(context: Context) -> Courses:
    """Return the errors over time of all sources on all nodes; where nobody judges any, what can be said without."""
    quality: ClockQuality = context.done["clock_quality"]
    judged = tuple(
        Course(clock.source, clock.node_id, ERROR, clock.standard, clock.trace, clock.kind == POINT)
        for clock in quality.clocks
        if clock.trace.points
    )
    return judged or tuple(course for course in _without_a_judge(context.table) if course.trace.points)


def _without_a_judge(readings: Table) -> Iterator[Course]:
    """Yield, per worker, every source's time under way, and the sources' readings against the first that has any."""
    for worker in readings.present:
        for source in readings.sources:
            point = (worker, source) not in readings.facts.bounded
            yield Course(source, worker, FLIGHT, "", traces.of_flights(readings, worker, source), point)
    for node in readings.nodes:
        known = [
            source for source in readings.sources if source != records.SYSTEM and (node, source) in readings.facts.known
        ]
        for source in known[1:]:
            apart = traces.between(readings, node, source, known[0])
            yield Course(source, node, APART, "", apart, (node, source) not in readings.facts.bounded, other=known[0])


def statistics(courses: Courses) -> dict[str, Any]:
    """Return ``{source: {node: {misses | received_before_sent | apart_from_SOURCE: …}}}``, all events counted."""
    counts: dict[str, Any] = {}
    for course in courses:
        of_node = counts.setdefault(course.source, {}).setdefault(course.node_id, {})
        of_node[course.metric] = course.trace.contradictions.as_dict()
    return counts


COLUMNS: Final[Mapping[str, Callable[[Course], Any]]] = {
    "source": lambda course: course.source,
    "node": lambda course: course.node_id,
    "against": lambda course: course.standard or course.other or "the sending",
    "contradictions": lambda course: share(course.trace.contradictions),
}


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return how often every source contradicts what it is held against."""
    return {"timeline": table([c for c in done[ANALYSIS.name] if not c.point_clock or c.kind == FLIGHT], COLUMNS)}


def panels(courses: Courses) -> tuple[Panel, ...]:
    """Return a panel per node, of many the worst; without a judge first the times under way, then source by source."""
    made = [panel for kind in WHAT for panel in _panels([course for course in courses if course.kind == kind])]
    return tuple(made) or (Panel("Over time", "no clock has a reading that could be held against anything"),)


def _panels(courses: Sequence[Course]) -> list[Panel]:
    by_node: dict[str, list[Course]] = {}
    for course in courses:
        by_node.setdefault(course.node_id, []).append(course)
    worst = sorted(by_node, key=lambda node: _badness(by_node[node]), reverse=True)
    chosen = [node for node in by_node if node in worst[:MOST_PANELS]]
    made = [_panel(node, by_node[node]) for node in chosen]
    if len(by_node) > MOST_PANELS:
        named = "; ".join(f"{node} {_counts(by_node[node])}" for node in worst[:NAMED])
        more = (
            f"{made[-1].says}. Shown are {MOST_PANELS} of {len(by_node)} nodes, the worst; the worst {NAMED}: {named}"
        )
        made[-1] = replace(made[-1], says=more)
    return made


def _badness(courses: Sequence[Course]) -> tuple[int, float]:
    """Return how many contradictions there are, and how far the lines go."""
    contradictions = sum(course.trace.contradictions.numerator for course in courses)
    return contradictions, max(course.trace.reach_us for course in courses)


def _counts(courses: Sequence[Course]) -> str:
    can = [course for course in courses if course.trace.contradictions.denominator]
    parts = (f"{_name(course)} {dots.Mark('', course.trace.contradictions).counts}" for course in can)
    return ", ".join(parts) or "no interval"


def _name(course: Course) -> str:
    return dots.name(course.source, POINT if course.point_clock else INTERVAL)


def _panel(node: str, courses: Sequence[Course]) -> Panel:
    """Return the panel of a node; clocks without intervals are left out where others have some, as the caption says.

    Without a judge all clocks say something: that what was received cannot be earlier than what was sent.
    """
    bounded = [course for course in courses if not course.point_clock or course.kind != ERROR]
    shown, first = bounded or courses, courses[0]
    what, cross = WHAT[first.kind]
    against = "injected truth" if first.standard == standards.INJECTED.name else "reference"
    if first.kind == APART:
        against = style.label(first.other)
    lines = [figure.Line(course.source, dots.name(course.source, POINT), course.trace) for course in shown]
    how = f"dark crosses, counted for each clock: {cross.format(against)}"
    if first.trace.standard_us.any():
        how += f"; grey: how wide the {against} is"
    if left := [style.label(course.source) for course in courses if course not in shown]:
        how += f"; not shown, having no interval: {', '.join(left)}"
    if any(course.trace.points > len(course.trace.at_s) for course in shown):
        how += f"; at most {MOST_POINTS:,} points a line, contradictions first"
    return figure.panel(f"{node}: {what.format(against)}", lines, AXIS[first.kind], _counts(shown), how)


def draw(courses: Courses) -> Sheet:
    """Return the figure."""
    says = "Lines: estimates; shaded: the intervals" if any(not course.point_clock for course in courses) else ""
    return Sheet("Every clock over time", panels(courses), says)


ANALYSIS: Final = Analysis(
    name="timeline",
    title="Every clock over time",
    compute=compute,
    statistics=statistics,
    file="timeline_stats.json",
    texts=texts,
    figure="timeline",
    draw=draw,
    rates=(Place("{source}/{subject}/{metric}", unit="share"),),
    needs=("clock_quality",),
)
