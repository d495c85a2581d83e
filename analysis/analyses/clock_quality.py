"""Clock quality as it is shown: coverage, width and error, calibration, stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analysis.analyses.analysis import Analysis, Place
from analysis.by_event import utc
from analysis.by_event.table import POINT as POINT_CLOCK
from analysis.checks.finding import some
from analysis.clocks import quality, standards
from analysis.clocks.calibration import HELD, NOT_CONTRADICTED
from analysis.clocks.quality import half
from analysis.figures import clock_quality as figure
from analysis.questions.judges import TRUTH
from analysis.tables import NONE, Grid, between, number, share, share_between
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.analyses.analysis import Context
    from analysis.clocks.calibration import Between, Kappa
    from analysis.clocks.parts import Part
    from analysis.clocks.quality import ClockQuality, Quality
    from analysis.clocks.stability import Bounded

LAWS: Final = {records.DRIFT_LIMIT: "by the drift limit", records.AS_CLAIMED: "as the clock claims"}
TAUS_SHOWN: Final = (0.1, 1.0, 10.0, 100.0)


def of_node(context: Context, node_id: str) -> dict[str, Quality]:
    """Judge every source on one node."""
    probed = context.judges[0]
    flights_of = (lambda part: probed.of_part(part).flights) if context.reference.evaluable else None
    return quality.of_node(context.table, node_id, flights_of)


def compute(context: Context) -> ClockQuality:
    """Return every source on every node, judged."""
    return quality.of_nodes(context.table, context.of_nodes[ANALYSIS.name])


def texts(done: Mapping[str, Any]) -> dict[str, Grid | str]:
    """Return what the clocks were judged against, coverage, width and error, calibration, and stability."""
    result: ClockQuality = done[ANALYSIS.name]
    return {
        "clocks_in_words": judged_against(result),
        "clocks": clocks(result),
        "holdover": holdover(result),
        "parts": parts(result),
        "calibration": calibration(result),
        "stability_note": stability_note(result),
        "stability": deviations(result),
    }


def judged_against(result: ClockQuality) -> str:
    """Return, in a sentence per standard, which nodes were judged against what."""
    by_standard: dict[str, dict[str, None]] = {}
    for clock in result.clocks:
        by_standard.setdefault(clock.standard, {})[clock.node_id] = None
    parts = [f"{some(list(nodes))}: {standard}" for standard, nodes in by_standard.items()]
    return f"What the clocks were judged against: {'; '.join(parts)}.{_what_was_judged(result)}"


def _what_was_judged(result: ClockQuality) -> str:
    """Return, in sentences, which readings were judged as something else than they are, and which were not judged."""
    other: dict[str, dict[str, None]] = {}
    for clock in result.clocks:
        if clock.judged_as:
            other.setdefault(f"For {clock.source}, what was judged is the {clock.judged_as}", {})[clock.node_id] = None
    left = [
        f"{clock.source} at {clock.node_id} {count:,} ({standards.IN_WORDS[reason]})"
        for clock in result.clocks
        for reason, count in clock.left_out.items()
    ]
    sentences = "".join(f" {what} ({some(list(nodes))})." for what, nodes in other.items())
    return sentences + (f" Not judged: {some(left, '; ')}." if left else "")


def clocks(result: ClockQuality) -> Grid:
    """Return coverage, width and error of every source on every node.

    Beside the coverage stands the width of what was judged: where the reference judges, of the difference of two
    readings, which is about twice as wide as one of them. What the judge's own width leaves open is a range.
    """
    rows = []
    for clock in result.clocks:
        width, judged = half(clock.width_us), half(clock.judged_width_us)
        error, least = clock.abs_error_us, clock.least_error_us
        point = clock.kind == POINT_CLOCK
        misses = "" if clock.provable_misses is None else share(clock.provable_misses)
        held = share_between(clock.coverage.contained, clock.coverage.not_missed)
        covered = ("point clock", "point clock") if point else (held, _undecided(clock))
        widths = (number(judged.median) + _judged_as(clock), number(width.median), number(width.p99))
        quantiles = ("median", "p95", "p99", "maximum")
        errors = (between(getattr(least, name), getattr(error, name)) for name in quantiles)
        who = (clock.source, clock.node_id, _claim(clock), share(clock.availability))
        rows.append((*who, *covered, *widths, *errors, misses))
    head = ("source", "node", "claims", "available", "contains the truth", "undecided")
    half_widths = ("half-width judged, median (µs)", "half-width of one reading, median (µs)", "p99")
    return Grid.of((*head, *half_widths, "error median (µs)", "p95", "p99", "max", "cannot both be right"), rows)


def holdover(result: ClockQuality) -> str:
    """Return, in a sentence, by which law the readings of which source and node were held over."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for clock in result.clocks:
        whole = sum(clock.laws.values())
        for law, count in clock.laws.items():
            part = "" if count == whole else f" ({count:,} of {whole:,} readings)"
            nodes.setdefault((law, clock.source), []).append(f"{clock.node_id}{part}")
    said = [f"{source} {LAWS.get(law, law)} at {some(held)}" for (law, source), held in nodes.items()]
    return f"Held over, from the sample to the stamp: {'; '.join(said)}." if said else ""


