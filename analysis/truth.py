"""The injected truth of test clusters: what true time a virtual clock's stamps mean, and which readings contain it.

On real clusters there is no injected truth and everything here says so. Containment is judged per source and node: the
share of available readings whose [lower, upper] contains the true instant of their stamp, beside how wide they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import statistics
from node_agent.clocks import virtual
from node_agent.plan import VirtualClock, virtual_clock_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from analysis.readings import Instants, Readings, Table

SECOND_NS = 1_000_000_000
US = 1_000.0
ROUNDING_NS = 2  # a clock slower than true time shows some integers for two ns


def clock_of(virtual_clock: Mapping[str, Any] | None) -> VirtualClock | None:
    """Return a node's virtual clock as the manifest tells it, or None. Raises PlanError where it is none."""
    return None if virtual_clock is None else virtual_clock_from(virtual_clock)


def wall_from_true(clock: VirtualClock, true_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what the virtual wall clock shows at each true instant, in ns; exactly the agent's scalar map."""
    segments = virtual.wall_segments(clock)
    elapsed = true_ns - np.int64(clock.epoch_ns)
    starts, errors, slopes = np.array(segments, dtype=np.int64).T
    place = np.maximum(np.searchsorted(starts, elapsed, side="right") - 1, 0)
    # (elapsed - start) * ppb would leave 64 bits after hours; split at the second, whose multiples divide exactly
    seconds, rest = np.divmod(elapsed - starts[place], SECOND_NS)
    bend = seconds * slopes[place] + rest * slopes[place] // SECOND_NS
    shown: NDArray[np.int64] = true_ns + errors[place] + bend
    return shown


def true_from_wall(clock: VirtualClock, wall_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first true instant at which the clock can have shown each wall stamp, in ns.

    For arrays what ``node_agent.clocks.virtual.true_from_wall`` is for one stamp: where the map is locally a straight
    line, it is inverted at once and checked; the few stamps at leaps, freezes and set-backs are asked for one by one.
    """
    guess: NDArray[np.int64] = wall_ns - virtual.wall_segments(clock)[0].error_ns
    for _ in range(8):
        off = wall_from_true(clock, guess) - wall_ns
        if not off.any():
            break
        guess = guess - off
    exact = wall_from_true(clock, guess) == wall_ns
    guess = guess - (exact & (wall_from_true(clock, guess - 1) == wall_ns))  # of two ns that show the same, the first
    one_by_one = ~exact | (not _never_set_back(clock))
    for place in np.flatnonzero(one_by_one):
        guess[place] = virtual.true_from_wall(clock, int(wall_ns[place]))
    return guess


def told_apart(clock: VirtualClock, wall_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which wall stamps mean one true instant (to 2 ns), not one of two or a stretch of them.

    A clock that was set back, or stood still, shows a time more than once; nobody can judge a reading by such a stamp.
    """
    if _never_set_back(clock):
        return np.ones(len(wall_ns), dtype=np.bool_)
    ends = [virtual.true_interval(clock, wall) for wall in wall_ns.tolist()]
    return np.array([last - first <= ROUNDING_NS for first, last in ends], dtype=np.bool_)


def _never_set_back(clock: VirtualClock) -> bool:
    """Tell whether the clock shows no time twice."""
    return not (clock.steps or clock.raw_steps or clock.freezes)


@dataclass(frozen=True)
class Containment:
    """How the readings of one source on one node stand to the true time; ``abs_error_us`` is that of est."""

    source: str
    node_id: str
    kind: str
    level: float | None
    stamps: int
    unavailable: int
    contained: statistics.Rate
    half_width_us: statistics.Spread
    abs_error_us: statistics.Spread

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON-serialisable data."""
        return {
            "kind": self.kind,
            "level": self.level,
            "stamps": self.stamps,
            "unavailable": self.unavailable,
            "contained": self.contained.as_dict(),
            "half_width_us": self.half_width_us.as_dict(),
            "abs_error_us": self.abs_error_us.as_dict(),
        }


def containment(readings: Readings, true: Instants | None) -> Containment:
    """Judge one node's readings of one source against the true instants of its stamps, None where nobody knows them."""
    none = np.zeros(len(readings.est), dtype=np.bool_)
    true_ns, known = (readings.est, none) if true is None else (true.ns, true.known)
    judged = readings.bounded & known
    inside = (readings.earliest <= true_ns) & (true_ns <= readings.latest) & judged
    half = (readings.latest - readings.earliest)[readings.bounded] / 2
    points = readings.known & known
    return Containment(
        source=readings.source,
        node_id=readings.node_id,
        kind=readings.kind,
        level=readings.level,
        stamps=int(readings.stamped.sum()),
        unavailable=int((readings.stamped & ~readings.known).sum()),
        contained=statistics.rate(int(inside.sum()), int(judged.sum())),
        half_width_us=statistics.spread(half, US),
        abs_error_us=statistics.spread(np.abs(readings.est - true_ns)[points], US),
    )


def judge(table: Table) -> list[Containment]:
    """Judge every source on every node; where no truth was injected, only availability and width remain."""
    results = []
    for source in table.sources:
        for node_id in table.nodes:
            true = table.truth(node_id)
            results.append(containment(table.readings(node_id, source), true))
    return results


def as_statistics(results: list[Containment]) -> dict[str, Any]:
    """Return ``{sources: {source: {node: containment}}}``, and in words whether there was any truth to judge by."""
    sources: dict[str, dict[str, Any]] = {}
    for result in results:
        sources.setdefault(result.source, {})[result.node_id] = result.as_dict()
    known = any(result.abs_error_us.count for result in results)
    reference = "injected truth of virtual clocks" if known else "none: no node of this run had a virtual clock"
    return {"reference": reference, "sources": sources}
