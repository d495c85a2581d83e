"""The tables of the report of a run without events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event.table import POINT
from analysis.series.agreement_figure import worst
from analysis.series.course import QUANTILES, SYSTEM_CLOCK, quantiles
from analysis.tables import NONE, Grid, between, counted, number, share, share_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.clocks.quality import ClockQuality
    from analysis.series.agreement import Agreement, Pair
    from analysis.series.course import Course

MOST_ROWS: Final = 20  # of a table in the report; all are in the statistics
TAUS_SHOWN: Final = 3


def courses(of_sources: Sequence[Course]) -> dict[str, Grid | str]:
    """Return what every source said and when, what its numbers are, and how its offset wanders."""
    shown = of_sources[:MOST_ROWS]
    more = len(of_sources) - len(shown)
    return {
        "courses": Grid.of(
            ("source", "node", "readings", "not there", "over", "every (median)", "gaps: number, longest",
             "offset, median (ms)", "5 to 95 %", "least to most", "half-width, median (ms)", "p95"),
            [_course(course) for course in shown],
        ),
        "courses_more": f"{more} more are in `statistics/series_stats.json`." if more else "",
        "claims": "\n".join(_claims(shown)),
        "wander": _wander(shown),
        "wander_not": _not_stable(shown),
    }  # fmt: skip


def _course(course: Course) -> tuple[Any, ...]:
    offset = quantiles(course.offset_ms)
    span_s = (course.at_ns[-1] - course.at_ns[0]) / 1e9 if course.count else 0.0
    gaps = course.gaps_s
    widths = course.half_width_ms
    stated = course.stated_ms
    half: tuple[Any, Any] = ("none logged" if not len(stated) else f"none; states {_ms(np.median(stated))}", NONE)
    if len(widths):
        half = (_ms(np.median(widths)), _ms(np.percentile(widths, 95)))
    least, p5, median, p95, most = (offset[name] for name in QUANTILES)
    return (
        course.source, course.node_id, f"{course.count:,} of {course.asked:,}", counted(course.unavailable),
        duration(span_s), duration(course.usual_spacing_s),
        f"{len(gaps)}, {duration(float(gaps.max()))}" if len(gaps) else "none",
        _ms(median), f"{_ms(p5)} to {_ms(p95)}", f"{_ms(least)} to {_ms(most)}", *half,
    )  # fmt: skip


def _claims(of_sources: Sequence[Course]) -> list[str]:
    """Return a line per kind of claim: what the offset and the interval of which sources are."""
    by_claim: dict[tuple[str, str, str], list[str]] = {}
    for course in of_sources:
        claims = course.claims
        words = re.sub(rf"(?<!\w){re.escape(course.source)}(?!\w)", "the server", claims.offset)
        by_claim.setdefault((words, claims.interval, claims.clock), []).append(course.source)
    return [
        f"- {', '.join(dict.fromkeys(sources))}: offset {offset}"
        f"{'' if clock == SYSTEM_CLOCK else f', of {clock}'}; interval {interval}."
        for (offset, interval, clock), sources in by_claim.items()
    ]


def _wander(of_sources: Sequence[Course]) -> Grid:
    rows = []
    for course in of_sources:
        wander = course.stability
        if wander is None:
            continue
        usable = [place for place, adev in enumerate(wander.adev) if adev is not None]
        for place in usable[:: max(1, -(-len(usable) // TAUS_SHOWN))]:
            adev, tdev = wander.adev[place], wander.tdev_s[place]
            slots = f"{wander.points} of {wander.slots} of {wander.tau0_s:g} s"
            tdev_ms = NONE if tdev is None else f"{1e3 * tdev[0]:.3g}"
            tau = f"{wander.tau_s[place]:,.6g}"
            rows.append((course.source, course.node_id, tau, f"{adev[0]:.2e}" if adev else NONE, tdev_ms, slots))
    return Grid.of(("source", "node", "τ (s)", "ADEV", "TDEV (ms)", "slots used"), rows[:MOST_ROWS], "")


def _not_stable(of_sources: Sequence[Course]) -> str:
    without = [f"{course.source} at {course.node_id} ({course.why_not_stable})" for course in of_sources
               if course.why_not_stable]  # fmt: skip
    return f"Not evaluable: {'; '.join(without)}." if without else ""


def agreement(found: Agreement) -> dict[str, Grid | str]:
    """Return how far apart the sources are, the worst pairs first, and how many agree at one time."""
    pairs = worst(found)
    shown, never = pairs[:MOST_ROWS], [pair for pair in found.pairs if not pair.count]
    notes = [f"{node}: {reason}." for node, reason in found.reasons.items()]
    if never:
        names = ", ".join(f"{pair.first} / {pair.second} at {pair.node_id}" for pair in never[:3])
        notes.append(f"{len(never)} pairs were {never[0].reason}: {names}{', …' if len(never) > 3 else ''}.")
    if len(pairs) > len(shown):
        notes.append(f"{len(pairs) - len(shown)} more pairs are in `statistics/agreement_stats.json`.")
    if any(pair.references_differ for pair in shown):
        notes.append(
            "*: the two do not refer to one reference (a server, another server, UTC): where their intervals do not "
            "meet, a server may be to blame, and not the source."
        )
    return {
        "pairs": Grid.of(
            ("sources", "node", "compared", "seconds between", "apart, median (ms)", "p95", "most",
             "apart / half-widths together", "intervals meet", "first in second's interval", "second in first's",
             "apart within the stated uncertainty"),
            [_pair(pair) for pair in shown],
            "",
        ),
        "together": Grid.of(
            ("node", "sources", "all intervals meet", "so many meet at most: at how many instants"),
            [(group.node_id, len(group.sources), share(group.all_meet),
              "; ".join(f"{number_}: {count:,}" for number_, count in sorted(group.most_agreeing.items())))
             for group in found.together[:MOST_ROWS]],
            "",
        ),
        "agreement_notes": " ".join(notes),
    }  # fmt: skip


def _pair(pair: Pair) -> tuple[Any, ...]:
    apart = pair.apart_ms
    ratio = number(float(np.median(pair.of_claims)), 2) if len(pair.of_claims) else NONE
    mark = "*" if pair.references_differ else ""
    return (
        f"{pair.first} / {pair.second}{mark}", pair.node_id, f"{pair.count:,}", number(pair.seconds_between.median, 2),
        _ms(apart.median), _ms(apart.p95), _ms(apart.maximum), ratio,
        *(share(rate) if rate.denominator else NONE
          for rate in (pair.meet, pair.first_in_second, pair.second_in_first, pair.within_stated)),
    )  # fmt: skip


def _ms(value: float | None) -> str:
    """Return a number of ms with four digits that count, no more than to the ns."""
    if value is None:
        return NONE
    size = abs(float(value))
    digits = 1 if size >= 1_000 else 2 if size >= 100 else 3 if size >= 1 else 4
    return number(float(value), digits)


def duration(seconds: float) -> str:
    """Return a time in words: 9.3 h, 100 s."""
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.1f} days"
    if seconds >= 2 * 3_600:
        return f"{seconds / 3_600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 300 else f"{seconds:.3g} s"


def coverage(result: ClockQuality) -> Grid:
    """Return how often every source's intervals hold the truth, how wide they are, and how wrong the estimates."""
    rows = []
    for clock in result.clocks[: 2 * MOST_ROWS]:
        point = clock.kind == POINT
        held = "point clock" if point else share_between(clock.coverage.contained, clock.coverage.not_missed)
        half = clock.judged_width_us.median
        kappa = clock.kappa
        factor = NONE if kappa is None else between(kappa.least, kappa.value, 3)
        errors = (
            between(getattr(clock.least_error_us, name), getattr(clock.abs_error_us, name))
            for name in ("median", "p95", "maximum")
        )
        width = number(None if half is None else half / 2)
        rows.append((clock.source, clock.node_id, clock.kind, share(clock.availability), held, width, *errors, factor))
    head = ("source", "node", "claims", "available", "contains the truth", "half-width judged, median (µs)")
    return Grid.of((*head, "error, median (µs)", "p95", "max", "κ"), rows)


def headlines(of_sources: Sequence[Course]) -> list[list[str]]:
    """Return a row per course for a terminal: source, node, readings, time, offset and half-width."""
    rows = []
    for course in of_sources[:MOST_ROWS]:
        cells = _course(course)
        rows.append([str(cells[place]) for place in (0, 1, 2, 4, 7, 10)])
    return rows
