"""Clock quality: how often a source answers, how wrong it is, and whether its claims about itself hold.

Per source and node, over the events of a run. Errors are estimate - truth: against the injected truth where the node
has a virtual clock (absolute), else against the probe reference (relative to the coordinator, at the instants the event
was sent to this node and received by it), else there are none, and what needs them says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.clocks import baseline, calibration, standards, traces
from analysis.clocks import claims as row_data
from analysis.clocks import coverage as coverages
from analysis.clocks import parts as interval_parts
from analysis.clocks import stability as stabilities
from analysis.clocks.misses import Misses, misses, provable_misses
from analysis.run import scopes, utc
from analysis.run.joining import joined
from analysis.run.scopes import ABOUT_THE_SERVER
from analysis.stats import histogram, rates
from analysis.stats.dependence import Dependence, dependence, segments_of
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analysis.arrays import Bools, Floats, Ints
    from analysis.clocks.standards import Errors
    from analysis.run.event_rows import Instants
    from analysis.run.table import Readings, Table

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
    judged: dict[str, Quality] = {}
    errors: dict[str, _Compared] = {}
    for source in table.sources:  # one after another: of a long run each takes much memory
        data = _of_node(table, node_id, (source,), flights_of)[source]
        judged[source] = _quality(table, data)
        errors[source] = _Compared(data.errors.judged, data.errors.low, data.errors.high, data.segments)
    for source, own in errors.items():
        less = {other: _less_error(own, of_other) for other, of_other in errors.items() if other != source}
        known = {other: mean for other, mean in less.items() if mean.count}
        judged[source] = replace(judged[source], less_error_than=known)
    return judged


def misses_of(table: Table, flights_of: standards.FlightsOf | None) -> Iterator[Misses]:
    """Yield how often each clock's intervals miss the truth, and nothing else of it, node by node."""
    for node_id in table.nodes:
        for data in _of_node(table, node_id, table.sources, flights_of).values():
            yield misses(data.readings, data.errors, data.kappa)


@dataclass(frozen=True)
class _Data:
    """One source on one node: its readings, what its rows say, its errors, and those of the last sample held.

    ``served``: the sample of every event at each clock that has a part in its error. ``instants``: when it happened.
    ``about_the_server``: readings that are not about the node. ``lags``: how many events the standard knows of.
    """

    readings: Readings
    rows: row_data.SourceRows
    errors: Errors
    held: Errors | None
    sigma_ns: Floats
    served: tuple[Ints, ...]
    instants: Instants
    about_the_server: Bools
    lags: Mapping[str, int]

    @cached_property
    def segments(self) -> Ints:
        """Return the number of every event's segment (see ``dependence``)."""
        return segments_of(*self.served)

    @cached_property
    def shared(self) -> Dependence:
        """Return what the events' errors have in common."""
        return dependence(self.segments, self.errors.latent)

    def kappa(self) -> calibration.Kappa | None:
        """Return by how much the intervals would have to be inflated."""
        return calibration.kappa(self.errors, self.shared)

    @property
    def whole(self) -> _Data:
        """Return the same of a whole run, of which is said what no part can know."""
        errors = standards.without(self.errors, self.about_the_server, ABOUT_THE_SERVER)
        if not errors.relative or self.lags[_LAGS]:
            return replace(self, errors=errors)
        nothing = standards.unjudged(self.readings, standards.NOTHING)
        return replace(self, errors=nothing, held=None, sigma_ns=self.rows.claimed_ns, served=self.served[:1])


_LAGS: Final = "known"


def _of_node(
    table: Table, node_id: str, sources: Sequence[str], flights_of: standards.FlightsOf | None
) -> dict[str, _Data]:
    """Return the data of some sources on one node of a run."""
    by_source: dict[str, list[_Data]] = {source: [] for source in sources}
    for part in table.parts():
        flights = None if flights_of is None else flights_of(part)
        for source in sources:
            by_source[source].append(_of_part(part, node_id, source, flights))
    return {source: joined(parts).whole for source, parts in by_source.items()}


