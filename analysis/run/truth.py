"""The injected truth of test clusters: what true time a virtual clock's stamps mean. On real clusters there is none."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from node_agent.clocks import virtual
from node_agent.contract.plan import VirtualClock, virtual_clock_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from analysis.arrays import Bools, Ints

SECOND_NS = 1_000_000_000
EDGE_NS = 8  # where a climb ends to a few ns is for the exact arithmetic to say
ROUNDING_NS = 2  # a clock slower than true time shows some integers for two ns


def clock_of(virtual_clock: Mapping[str, Any] | None) -> VirtualClock | None:
    """Return a node's virtual clock as the manifest tells it, or None. Raises ValueError where it is none."""
    return None if virtual_clock is None else virtual_clock_from(virtual_clock)


def wall_from_true(clock: VirtualClock, true_ns: Ints) -> Ints:
    """Return what the virtual wall clock shows at each true instant, in ns; exactly the agent's scalar map."""
    return true_ns + _error_at(*_chain(clock, virtual.wall_segments), true_ns - np.int64(clock.epoch_ns))


def raw_error(clock: VirtualClock, true_ns: Ints) -> Ints:
    """Return what the virtual oscillator shows more than the host's own at each true instant, in ns."""
    return _error_at(*_chain(clock, virtual.raw_segments), true_ns - np.int64(clock.epoch_ns))


def true_from_wall(clock: VirtualClock, wall_ns: Ints) -> Ints:
    """Return the first true instant at which the clock can have shown each wall stamp, in ns.

    For arrays what ``node_agent.clocks.virtual.true_from_wall`` is for one stamp: where the map is locally a straight
    line, it is inverted at once and checked; the few stamps at leaps, freezes and set-backs are asked for one by one.
    """
    guess: Ints = wall_ns - virtual.wall_segments(clock)[0].error_ns
    for _ in range(8):
        off = wall_from_true(clock, guess) - wall_ns
        if not off.any():
            break
        guess = guess - off
    exact = wall_from_true(clock, guess) == wall_ns
    guess = guess - (exact & (wall_from_true(clock, guess - 1) == wall_ns))  # of two ns that show the same, the first
    one_by_one = np.flatnonzero(~exact | _shown_twice(clock, wall_ns))
    walls, which = np.unique(wall_ns[one_by_one], return_inverse=True)
    firsts = np.array([virtual.true_from_wall(clock, wall) for wall in walls.tolist()], dtype=np.int64)
    guess[one_by_one] = firsts[which]
    return guess


def raw_later(clock: VirtualClock, true_ns: Ints, raw_ns: Ints) -> Ints:
    """Return the true instants at which the node's raw oscillator has run so many ns more than at some true instants.

    The oscillator is the wall clock without what acts on that alone: its error, steps and slews.
    """
    oscillator = oscillator_of(clock)
    return true_from_wall(oscillator, wall_from_true(oscillator, true_ns) + raw_ns)


@lru_cache(maxsize=64)
def oscillator_of(clock: VirtualClock) -> VirtualClock:
    """Return a clock's oscillator as a wall clock: without what acts on the wall clock alone."""
    return replace(clock, error_ms=0.0, steps=(), slews=())


def told_apart(clock: VirtualClock, wall_ns: Ints) -> Bools:
    """Tell which wall stamps mean one true instant (to 2 ns), not one of two or a stretch of them.

    A clock that was set back, or stood still, shows a time more than once; nobody can judge a reading by such a stamp.
    """
    apart = np.ones(len(wall_ns), dtype=np.bool_)
    doubtful = np.flatnonzero(_shown_twice(clock, wall_ns))
    walls, which = np.unique(wall_ns[doubtful], return_inverse=True)
    ends = [virtual.true_interval(clock, wall) for wall in walls.tolist()]
    apart[doubtful] = np.array([last - first <= ROUNDING_NS for first, last in ends], dtype=np.bool_)[which]
    return apart


_Chain = tuple["Ints", "Ints", "Ints"]


@lru_cache(maxsize=128)
def _chain(clock: VirtualClock, segments_of: Callable[[VirtualClock], Sequence[virtual.Segment]]) -> _Chain:
    """Return the segments of a clock's error as arrays: starts, errors, slopes."""
    columns = np.array(segments_of(clock), dtype=np.int64)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def _error_at(starts: Ints, errors: Ints, slopes: Ints, elapsed: Ints) -> Ints:
    """Return a clock's error so many ns after its epoch, like ``node_agent.clocks.virtual.error_at``."""
    place = np.maximum(np.searchsorted(starts, elapsed, side="right") - 1, 0)
    # (elapsed - start) * ppb would leave 64 bits after hours; split at the second, whose multiples divide exactly
    since = elapsed - starts[place]
    seconds = since // SECOND_NS
    error: Ints = errors[place] + seconds * slopes[place] + (since - seconds * SECOND_NS) * slopes[place] // SECOND_NS
    return error


def _shown_twice(clock: VirtualClock, wall_ns: Ints) -> Bools:
    """Tell which stamps the clock may have shown more than once: those of several of its climbs, and of its freezes."""
    climbs = _climbs(clock)
    if len(climbs) == 1:
        return np.zeros(len(wall_ns), dtype=np.bool_)
    shown = np.zeros(len(wall_ns), dtype=np.int16)
    for first, last in climbs:
        shown += (wall_ns >= first - EDGE_NS) & (wall_ns <= last + EDGE_NS)
    twice: Bools = shown > 1
    return twice


@lru_cache(maxsize=64)
def _climbs(clock: VirtualClock) -> tuple[tuple[int, int], ...]:
    """Return the first and last time shown of every stretch without a set-back, and the time of every freeze."""
    segments = virtual.wall_segments(clock)
    limits = np.iinfo(np.int64)
    climbs, first = [], int(limits.min) + EDGE_NS
    for segment in segments[1:]:
        before = virtual.wall_from_true(clock, clock.epoch_ns + segment.start_ns - 1)
        now = virtual.wall_from_true(clock, clock.epoch_ns + segment.start_ns)
        if now < before:
            climbs.append((first, before))
            first = now
    frozen = [
        (still, still)
        for segment in segments
        if segment.slope_ppb == -SECOND_NS and (still := clock.epoch_ns + segment.start_ns + segment.error_ns)
    ]
    return (*climbs, (first, int(limits.max) - EDGE_NS), *frozen)
