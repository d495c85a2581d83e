"""Clock quality: how often a source answers, how wrong it is, and whether its claims about itself hold.

Per source and node, over the events of a run. Errors are estimate - truth: against the injected truth where the node
has a virtual clock (absolute), else against the probe reference (relative to the coordinator, at the instants the event
was sent to this node and received by it), else there are none, and what needs them says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.clocks import calibration, judging, standards, traces
from analysis.clocks import coverage as coverages
from analysis.clocks import parts as interval_parts
from analysis.clocks import stability as stabilities
from analysis.clocks.misses import Misses, misses
from analysis.stats import histogram, rates
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.arrays import Ints
    from analysis.by_event.table import Table
    from analysis.clocks.clock import Piece
    from analysis.clocks.judging import Judged

STATISTICS_FILE = "clock_quality_stats.json"
TRUTH_FILE = "clock_truth_stats.json"
FIGURE = "clock_quality"
US = 1_000.0


@dataclass(frozen=True)
class Steps:
    """How errors and half-widths are distributed, in us, and so that those of several nodes can be added.

    ``errors``: the greatest |error| the standard allows, ``least_errors`` the smallest. ``judged_halves``: the
    half-width of what was judged, ``halves`` that of one reading.
    """

    errors: histogram.Histogram
    least_errors: histogram.Histogram
    judged_halves: histogram.Histogram
    halves: histogram.Histogram

    def __add__(self, other: Steps) -> Steps:
        return Steps(
            self.errors + other.errors,
            self.least_errors + other.least_errors,
            self.judged_halves + other.judged_halves,
            self.halves + other.halves,
        )


@dataclass(frozen=True)
class Quality:
    """What is known of one source on one node. What could not be judged is None or empty; ``standard`` says why.

    ``width_us``: of the whole interval of one reading. ``judged_width_us``: of the interval that was judged, which is
    that of the difference of two readings where the standard is the reference (``relative``). ``abs_error_us``: the
    greatest error the standard allows, ``least_error_us`` the smallest. ``provable_misses``: events whose readings
    here and at the coordinator cannot both be right. ``judged_as``: what was judged, where not the reading as it is.
    ``left_out``: what could not be judged for what it is about, by reason. ``laws``: how many readings were held over
    by which law. ``parts``: of intervals that are made of sigmas. ``misses``: a finding where they are more than is
    claimed. ``trace``, ``steps``: what figures are drawn from.
    """

    source: str
    node_id: str
    kind: str
    level: float | None
    claimed_level: float | None
    standard: str
    stamps: int
    unavailable: dict[str, int]
    availability: rates.Rate
    width_us: rates.Spread
    relative: bool
    judged_width_us: rates.Spread
    abs_error_us: rates.Spread
    least_error_us: rates.Spread
    coverage: coverages.Coverage
    kappa: calibration.Kappa | None
    skill: calibration.Skill | None
    reliability: tuple[coverages.Rung, ...]
    by_age: tuple[coverages.AgeBin, ...]
    stability: stabilities.Deviations | None
    provable_misses: rates.Rate | None
    less_error_than: dict[str, rates.Mean]
    misses: Misses
    trace: traces.Trace
    steps: Steps
    judged_as: str
    left_out: Mapping[str, int]
    laws: Mapping[str, int]
    parts: interval_parts.Parts | None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data; plain numbers under the plain names, what they rest on beside them."""
        contained = self.coverage.contained
        low, high = contained.low, self.coverage.not_missed.high
        ci = None if low is None or high is None else [low, high]
        bounds = self.coverage.bounds
        return {
            "judged_against": self.standard,
            **{name: getattr(self, name) for name in ("kind", "level", "claimed_level", "stamps")},
            "availability": self.availability.value,
            "availability_rate": self.availability.as_dict(),
            "unavailable": self.unavailable,
            "coverage": contained.value if bounds is not None and bounds[0] == bounds[1] else None,
            "coverage_bounds": None if bounds is None else list(bounds),
            "coverage_ci": ci,
            "coverage_rates": self.coverage.as_dict(),
            "provable_misses": None if self.provable_misses is None else self.provable_misses.as_dict(),
            "width_us": self.width_us.as_dict(),
            "held_over_by": dict(self.laws),
            "parts": None if self.parts is None else self.parts.as_dict(),
            "judged": self.judged_as or ("difference to the coordinator's reading" if self.relative else "reading"),
            "not_judged": dict(self.left_out),
            "judged_width_us": self.judged_width_us.as_dict(),
            "abs_error_us": self.abs_error_us.as_dict(),
            "abs_error_at_least_us": self.least_error_us.as_dict(),
            "kappa": self.kappa.value if self.kappa is not None and self.kappa.value == self.kappa.least else None,
            "kappa_bounds": None if self.kappa is None else [self.kappa.least, self.kappa.value],
            "kappa_detail": None if self.kappa is None else self.kappa.as_dict(),
            "skill": None if self.skill is None else calibration.exactly(self.skill.value),
            "skill_bounds": None if self.skill is None else calibration.bounds(self.skill.value),
            "skill_detail": None if self.skill is None else self.skill.as_dict(),
            "reliability": [{"claimed": rung.claimed} | rung.coverage.as_dict() for rung in self.reliability],
            "coverage_by_age": [
                {"from_ms": bin_.from_ms, "to_ms": bin_.to_ms} | bin_.coverage.as_dict() for bin_ in self.by_age
            ],
            "stability": None if self.stability is None else self.stability.as_dict(),
            "abs_error_minus_us": {other: mean.as_dict() for other, mean in self.less_error_than.items()},
        }


