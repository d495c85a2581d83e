"""Judge every source on one node, part by part of the run: what it says, how wrong that is, what the parts make."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from analysis.by_event import scopes, utc
from analysis.by_event.scopes import ABOUT_THE_SERVER
from analysis.clocks import baseline, standards
from analysis.clocks import claims as row_data
from analysis.clocks.clock import Beside, Clock, Piece, changed, rate_of
from analysis.clocks.misses import ProvableMisses
from analysis.stats import rates
from analysis.stats.segments import Numbering, SegmentSums
from analysis.storage.spool import Spool
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.by_event.table import Readings, Table
    from analysis.clocks.claims import SourceRows

US = 1_000.0


@dataclass(frozen=True)
class Judged:
    """One source on one node, judged, and what was counted while it was.

    ``standard``: the name of what it was judged by. ``unavailable``: stamps without a reading, by reason. ``left_out``:
    what could not be judged for what it is about, by reason; ``judged_as``: what was judged, where not the reading as
    it is. ``laws``: how many readings were held over by which law. ``provable_misses``: None where there can be none.
    ``less_error_than``: by how much less wrong it is than every other source, in us.
    """

    source: str
    node_id: str
    kind: str
    level: float | None
    standard: str
    clock: Clock
    stamps: int
    unavailable: dict[str, int]
    availability: rates.Rate
    left_out: dict[str, int]
    judged_as: str
    laws: dict[str, int]
    provable_misses: rates.Rate | None
    less_error_than: dict[str, rates.Mean]


def of_node(table: Table, node_id: str, flights_of: standards.FlightsOf | None) -> dict[str, Judged]:
    """Judge every source on one node, by its name; ``flights_of``: how long events were under way for sure, by part."""
    sources = {source: _Source(table, node_id, source) for source in table.sources}
    pairs = {pair: _Apart() for pair in combinations(table.sources, 2)}
    for part in table.parts():
        flights = None if flights_of is None else flights_of(part)
        pieces = {source: of_source.judge(part, flights) for source, of_source in sources.items()}
        for (source, other), apart in pairs.items():
            apart.add(pieces[source], pieces[other])
    less: dict[str, dict[str, rates.Mean]] = {source: {} for source in sources}
    for (source, other), apart in pairs.items():
        less[source][other], less[other][source] = apart.mean, apart.opposite
    for source, means in less.items():
        less[source] = {other: means[other] for other in sources if other != source and means[other].count}
    return {source: of_source.judged(less[source]) for source, of_source in sources.items()}


class _Source:
    """One source on one node while the parts of a run are judged, one after another."""

    def __init__(self, table: Table, node_id: str, source: str) -> None:
        self._node_id, self._source = node_id, source
        self._pieces: Spool[Piece] = Spool(None if table.scratch is None else table.scratch.folder)
        self._numbering, self._numbering_alone = Numbering(), Numbering()
        self._available = SegmentSums()
        self._unavailable: Counter[str] = Counter()
        self._laws: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._widened: Counter[str] = Counter()
        self._lags = 0
        nowhere = node_id == table.coordinator_id or source == records.SYSTEM
        self._provable = None if nowhere else ProvableMisses(node_id, source)

    def judge(self, part: Table, flights: standards.Flights | None) -> Piece:
        """Judge the next part."""
        self._readings = readings = part.readings(self._node_id, self._source)
        rows = row_data.source_rows(part.rows[self._node_id], self._source)
        piece = self._errors(part, readings, rows, flights)
        alone = self._numbering_alone.of(readings.sample)
        self._available.add(alone, readings.known & readings.stamped, readings.stamped)
        self._unavailable.update(readings.statuses(readings.stamped & ~readings.known))
        self._laws.update(rows.laws(readings.bounded))
        self._left_out.update(piece.errors.left_out)
        self._widened.update(piece.errors.widened)
        if self._provable is not None:
            self._provable.add(part)
        self._pieces.put(piece)
        return piece

    def _errors(self, part: Table, readings: Readings, rows: SourceRows, flights: standards.Flights | None) -> Piece:
        """Return the errors of a part: against the injected truth, else against the reference, else none."""
        node_id, source, samples = self._node_id, self._source, part.run.samples
        about_the_server = scopes.about_the_server(part, node_id, source)
        utc_wanted = (node_id, source) in part.facts.to_utc
        held = baseline.held(readings, rows, part.stamps[node_id], samples.get(node_id), utc_wanted=utc_wanted)
        piece = partial(Piece, beside=_beside(part, node_id, readings, rows))
        if (true := part.truth(node_id)) is not None:
            root = utc.of(part, node_id, source)
            errors = standards.against_true_time(readings, true, root)
            of_held = None if held is None else standards.against_true_time(held, true, root)
            errors = standards.without(errors, about_the_server, ABOUT_THE_SERVER)
            return piece(errors, self._numbering.of(readings.sample), of_held, rows.claimed_ns)
        if flights is None or node_id == (origin := part.coordinator_id):
            nobody = standards.NOTHING if flights is None else standards.ORIGIN
            nothing = standards.unjudged(len(readings.est), readings.level, nobody)
            return piece(nothing, self._numbering.of(readings.sample), None, rows.claimed_ns)
        lag, here = flights(node_id), part.sends(node_id, source)
        rows_here, utc_here = row_data.source_rows(part.rows[origin], source), (origin, source) in part.facts.to_utc
        held_here = baseline.held(here, rows_here, part.own_sends[node_id], samples.get(origin), utc_wanted=utc_here)
        of_held = None if held is None or held_here is None else standards.against_lag(held, held_here, lag)
        self._lags += int(lag.known.sum())
        about_the_server = about_the_server | scopes.about_the_server(part, origin, source)
        errors = standards.without(standards.against_lag(readings, here, lag), about_the_server, ABOUT_THE_SERVER)
        segments = self._numbering.of(readings.sample, here.sample)
        return piece(errors, segments, of_held, rows.claimed_ns + rows_here.claimed_ns)

    def judged(self, less_error_than: dict[str, rates.Mean]) -> Judged:
        """Return what all parts add up to. A reference that knew no event's lag judges nothing."""
        readings = self._readings
        clock = Clock.of(self._pieces)
        standard = next(iter(self._pieces)).errors.standard
        if clock.relative and not self._lags:
            standard = standards.NOTHING
            clock = Clock.of(changed(self._pieces, partial(_unjudged, level=readings.level)))
        elif not clock.judged and self._left_out[ABOUT_THE_SERVER]:
            standard = standards.nothing_left(self._left_out[ABOUT_THE_SERVER], ABOUT_THE_SERVER)
            clock = replace(clock, relative=False)
        return Judged(
            source=self._source,
            node_id=self._node_id,
            kind=readings.kind,
            level=readings.level,
            standard=standard.name,
            clock=clock,
            stamps=self._available.count,
            unavailable=dict(self._unavailable),
            availability=rate_of(self._available, None),
            left_out=dict(self._left_out),
            judged_as=standards.judged_as(self._widened),
            laws=dict(sorted(self._laws.items())),
            provable_misses=None if self._provable is None else self._provable.rate,
            less_error_than=less_error_than,
        )


