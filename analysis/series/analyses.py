"""The analyses of a run without events: courses and agreement, and what the house judges of clocks where it can."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from analysis import reference as reference_by_probes
from analysis.analyses import clock_quality
from analysis.analyses import reference as reference_analysis
from analysis.analyses.analysis import Analysis, Context, Place, Results
from analysis.checks import validity
from analysis.clocks import quality
from analysis.clocks import standards as judged_by
from analysis.questions import judges
from analysis.series import agreement, course, standards, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.by_event.table import Table
    from analysis.clocks.quality import ClockQuality
    from analysis.series.agreement import Agreement
    from analysis.series.course import Course
    from analysis.series.timeline import Known
    from analysis.tables import Grid

COURSES: Final = "series"
AGREEMENT: Final = "agreement"
NO_STANDARD: Final = {judged_by.NOTHING.name, judged_by.ORIGIN.name}


@dataclass(frozen=True)
class Courses:
    """Every course, and what is known of offsets without the sources: see ``standards``."""

    courses: tuple[Course, ...]
    truths: dict[str, Known]
    differences: tuple[Course, ...]
    by_probes: dict[str, Known]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{source: {node: …}}``."""
        sources: dict[str, dict[str, Any]] = {}
        for of_source in self.courses:
            sources.setdefault(of_source.source, {})[of_source.node_id] = of_source.as_dict()
        return sources


def _courses(context: Context) -> Courses:
    courses = course.of(context.table)
    flights = context.judges[0].flights if context.reference.evaluable else None
    return Courses(courses, standards.truths(context.table), *standards.relative(context.table, courses, flights))


def _quality(context: Context) -> ClockQuality:
    """Judge every clock; nothing was sent, so that no reading can be before the one it answers."""
    result = quality.of_nodes(
        context.table, [clock_quality.of_node(context, node_id) for node_id in context.table.nodes]
    )
    return replace(result, clocks=tuple(replace(clock, provable_misses=None) for clock in result.clocks))


def _coverage(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    result: ClockQuality = done[clock_quality.ANALYSIS.name]
    return {"clocks_in_words": clock_quality.judged_against(result), "coverage": tables.coverage(result)}


QUALITY: Final = replace(clock_quality.ANALYSIS, compute=_quality, texts=_coverage)
ANALYSES: Final[tuple[Analysis, ...]] = (
    reference_analysis.ANALYSIS,
    Analysis(
        name=COURSES,
        title="Offsets over time",
        compute=_courses,
        statistics=Courses.as_statistics,
        file="series_stats.json",
        texts=lambda done: tables.courses(done[COURSES].courses),
        cited=("*/*/offset_ms/median", "*/*/half_width_ms/median", "*/*/span_s"),
    ),
    Analysis(
        name=AGREEMENT,
        title="Agreement",
        compute=lambda context: agreement.of(context.done[COURSES].courses),
        statistics=agreement.Agreement.as_statistics,
        file="agreement_stats.json",
        texts=lambda done: tables.agreement(done[AGREEMENT]),
        rates=(
            Place("pairs/{subject}/{source}/{metric}"),
            Place("all/{subject}/{metric}", question="agreement_of_all"),
        ),
        needs=(COURSES,),
    ),
    QUALITY,
    clock_quality.AGAINST_TRUTH,
)


def compute(table: Table) -> Results:
    """Compute everything about a run without events."""
    done: dict[str, Any] = {}
    built = reference_by_probes.build(table.run)
    context = Context(table, built, judges.of(table, built), (), done)
    for analysis in ANALYSES:
        done[analysis.name] = analysis.compute(context)
    kept = ANALYSES if judged(done[clock_quality.ANALYSIS.name]) else tuple(
        analysis for analysis in ANALYSES if analysis not in (QUALITY, clock_quality.AGAINST_TRUTH)
    )  # fmt: skip
    if not built.evaluable:
        kept = tuple(analysis for analysis in kept if analysis is not reference_analysis.ANALYSIS)
    findings = validity.with_clocks(validity.find(table.run, (), built), done[clock_quality.ANALYSIS.name])
    return Results(table, kept, done, findings)


def judged(quality: ClockQuality) -> bool:
    """Tell whether any source could be judged by a standard that no source had a hand in."""
    return any(clock.abs_error_us.count and clock.standard not in NO_STANDARD for clock in quality.clocks)


def courses_of(results: Results) -> Courses:
    """Return the courses of a run that was computed."""
    courses: Courses = results.done[COURSES]
    return courses


def agreement_of(results: Results) -> Agreement:
    """Return the agreement of a run that was computed."""
    found: Agreement = results.done[AGREEMENT]
    return found
