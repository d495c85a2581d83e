"""The course of one source on one node: its offsets over time, with their intervals, its gaps, and how it wanders.

Time is the node's raw oscillator where it has one, else its wall clock, which is what is in question: of a log there
is no other. An offset is reference - local, to be added to the local clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.by_event.table import NOT_ASKED, UNSTATED
from analysis.clocks import stability as stabilities
from analysis.stats import rates
from node_agent.contract import records

if TYPE_CHECKING:
    from analysis.arrays import Bools, Floats, Ints, Places
    from analysis.by_event.table import Table
    from analysis.clocks.stability import Deviations
    from analysis.run.load import Run

GAP: Final = 3  # a pause of so many usual spacings is a gap
FEW: Final = f"fewer than {stabilities.FEWEST_POINTS} readings evenly enough spaced"
SYSTEM_CLOCK: Final = "the system clock"
MS: Final = 1e6
S: Final = 1e9


@dataclass(frozen=True)
class Claims:
    """What a source says about itself, in words: its offset, its interval or why it has none, and of which clock."""

    offset: str
    interval: str
    clock: str


@dataclass(frozen=True)
class Course:
    """One source on one node, its readings in order of time.

    ``at_ns`` is 0 at the node's first reading. ``low_ms`` to ``high_ms``: the interval of the offset, meaningful where
    ``bounded``; ``claimed_ms``: what the source states as uncertainty, NaN where it states none. ``asked``: how many
    rows are about the source, ``unavailable`` why there is no reading in the others. ``wall_ns``: the stamps.
    """

    node_id: str
    source: str
    kind: str
    level: float | None
    claims: Claims
    references: tuple[str, ...]
    asked: int
    unavailable: Mapping[str, int]
    at_ns: Ints
    wall_ns: Ints
    offset_ms: Floats
    low_ms: Floats
    high_ms: Floats
    bounded: Bools
    claimed_ms: Floats
    stability: Deviations | None
    why_not_stable: str

    @property
    def count(self) -> int:
        """Return how many readings there are."""
        return len(self.at_ns)

    @property
    def spacing_s(self) -> Floats:
        """Return the time from each reading to the next."""
        return np.diff(self.at_ns) / S

    @property
    def usual_spacing_s(self) -> float:
        """Return the median time from a reading to the next, 0 of fewer than two."""
        return float(np.median(self.spacing_s)) if self.count > 1 else 0.0

    @property
    def gaps_s(self) -> Floats:
        """Return the pauses that are longer than three usual spacings."""
        spacing = self.spacing_s
        return spacing[spacing > GAP * self.usual_spacing_s]

    @property
    def half_width_ms(self) -> Floats:
        """Return the half-widths of the intervals there are."""
        return (self.high_ms - self.low_ms)[self.bounded] / 2

    @property
    def stated_ms(self) -> Floats:
        """Return the uncertainties that are stated, where no interval is."""
        return self.claimed_ms[~self.bounded & np.isfinite(self.claimed_ms)]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data; times in s, offsets and widths in ms."""
        gaps = self.gaps_s
        return {
            "clock": self.claims.clock,
            "what_the_offset_is": self.claims.offset,
            "what_the_interval_is": self.claims.interval,
            "kind": self.kind,
            "level": self.level,
            "references": list(self.references[:MOST_REFERENCES]),
            "readings": self.count,
            "rows": self.asked,
            "unavailable": dict(self.unavailable),
            "availability_rate": rates.rate(self.count, self.asked).as_dict(),
            "span_s": float(self.at_ns[-1] - self.at_ns[0]) / S if self.count else None,
            "spacing_s": rates.spread(self.spacing_s).as_dict(),
            "gaps": {
                "count": len(gaps),
                "longest_s": float(gaps.max()) if len(gaps) else None,
                "together_s": float(gaps.sum()),
                "more_than_s": GAP * self.usual_spacing_s,
            },
            "offset_ms": quantiles(self.offset_ms),
            "with_interval": int(self.bounded.sum()),
            "half_width_ms": rates.spread(self.half_width_ms).as_dict(),
            "stated_uncertainty_ms": rates.spread(self.stated_ms).as_dict(),
            "stability": None if self.stability is None else self.stability.as_dict(),
            "stability_not_evaluable": self.why_not_stable,
        }