def parts(result: ClockQuality) -> Grid:
    """Return the two parts of intervals that are made of sigmas, and what the truth says of each."""
    rows = []
    for clock in result.clocks:
        if (both := clock.parts) is None:
            continue
        asymmetry = both.asymmetry_us
        claimed = number(asymmetry.median) if asymmetry.count else "none claimed"
        row = [clock.source, clock.node_id, *_part(both.random), *_part(both.systematic)]
        rows.append((*row[:6], claimed, *row[6:]))
    alone = "{} alone contains the truth"
    head = ("source", "node", "k·sigma, median (µs)", alone.format("k·sigma"), "κ of sigma")
    systematic = ("systematic, median (µs)", "of it asymmetry", alone.format("systematic"), "κ of systematic")
    return Grid.of((*head, *systematic), rows, "")


def _part(part: Part) -> tuple[Any, ...]:
    contained = share_between(part.alone.contained, part.alone.not_missed)
    return number(part.half_width_us.median), contained, NONE if part.kappa is None else _kappa(part.kappa)


def calibration(result: ClockQuality) -> Grid:
    """Return calibration factor, interval score and skill of every source whose intervals could be judged."""
    rows = []
    for clock in result.clocks:
        if clock.kappa is None or clock.skill is None:
            continue
        skill = clock.skill
        held, value = skill.baseline_us, skill.value
        claim = (f"{100 * clock.kappa.level:g} %", _kappa(clock.kappa), _claims(clock.kappa))
        scores = (between(*skill.score_us), NONE if held is None else between(*held))
        worth = "no samples to hold" if value is None else between(*value, 3) + _sign(value)
        penalised = share_between(skill.penalised, skill.may_be_penalised)
        rows.append((clock.source, clock.node_id, *claim, *scores, worth, penalised, clock.kappa.count))
    head = ("source", "node", "claimed level", "κ (95 % interval)", "claims are", "interval score (µs)")
    beside = ("of the last sample held", "skill", "penalised as missed", "events")
    return Grid.of((*head, *beside), rows, "No interval could be judged.")


def stability_note(result: ClockQuality) -> str:
    """Return, in words, what the table of deviations holds, or why there is none."""
    if not deviations(result):
        return "Stability (ADEV, TDEV, MTIE) is not evaluable: no node has errors enough."
    return (
        "How the errors wander. ADEV is overlapping; MTIE is the largest change of the error within τ. Events are not "
        "evenly spaced: each slot takes its first error, none is averaged or filled in, and only the longest run of "
        "filled slots is used. All τ are in `statistics/clock_quality_stats.json`."
    )