def _of_part(table: Table, node_id: str, source: str, flights: standards.Flights | None) -> _Data:
    """Return the data of some consecutive events."""
    readings, stamps, samples = table.readings(node_id, source), table.stamps[node_id], table.run.samples.get(node_id)
    own = row_data.source_rows(table.rows[node_id], source)
    held = baseline.held(readings, own, stamps, samples, utc_wanted=(node_id, source) in table.facts.to_utc)
    data = _Data(
        readings=readings,
        rows=own,
        errors=standards.unjudged(readings, standards.NOTHING if flights is None else standards.ORIGIN),
        held=None,
        sigma_ns=own.claimed_ns,
        served=(readings.sample,),
        instants=table.instants(node_id),
        about_the_server=scopes.about_the_server(table, node_id, source),
        lags={},
    )
    if (true := table.truth(node_id)) is not None:
        root = utc.of(table, node_id, source)
        of_held = None if held is None else standards.against_true_time(held, true, root)
        return replace(data, errors=standards.against_true_time(readings, true, root), held=of_held)
    if flights is None or node_id == (origin := table.coordinator_id):
        return data
    lag, here = flights(node_id), table.sends(node_id, source)
    rows_here, samples_here = row_data.source_rows(table.rows[origin], source), table.run.samples.get(origin)
    utc_here = (origin, source) in table.facts.to_utc
    held_here = baseline.held(here, rows_here, table.own_sends[node_id], samples_here, utc_wanted=utc_here)
    return replace(
        data,
        errors=standards.against_lag(readings, here, lag),
        held=None if held is None or held_here is None else standards.against_lag(held, held_here, lag),
        sigma_ns=own.claimed_ns + rows_here.claimed_ns,
        served=(*data.served, here.sample),
        about_the_server=data.about_the_server | scopes.about_the_server(table, origin, source),
        lags={_LAGS: int(lag.known.sum())},
    )


class _Compared(NamedTuple):
    """The errors of one source, event by event, to be compared with another's."""

    judged: Bools
    low: Ints
    high: Ints
    segments: Ints


def _quality(table: Table, data: _Data) -> Quality:
    readings, errors = data.readings, data.errors
    judged, shared, kappa = errors.judged, data.shared, data.kappa()
    coverage = coverages.coverage(errors, shared)
    greatest = np.maximum(np.abs(errors.low), np.abs(errors.high))
    least = np.where((errors.low <= 0) & (errors.high >= 0), 0, np.minimum(np.abs(errors.low), np.abs(errors.high)))
    level = readings.level if readings.kind == records.PROBABILISTIC else None
    instants = data.instants
    timed = judged & instants.known
    worst = rates.spread(greatest[judged], US)
    return Quality(
        source=readings.source,
        node_id=readings.node_id,
        kind=readings.kind,
        level=readings.level,
        claimed_level=errors.level,
        standard=errors.standard.name,
        stamps=int(readings.stamped.sum()),
        unavailable=readings.statuses(readings.stamped & ~readings.known),
        availability=rates.rate_of(readings.known, readings.stamped, Dependence(data.segments, None)),
        width_us=rates.spread((readings.latest - readings.earliest)[readings.bounded], US),
        relative=errors.relative,
        judged_width_us=rates.spread((errors.below + errors.above)[errors.bounded], US),
        abs_error_us=worst,
        least_error_us=worst if errors.exact else rates.spread(least[judged], US),
        coverage=coverage,
        kappa=kappa,
        skill=calibration.skill(errors, data.held, coverage),
        reliability=coverages.reliability(errors, data.sigma_ns, level, shared) if level is not None else (),
        by_age=coverages.by_age(errors, data.rows.age_ms, shared),
        stability=stabilities.stability(
            instants.ns[timed], errors.low[timed].astype(np.float64), errors.high[timed].astype(np.float64)
        ),
        provable_misses=provable_misses(table, readings.node_id, readings.source),
        less_error_than={},
        misses=misses(readings, errors, lambda: kappa),
        trace=traces.of_errors(table, errors),
        steps=Steps(
            histogram.histogram(greatest[judged], US),
            histogram.histogram(least[judged], US),
            histogram.histogram((errors.below + errors.above)[errors.bounded], 2 * US),
            histogram.histogram((readings.latest - readings.earliest)[readings.bounded], 2 * US),
        ),
        judged_as=errors.judged_as,
        left_out=errors.left_out,
        laws=data.rows.laws(readings.bounded),
        parts=interval_parts.parts(readings, data.rows, errors, data.sigma_ns, shared),
    )


def _less_error(own: _Compared, others: _Compared) -> rates.Mean:
    """Return the mean of |error| minus that of another source at the same events, in us.

    Both errors are of the same true instant, and as that moves through the standard's bounds the difference only grows,
    or only falls: its limits are at the bounds'.
    """
    at_first = (np.abs(own.low) - np.abs(others.low)) / US
    at_last = (np.abs(own.high) - np.abs(others.high)) / US
    least, most = np.minimum(at_first, at_last), np.maximum(at_first, at_last)
    shared = Dependence(segments_of(own.segments, others.segments), None)
    return rates.mean_of(least, most, own.judged & others.judged, shared)