def _unjudged(piece: Piece, level: float | None) -> Piece:
    nothing = standards.unjudged(len(piece.segments), level, standards.NOTHING)
    return replace(piece, errors=nothing, held=None, sigma_ns=piece.beside.claimed_ns)


def _beside(part: Table, node_id: str, readings: Readings, rows: SourceRows) -> Beside:
    return Beside(
        bounded=readings.bounded,
        width_ns=readings.latest - readings.earliest,
        age_ms=rows.age_ms,
        claimed_ns=rows.claimed_ns,
        asymmetry_ns=rows.asymmetry_ns,
        instants=part.instants(node_id),
        sent=part.sent,
        begins_at=part.begins_at,
    )


class _Apart:
    """By how much |error| of one source is greater than that of another at the same events, in us.

    Both errors are of the same true instant, and as that moves through the standard's bounds the difference only grows,
    or only falls: its limits are at the bounds'.
    """

    def __init__(self) -> None:
        self._numbering = Numbering()
        self._least, self._most = SegmentSums(), SegmentSums()

    def add(self, own: Piece, others: Piece) -> None:
        """Add the next part."""
        at_first = (np.abs(own.errors.low) - np.abs(others.errors.low)) / US
        at_last = (np.abs(own.errors.high) - np.abs(others.errors.high)) / US
        both = own.errors.judged & others.errors.judged
        segments = self._numbering.of(own.segments, others.segments)
        self._least.add(segments, np.minimum(at_first, at_last), both)
        self._most.add(segments, np.maximum(at_first, at_last), both)

    @property
    def mean(self) -> rates.Mean:
        """Return the mean."""
        return rates.mean(self._least.bins, self._most.bins, None)

    @property
    def opposite(self) -> rates.Mean:
        """Return the mean of the other source's minus the first one's."""
        return rates.mean(self._most.bins.negated, self._least.bins.negated, None)
