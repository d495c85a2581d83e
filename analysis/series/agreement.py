"""How far the sources of a node agree: whether their intervals meet, and how far apart they are for what they claim.

Two sources are compared where each has a reading near the other's: those of one row in a watch, which are of one
instant; in a log each reading of the sparser source with the nearest one of the other, no farther away than that one's
usual spacing. Nothing is carried over that time: how much the clock was corrected meanwhile nobody knows. Only offsets
of one clock are compared.

Intervals that do not meet cannot both hold the truth, at one instant and of one reference: one of the two is wrong.
Where the two refer to different servers it may be the servers that differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.series.course import S
from analysis.stats import rates
from analysis.stats.dependence import Latent, dependence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.arrays import Bools, Floats, Places
    from analysis.series.course import Course

ALONE: Final = "one source alone: there is nobody to agree with"
OTHER_CLOCKS: Final = "offsets of different clocks"
NEVER_NEAR: Final = "never read near one another"
NO_INTERVALS: Final = "neither has an interval"
MOST_PAIRS: Final = 2_000  # of a node: 64 sources; those left out are counted


@dataclass(frozen=True)
class Pair:
    """Two sources of one node. Shares are of ``count`` comparisons, or of those that have what it takes.

    ``apart_ms``: |difference of the two offsets|. ``meet``: their intervals have a point in common.
    ``first_in_second``: the first one's estimate lies in the second's interval. ``claims_ms``: the sum of both
    half-widths, or the only one, ``of_claims`` apart over the sum; above 1 they do not meet (of symmetric intervals).
    ``within_stated``: apart is no more than what a source states as uncertainty that has no interval.
    ``references_differ``: not all readings of both refer to one reference.
    """

    node_id: str
    first: str
    second: str
    count: int
    reason: str
    seconds_between: rates.Spread
    apart_ms: rates.Spread
    meet: rates.Rate
    claims_ms: rates.Spread
    of_claims: Floats
    first_in_second: rates.Rate
    second_in_first: rates.Rate
    within_stated: rates.Rate
    references_differ: bool

    @property
    def inside(self) -> rates.Rate:
        """Return how often the estimate of the source without an interval lies in the other's; of no use for two."""
        return self.first_in_second if self.first_in_second.denominator else self.second_in_first

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return {
            "comparisons": self.count,
            "not_evaluable": self.reason,
            "seconds_between_s": self.seconds_between.as_dict(),
            "apart_ms": self.apart_ms.as_dict(),
            "intervals_meet": self.meet.as_dict(),
            "half_widths_together_ms": self.claims_ms.as_dict(),
            "apart_over_half_widths": rates.spread(self.of_claims).as_dict(),
            "first_in_seconds_interval": self.first_in_second.as_dict(),
            "second_in_firsts_interval": self.second_in_first.as_dict(),
            "apart_within_stated_uncertainty": self.within_stated.as_dict(),
            "references_differ": self.references_differ,
        }


