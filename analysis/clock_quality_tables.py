"""The report's tables of clock quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import clock_quality_standards as standards
from analysis import utc
from analysis.clock_quality import half
from analysis.readings import POINT as POINT_CLOCK
from analysis.tables import markdown, number, share

if TYPE_CHECKING:
    from analysis.clock_quality import ClockQuality, Quality
    from analysis.clock_quality_calibration import Kappa

TAUS_SHOWN = (0.1, 1.0, 10.0, 100.0)


def judged_against(result: ClockQuality) -> str:
    """Return, in a sentence per standard, which nodes were judged against what."""
    by_standard: dict[str, dict[str, None]] = {}
    for one in result.clocks:
        by_standard.setdefault(one.standard, {})[one.node_id] = None
    parts = [f"{', '.join(nodes)}: {standard}" for standard, nodes in by_standard.items()]
    return f"What each node's clocks were judged against: {'; '.join(parts)}.{_what_was_judged(result)}"


def _what_was_judged(result: ClockQuality) -> str:
    """Return, in sentences, which readings were judged as something else than they are, and which were not judged."""
    other: dict[str, dict[str, None]] = {}
    for one in result.clocks:
        if one.judged_as:
            other.setdefault(f"{one.source} as {one.judged_as}", {})[one.node_id] = None
    left = [
        f"{one.source} at {one.node_id} {count:,} ({standards.IN_WORDS[reason]})"
        for one in result.clocks
        for reason, count in one.left_out.items()
    ]
    said = [f" Judged was {what} ({', '.join(nodes)})." for what, nodes in other.items()]
    return "".join(said) + (f" Not judged: {'; '.join(left)}." if left else "")


def clocks(result: ClockQuality) -> str:
    """Return coverage, width and error of every source on every node.

    Beside the coverage stands the width of what was judged: where the reference judges, of the difference of two
    readings, which is about twice as wide as one of them.
    """
    rows = []
    for one in result.clocks:
        width, judged, error = half(one.width_us), half(one.judged_width_us), one.abs_error_us
        point = one.kind == POINT_CLOCK
        misses = "" if one.provable_misses is None else share(one.provable_misses)
        rows.append(
            (
                one.source,
                one.node_id,
                _claim(one),
                share(one.availability),
                "point clock" if point else share(one.coverage.contained),
                "point clock" if point else share(one.coverage.missed),
                "point clock" if point else _undecided(one),
                number(judged.median) + _judged_as(one),
                number(width.median),
                number(width.p99),
                number(error.median),
                number(error.p95),
                number(error.p99),
                number(error.maximum),
                misses,
            )
        )
    head = ("source", "node", "claims", "available", "contained", "missed", "undecided")
    widths = ("half-width judged, median (µs)", "half-width of one reading, median (µs)", "p99")
    return markdown((*head, *widths, "error median (µs)", "p95", "p99", "max", "cannot both be right"), rows)


def calibration(result: ClockQuality) -> str:
    """Return calibration factor, interval score and skill of every source whose intervals could be judged."""
    rows = []
    for one in result.clocks:
        if one.kappa is None or one.skill is None:
            continue
        skill = one.skill
        rows.append(
            (
                one.source,
                one.node_id,
                f"{100 * one.kappa.level:g} %",
                _kappa(one.kappa),
                one.kappa.claims,
                number(skill.score_us),
                number(skill.baseline_us),
                "no samples to hold" if skill.value is None else _interval(skill.value, skill.low, skill.high, 3),
                one.kappa.count,
            )
        )
    head = ("source", "node", "claimed level", "κ (95 % interval)", "claims are", "interval score (µs)")
    beside = ("of the last sample held", "skill (95 % interval)", "events")
    return markdown((*head, *beside), rows, "No interval could be judged.")


def stability(result: ClockQuality) -> str:
    """Return how errors wander, at a few averaging times; all of them are in the statistics."""
    rows = []
    for one in result.clocks:
        found = one.stability
        if found is None:
            continue
        for wanted in TAUS_SHOWN:
            places = [place for place, tau in enumerate(found.tau_s) if wanted <= tau < 2 * wanted]
            if places:
                place = places[0]
                rows.append(
                    (
                        one.source,
                        one.node_id,
                        f"{found.tau_s[place]:g}",
                        _scientific(found.adev[place]),
                        _us(found.tdev_s[place]),
                        _us(found.mtie_s[place]),
                        f"{found.points} of {found.slots} at {found.tau0_s:g} s",
                    )
                )
    head = ("source", "node", "τ (s)", "ADEV", "TDEV (µs)", "MTIE (µs)", "slots used")
    table = markdown(head, rows, "")
    if not table:
        return "Stability (ADEV, TDEV, MTIE) is not evaluable: no node has errors enough."
    note = (
        "How the errors wander. ADEV is overlapping; MTIE is the largest change of the error within τ. Events are not "
        "evenly spaced: each slot takes its first error, none is averaged or filled in, and only the longest run of "
        "filled slots is used. All τ are in `statistics/clock_quality_stats.json`."
    )
    return f"{note}\n\n{table}"


def _judged_as(one: Quality) -> str:
    if not one.judged_width_us.count:
        return ""
    return f" ({utc.WITH_ROOT_DISTANCE})" if one.judged_as else " (difference)" if one.relative else ""


def _claim(one: Quality) -> str:
    return one.kind if one.level is None or one.level == 1 else f"{one.kind}, level {one.level:g}"


def _undecided(one: Quality) -> str:
    """Return the share nobody can decide; against an exact truth there is none by definition."""
    return share(one.coverage.undecided) if one.relative or not one.coverage.undecided.denominator else "0"


def _kappa(kappa: Kappa) -> str:
    """Return the factor, or its range where the standard's width leaves one, with the 95 % interval of the whole."""
    if kappa.least is None or kappa.least_low is None:
        return "no finite factor: intervals without width miss"
    if kappa.value is None:
        return f"{kappa.least:.3g} or more (from {kappa.least_low:.3g}): intervals without width may miss"
    factor = f"{kappa.value:.3g}" if kappa.value == kappa.least else f"{kappa.least:.3g} to {kappa.value:.3g}"
    return f"{factor} ({kappa.least_low:.3g} {'or more' if kappa.high is None else f'to {kappa.high:.3g}'})"


def _interval(value: float, low: float | None, high: float | None, digits: int) -> str:
    beside = "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"
    return f"{value:.{digits}f}{beside}"


def _scientific(value: float | None) -> str | None:
    return None if value is None else f"{value:.2e}"


def _us(value_s: float | None) -> str:
    return number(None if value_s is None else 1e6 * value_s, 3)