@dataclass(frozen=True)
class ClockQuality:
    """Every source on every node, by source and then by node."""

    clocks: tuple[Quality, ...]

    @property
    def by_node(self) -> list[Quality]:
        """Return the same by node and then by source, each in the order of its first."""
        nodes = list(dict.fromkeys(clock.node_id for clock in self.clocks))
        return sorted(self.clocks, key=lambda clock: nodes.index(clock.node_id))

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{source: {node: …}}``."""
        sources: dict[str, dict[str, Any]] = {}
        for clock in self.clocks:
            sources.setdefault(clock.source, {})[clock.node_id] = clock.as_dict()
        return sources

    def against_truth(self) -> dict[str, Any]:
        """Return what ``clock_truth_stats.json`` promises: the same, as far as the injected truth alone tells."""
        known = any(clock.standard == standards.INJECTED.name for clock in self.clocks)
        sources: dict[str, dict[str, Any]] = {}
        for clock in self.clocks:
            absolute = clock.standard == standards.INJECTED.name
            sources.setdefault(clock.source, {})[clock.node_id] = {
                **{name: getattr(clock, name) for name in ("kind", "level", "stamps")},
                "unavailable": sum(clock.unavailable.values()),
                "contained": (clock.coverage.contained if absolute else rates.rate(0, 0)).as_dict(),
                "half_width_us": half(clock.width_us).as_dict(),
                "abs_error_us": (clock.abs_error_us if absolute else rates.Spread(0, None, None, None)).as_dict(),
            }
        reference = "injected truth of virtual clocks" if known else "none: no node of this run had a virtual clock"
        return {"reference": reference, "sources": sources}


def half(width: rates.Spread) -> rates.Spread:
    """Return the spread of half-widths, given that of widths."""
    values = (None if value is None else value / 2 for value in (width.median, width.p95, width.maximum, width.p99))
    return rates.Spread(width.count, *values)


def compute(table: Table, flights_of: standards.FlightsOf | None = None) -> ClockQuality:
    """Judge every source on every node of a run; ``flights_of``: how long events were under way for sure, by part."""
    return of_nodes(table, [of_node(table, node_id, flights_of) for node_id in table.nodes])


def of_nodes(table: Table, nodes: Sequence[Mapping[str, Quality]]) -> ClockQuality:
    """Return what was judged of each node, by source, together."""
    return ClockQuality(tuple(by_source[source] for source in table.sources for by_source in nodes))


def of_node(table: Table, node_id: str, flights_of: standards.FlightsOf | None) -> dict[str, Quality]:
    """Judge every source on one node, by its name."""
    judged = judging.of_node(table, node_id, flights_of)
    return {source: _quality(own, table.facts.first_sent_ns) for source, own in judged.items()}


def misses_of(table: Table, flights_of: standards.FlightsOf | None) -> Iterator[Misses]:
    """Yield how often each clock's intervals miss the truth, and nothing else of it, node by node."""
    for node_id in table.nodes:
        for judged in judging.of_node(table, node_id, flights_of).values():
            yield misses(judged, partial(calibration.kappa, judged.clock))


def _quality(judged: Judged, first_sent_ns: int) -> Quality:
    clock = judged.clock
    coverage, kappa = coverages.coverage(clock), calibration.kappa(clock)
    level = judged.level if judged.kind == records.PROBABILISTIC else None
    worst = clock.spread(_greatest, US)
    return Quality(
        source=judged.source,
        node_id=judged.node_id,
        kind=judged.kind,
        level=judged.level,
        claimed_level=clock.level,
        standard=judged.standard,
        stamps=judged.stamps,
        unavailable=judged.unavailable,
        availability=judged.availability,
        width_us=clock.spread(_width, US),
        relative=clock.relative,
        judged_width_us=clock.spread(_judged_width, US),
        abs_error_us=worst,
        least_error_us=worst if clock.exact else clock.spread(_least, US),
        coverage=coverage,
        kappa=kappa,
        skill=calibration.skill(clock, coverage),
        reliability=coverages.reliability(clock, level) if level is not None else (),
        by_age=coverages.by_age(clock),
        stability=stabilities.stability(lambda: map(_timed, clock.pieces)),
        provable_misses=judged.provable_misses,
        less_error_than=judged.less_error_than,
        misses=misses(judged, lambda: kappa),
        trace=traces.of_errors(clock, first_sent_ns),
        steps=Steps(
            clock.histogram(_greatest, US),
            clock.histogram(_least, US),
            clock.histogram(_judged_width, 2 * US),
            clock.histogram(_width, 2 * US),
        ),
        judged_as=judged.judged_as,
        left_out=judged.left_out,
        laws=judged.laws,
        parts=interval_parts.parts(clock, judged.level),
    )


def _greatest(piece: Piece) -> Ints:
    errors = piece.errors
    greatest: Ints = np.maximum(np.abs(errors.low), np.abs(errors.high))[errors.judged]
    return greatest


def _least(piece: Piece) -> Ints:
    low, high = piece.errors.low[piece.errors.judged], piece.errors.high[piece.errors.judged]
    return np.where((low <= 0) & (high >= 0), 0, np.minimum(np.abs(low), np.abs(high)))


def _width(piece: Piece) -> Ints:
    return piece.beside.width_ns[piece.beside.bounded]


def _judged_width(piece: Piece) -> Ints:
    return (piece.errors.below + piece.errors.above)[piece.errors.bounded]


def _timed(piece: Piece) -> stabilities.Timed:
    """Return the errors at instants that are known."""
    instants = piece.beside.instants
    timed = piece.errors.judged & instants.known
    low, high = (edge[timed].astype(np.float64) for edge in (piece.errors.low, piece.errors.high))
    return stabilities.Timed.between(instants.ns[timed], low, high)