@dataclass(frozen=True)
class Together:
    """All sources of one clock with intervals: how often one instant is in all of them, and how many agree at most."""

    node_id: str
    clock: str
    sources: tuple[str, ...]
    all_meet: rates.Rate
    most_agreeing: dict[int, int]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data; ``agreeing``: at how many instants so many intervals had a common point."""
        return {
            "clock": self.clock,
            "sources": list(self.sources),
            "all_meet": self.all_meet.as_dict(),
            "agreeing": {str(number): count for number, count in sorted(self.most_agreeing.items())},
        }


@dataclass(frozen=True)
class Agreement:
    """Every two sources of every node; ``reasons`` says, by node, why there are none, or not all."""

    pairs: tuple[Pair, ...]
    together: tuple[Together, ...]
    reasons: dict[str, str]

    def as_statistics(self) -> dict[str, Any]:
        """Return ``{pairs: {node: {"first/second": …}}, all: {node: {clock: …}}}``."""
        pairs: dict[str, dict[str, Any]] = {}
        for pair in self.pairs:
            pairs.setdefault(pair.node_id, {})[f"{pair.first}/{pair.second}"] = pair.as_dict()
        together: dict[str, list[Any]] = {}
        for group in self.together:
            together.setdefault(group.node_id, []).append(group.as_dict())
        return {"pairs": pairs, "all": together, "reasons": self.reasons}


def of(courses: Sequence[Course]) -> Agreement:
    """Compare every two sources of every node that are of one clock."""
    pairs: list[Pair] = []
    together: list[Together] = []
    reasons: dict[str, str] = {}
    by_node: dict[str, list[Course]] = {}
    for course in courses:
        by_node.setdefault(course.node_id, []).append(course)
    for node_id, of_node in by_node.items():
        clocks = dict.fromkeys(course.claims.clock for course in of_node)
        groups = {clock: [course for course in of_node if course.claims.clock == clock] for clock in clocks}
        wanted = [pair for group in groups.values() for pair in combinations(group, 2)]
        pairs += [_pair(*pair) for pair in wanted[:MOST_PAIRS]]
        together += [found for clock, group in groups.items() if (found := _together(node_id, clock, group))]
        said = [ALONE] if len(of_node) == 1 else []
        said += [f"{OTHER_CLOCKS} are not compared: {'; '.join(clocks)}"] if len(clocks) > 1 else []
        said += [f"{len(wanted) - MOST_PAIRS} more pairs are left out"] if len(wanted) > MOST_PAIRS else []
        if said:
            reasons[node_id] = "; ".join(said)
    return Agreement(tuple(pairs), tuple(together), reasons)


def near(sparse: Course, dense: Course) -> tuple[Places, Places]:
    """Return which readings of the first course have one of the second near them, and which that are."""
    none = np.zeros(0, dtype=np.intp)
    if not sparse.count or not dense.count:
        return none, none
    after = np.clip(np.searchsorted(dense.at_ns, sparse.at_ns), 1, max(dense.count - 1, 1))
    after = np.minimum(after, dense.count - 1)
    before = np.maximum(after - 1, 0)
    earlier = np.abs(sparse.at_ns - dense.at_ns[before]) <= np.abs(dense.at_ns[after] - sparse.at_ns)
    nearest = np.where(earlier, before, after)
    close = np.abs(dense.at_ns[nearest] - sparse.at_ns) <= dense.usual_spacing_s * S
    return np.flatnonzero(close), nearest[close]


def _pair(first: Course, second: Course) -> Pair:
    swapped = (first.count, -first.usual_spacing_s) > (second.count, -second.usual_spacing_s)
    places = near(second, first)[::-1] if swapped else near(first, second)
    here, there = places
    apart = np.abs(first.offset_ms[here] - second.offset_ms[there])
    bounded_here, bounded_there = first.bounded[here], second.bounded[there]
    both = bounded_here & bounded_there
    overlap = np.minimum(first.high_ms[here], second.high_ms[there]) - np.maximum(
        first.low_ms[here], second.low_ms[there]
    )
    halves = ((first.high_ms - first.low_ms)[here] + (second.high_ms - second.low_ms)[there]) / 2
    lone = np.where(bounded_here, (first.high_ms - first.low_ms)[here], 0.0) / 2
    lone = lone + np.where(bounded_there, (second.high_ms - second.low_ms)[there], 0.0) / 2
    ratio = np.divide(apart, halves, out=np.full(len(apart), np.inf), where=halves > 0)
    stated = np.where(~bounded_here, first.claimed_ms[here], np.nan)
    stated = np.where(np.isnan(stated) & ~bounded_there, second.claimed_ms[there], stated)
    inside_there = _inside(first.offset_ms[here], second, there)
    inside_here = _inside(second.offset_ms[there], first, here)
    signed = first.offset_ms[here] - second.offset_ms[there]
    reason = "" if len(here) else NEVER_NEAR
    if not reason and not (bounded_here.any() or bounded_there.any()):
        reason = NO_INTERVALS
    return Pair(
        node_id=first.node_id,
        first=first.source,
        second=second.source,
        count=len(here),
        reason=reason,
        seconds_between=rates.spread(np.abs(first.at_ns[here] - second.at_ns[there]) / S),
        apart_ms=rates.spread(apart),
        meet=_rate(overlap >= 0, both, overlap),
        claims_ms=rates.spread((halves if both.any() else lone)[both if both.any() else bounded_here | bounded_there]),
        of_claims=ratio[both & np.isfinite(ratio)],
        first_in_second=_rate(inside_there, bounded_there, signed),
        second_in_first=_rate(inside_here, bounded_here, signed),
        within_stated=_rate(apart <= stated, np.isfinite(stated), signed),
        references_differ=bool(first.references and second.references)
        and len({*first.references, *second.references}) > 1,
    )


def _inside(offset_ms: Floats, course: Course, places: Places) -> Bools:
    inside: Bools = (course.low_ms[places] <= offset_ms) & (offset_ms <= course.high_ms[places])
    return inside


def _rate(hits: Bools, judged: Bools, behind: Floats) -> rates.Rate:
    """Return a share with the interval that respects that clocks remember; each comparison is of its own samples."""
    own = np.arange(len(judged), dtype=np.int64)
    return rates.rate_of(hits, judged, dependence(own, Latent(behind, judged)))


def _together(node_id: str, clock: str, group: Sequence[Course]) -> Together | None:
    """Count, at the readings of the sparsest source, in how many intervals one instant is at most (Marzullo)."""
    bounded = [course for course in group if course.bounded.any()]
    if len(bounded) < 3:
        return None
    sparsest = min(bounded, key=lambda course: course.count)
    lows = np.full((len(bounded), sparsest.count), np.nan)
    highs = lows.copy()
    for place, course in enumerate(bounded):
        here, there = near(sparsest, course)
        kept = course.bounded[there]
        lows[place, here[kept]], highs[place, here[kept]] = course.low_ms[there[kept]], course.high_ms[there[kept]]
    complete = np.isfinite(lows).all(axis=0)
    if not complete.any():
        return None
    lows, highs = lows[:, complete], highs[:, complete]
    agreeing = np.max([((lows <= low) & (low <= highs)).sum(axis=0) for low in lows], axis=0)
    overlap = highs.min(axis=0) - lows.max(axis=0)
    numbers, counts = np.unique(agreeing, return_counts=True)
    return Together(
        node_id=node_id,
        clock=clock,
        sources=tuple(course.source for course in bounded),
        all_meet=_rate(overlap >= 0, np.ones(len(overlap), dtype=np.bool_), overlap),
        most_agreeing={int(number): int(count) for number, count in zip(numbers, counts, strict=True)},
    )