def deviations(result: ClockQuality) -> Grid:
    """Return how errors wander, at a few averaging times; all of them are in the statistics."""
    rows = []
    for clock in result.clocks:
        wander = clock.stability
        if wander is None:
            continue
        slots = f"{wander.points} of {wander.slots} at {wander.tau0_s:g} s"
        for wanted in TAUS_SHOWN:
            place = next((place for place, tau in enumerate(wander.tau_s) if wanted <= tau < 2 * wanted), None)
            if place is not None:
                numbers = (_scientific(wander.adev[place]), _us(wander.tdev_s[place]), _us(wander.mtie_s[place]))
                rows.append((clock.source, clock.node_id, f"{wander.tau_s[place]:g}", *numbers, slots))
    head = ("source", "node", "τ (s)", "ADEV", "TDEV (µs)", "MTIE (µs)", "slots used")
    return Grid.of(head, rows, "")


def _judged_as(clock: Quality) -> str:
    if not clock.judged_width_us.count:
        return ""
    return f" ({utc.WITH_ROOT_DISTANCE})" if clock.judged_as else " (difference)" if clock.relative else ""


def _claim(clock: Quality) -> str:
    return clock.kind if clock.level is None or clock.level == 1 else f"{clock.kind}, level {clock.level:g}"


def _undecided(clock: Quality) -> str:
    """Return the share nobody can decide; against an exact truth there is none by definition."""
    return share(clock.coverage.undecided) if clock.relative or not clock.coverage.undecided.denominator else "0"


def _kappa(kappa: Kappa) -> str:
    """Return the factor, or its range where the standard's width leaves one, with the 95 % interval of the whole."""
    if kappa.least is None or kappa.least_low is None:
        return "no finite factor: intervals without width miss"
    if kappa.value is None:
        return f"{kappa.least:.3g} or more (from {kappa.least_low:.3g}): intervals without width may miss"
    factor = f"{kappa.value:.3g}" if kappa.value == kappa.least else f"{kappa.least:.3g} to {kappa.value:.3g}"
    return f"{factor} ({kappa.least_low:.3g} {'or more' if kappa.high is None else f'to {kappa.high:.3g}'})"


def _claims(kappa: Kappa) -> str:
    """Return how the claims did, and what would have shown had they been too narrow."""
    if kappa.claims not in {HELD, NOT_CONTRADICTED}:
        return kappa.claims
    if kappa.could_see is None:
        return f"{kappa.claims} (too few independent trials to see any κ)"
    rare = "" if kappa.unseen_share is None else f" in more than {100 * kappa.unseen_share:.1f} % of the events"
    return f"{kappa.claims} (κ > {kappa.could_see:.2g}{rare} would have shown)"


def _sign(value: Between) -> str:
    return "" if value.least > 0 or value.most < 0 or value.least == value.most else " (sign unknown)"


def _scientific(deviation: Bounded | None) -> str | None:
    if deviation is None:
        return None
    low, high = (f"{value:.2e}" for value in deviation)
    return low if low == high else f"{low} to {high}"


def _us(deviation_s: Bounded | None) -> str:
    return NONE if deviation_s is None else between(1e6 * deviation_s[0], 1e6 * deviation_s[1], 3)


ANALYSIS: Final = Analysis(
    name="clock_quality",
    title="Clock quality",
    of_node=of_node,
    compute=compute,
    statistics=quality.ClockQuality.as_statistics,
    file=quality.STATISTICS_FILE,
    texts=texts,
    figure=quality.FIGURE,
    draw=figure.draw,
    cited=(
        "*/*/coverage_rates/contained",
        "*/*/kappa_bounds",
        "*/*/skill_bounds",
        "*/*/width_us/median",
        "*/*/abs_error_us/median",
    ),
)
AGAINST_TRUTH: Final = Analysis(  # of the same result what the injected truth alone tells
    name="clock_truth",
    title="",
    compute=lambda context: context.done[ANALYSIS.name],
    statistics=quality.ClockQuality.against_truth,
    file=quality.TRUTH_FILE,
    rates=(Place("sources/{source}/{subject}/{metric}", ground_truth=TRUTH),),
    needs=("clock_quality",),
)