MOST_REFERENCES: Final = 5
QUANTILES: Final = {"least": 0.0, "p5": 5.0, "median": 50.0, "p95": 95.0, "most": 100.0}


def quantiles(values: Floats) -> dict[str, float | None]:
    """Return least, 5th percentile, median, 95th percentile and most; None of no values."""
    if not len(values):
        return dict.fromkeys(QUANTILES)
    numbers = np.percentile(values, list(QUANTILES.values()))
    return {name: float(number) for name, number in zip(QUANTILES, numbers, strict=True)}


def of(table: Table) -> tuple[Course, ...]:
    """Return the course of every source on every node, node by node; a source that is nowhere configured has none."""
    return tuple(
        course
        for node_id in table.nodes
        for source in table.sources
        if source != records.SYSTEM and (course := _course(table, node_id, source)) is not None
    )


def _course(table: Table, node_id: str, source: str) -> Course | None:
    readings, stamps = table.readings(node_id, source), table.stamps[node_id]
    counted = readings.statuses(readings.stamped)
    asked = {word: count for word, count in counted.items() if word not in {NOT_ASKED, records.NOT_CONFIGURED}}
    if not asked:
        return None
    known, at = in_order(table, node_id, readings.known)
    wall = stamps.ns[known]
    offset = (readings.est[known] - wall).astype(np.float64)
    wander = stabilities.stability(lambda: [stabilities.Timed.between(at, offset, offset)])
    rows, prefix = table.rows[node_id], records.COLUMN_PREFIX[source]
    claimed = rows.floats(f"{prefix}_uncertainty_ms")[known]
    return Course(
        node_id=node_id,
        source=source,
        kind=readings.kind,
        level=readings.level,
        claims=_claims(table.run, source, readings.kind, bounded=bool(readings.bounded.any())),
        references=tuple(sorted({str(word) for word in readings.reference[known].unique() if word})),
        asked=sum(asked.values()),
        unavailable={word: count for word, count in asked.items() if word != records.OK},
        at_ns=at,
        wall_ns=wall,
        offset_ms=offset / MS,
        low_ms=(readings.earliest[known] - wall) / MS,
        high_ms=(readings.latest[known] - wall) / MS,
        bounded=readings.bounded[known],
        claimed_ms=claimed,
        stability=wander,
        why_not_stable="" if wander is not None else FEW,
    )


def in_order(table: Table, node_id: str, chosen: Bools) -> tuple[Places, Ints]:
    """Return the places of some readings of a node in order of time, and their times, in ns since its first reading."""
    stamps, raw = table.stamps[node_id], table.raw_stamps[node_id]
    ns, timed = (raw.ns, raw.known) if raw.known.any() else (stamps.ns, stamps.known)
    places = np.flatnonzero(chosen & stamps.known & timed)
    places = places[np.argsort(ns[places], kind="stable")]
    first = int(ns[timed].min()) if timed.any() else 0
    return places, ns[places] - first


def _claims(run: Run, source: str, kind: str, *, bounded: bool) -> Claims:
    """Return what the importer wrote down of a source, or what a reading of a node's own is."""
    imported = (run.manifest.imported or {}).get("sources")
    told = imported.get(source) if isinstance(imported, Mapping) else None
    if isinstance(told, Mapping):
        offset, interval, clock = (str(told.get(name, "")) for name in ("offset", "interval", "clock"))
        return Claims(offset, interval, clock or SYSTEM_CLOCK)
    interval = "as the node read it" if bounded else "none was recorded"
    return Claims("as the node read it", interval if kind == UNSTATED else f"{interval}, {kind}", SYSTEM_CLOCK)
