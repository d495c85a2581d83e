"""The only reader of local clocks: wall clock, raw oscillator, and the way from a kernel stamp to both.

Every node reads its clocks here, so that a virtual clock bends all of them alike.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from node_agent.clocks.base import NARROW_NS, SLEW_PPM
from node_agent.clocks.virtual import error_at, raw_segments, wall_segments
from node_agent.contract.records import CLOCK_STEP, STAMP_GAP, USER, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from node_agent.contract.plan import VirtualClock

MAX_GAP_NS: Final = 50_000_000  # a kernel stamp further from its clock pair has no defensible raw instant
_ROUNDING_NS: Final = 1_000
_TRIES: Final = 8
_UNDISTURBED_NS: Final = 100_000  # reading both clocks takes no longer, if nothing comes in between


class ClockPair(NamedTuple):
    """One bracketed reading: the wall clock was read between two readings of the raw oscillator, all in ns."""

    raw_before_ns: int
    wall_ns: int
    raw_after_ns: int

    @property
    def raw_ns(self) -> int:
        """Return the middle of the bracket: the raw instant of the wall reading, wrong by at most half the bracket."""
        return (self.raw_before_ns + self.raw_after_ns) // 2

    @property
    def half_bracket_ns(self) -> int:
        """Return half the bracket's width, rounded up."""
        return -(-(self.raw_after_ns - self.raw_before_ns) // 2)


class LocalClock:
    """The node's clocks, real or virtual. Safe to use from any thread: it holds no mutable state."""

    def __init__(self, virtual: VirtualClock | None = None) -> None:
        self._virtual = virtual
        self._raw_epoch_ns = 0
        if virtual is not None:
            host = _host_pair()
            self._wall_errors = wall_segments(virtual)
            self._raw_errors = raw_segments(virtual)
            self._raw_epoch_ns = host.raw_ns - (host.wall_ns - virtual.epoch_ns)

    @property
    def is_virtual(self) -> bool:
        """Tell whether this is a clock of a test node, other than its host's."""
        return self._virtual is not None

    def wall_ns(self) -> int:
        """Return the wall clock (CLOCK_REALTIME) in ns."""
        return self.wall_of_kernel(time.time_ns())

    def raw_ns(self) -> int:
        """Return the raw oscillator (CLOCK_MONOTONIC_RAW) in ns."""
        return self._raw_of_host(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))

    def pair(self) -> ClockPair:
        """Return a bracketed pair, re-read while the bracket is wide: preemption would shift what it converts."""
        host = _host_pair()
        if self._virtual is None:
            return host
        return ClockPair(
            self._raw_of_host(host.raw_before_ns),
            self.wall_of_kernel(host.wall_ns),
            self._raw_of_host(host.raw_after_ns),
        )

    def wall_of_kernel(self, kernel_ns: int) -> int:
        """Return the node's wall clock at a kernel stamp (host CLOCK_REALTIME, ns); the same number on a real node."""
        if self._virtual is None:
            return kernel_ns
        return kernel_ns + error_at(self._wall_errors, kernel_ns - self._virtual.epoch_ns)

    def _raw_of_host(self, host_ns: int) -> int:
        if self._virtual is None:
            return host_ns
        return host_ns + error_at(self._raw_errors, host_ns - self._raw_epoch_ns)


def _host_pair() -> ClockPair:
    best: ClockPair | None = None
    for _ in range(_TRIES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        if best is None or after - before < best.raw_after_ns - best.raw_before_ns:
            best = ClockPair(before, wall, after)
        if after - before <= NARROW_NS:
            break
    assert best is not None, "at least one try was made"  # noqa: S101 - for the type checker
    return best


def late_pair(read: Callable[[], ClockPair], due_ns: int) -> tuple[ClockPair, int]:
    """Return a clock pair, and by how much later it was read than ``due_ns`` on the monotonic clock, in ns.

    Where something came in between, all is read again: what was due would be taken for as much earlier on the wall.
    """
    best: tuple[int, ClockPair, int] | None = None
    for _ in range(_TRIES):
        before_ns = time.monotonic_ns()
        pair = read()
        took_ns = time.monotonic_ns() - before_ns
        if best is None or took_ns < best[0]:
            best = (took_ns, pair, before_ns + took_ns // 2 - due_ns)
        if took_ns <= _UNDISTURBED_NS:
            break
    assert best is not None, "at least one try was made"  # noqa: S101 - for the type checker
    return best[1], best[2]


def user_stamp(pair: ClockPair) -> Stamp:
    """Return the instant of a user-space reading."""
    return Stamp(pair.wall_ns, pair.raw_ns, pair.half_bracket_ns, USER)


def moved_ns(earlier: ClockPair, later: ClockPair) -> int:
    """Return by how much the wall clock moved against the raw oscillator between two pairs, in ns."""
    return abs((later.wall_ns - earlier.wall_ns) - (later.raw_ns - earlier.raw_ns))


def stepped(earlier: ClockPair, later: ClockPair) -> bool:
    """Tell whether the wall clock moved between two pairs by more than everyday discipline slews it."""
    slew_ns = -(-abs(later.raw_ns - earlier.raw_ns) * SLEW_PPM // 1_000_000)
    return moved_ns(earlier, later) > slew_ns + earlier.half_bracket_ns + later.half_bracket_ns


class Anchor(NamedTuple):
    """What carries kernel stamps of one wake-up to the raw oscillator: a pair read right after them, and its error.

    ``raw_ns`` is None where the wall clock stepped since the pair before.
    """

    wall_ns: int
    raw_ns: int | None
    error_ns: int


def anchor(pair: ClockPair, before: ClockPair) -> Anchor:
    """Return the anchor of kernel stamps taken between the pairs ``before`` and ``pair``.

    Between packet and pair may lie a step too small to be told from a slew, or a slew of any rate that has just begun.
    So what the wall clock was seen to move since ``before`` is added, and the wider of the half brackets: with d1 and
    d2 the pairs' true wall - raw, seen as d1 + e1 and d2 + e2, a clock that moves one way has moved by part of d2 - d1
    since the packet, and the stamp is off by at most max(|e2|, |seen move| + |e1|). Assumed is that between two looks
    the wall clock moves one way, save for 500 ppm of the time from packet to pair.
    """
    raw_ns = None if stepped(before, pair) else pair.raw_ns
    half_bracket_ns = max(before.half_bracket_ns, pair.half_bracket_ns)
    return Anchor(pair.wall_ns, raw_ns, half_bracket_ns + moved_ns(before, pair))


def anchored(wall_ns: int, origin: str, by: Anchor) -> Stamp:
    """Return the stamp of a kernel time ``wall_ns`` (node's wall clock), carried to the raw oscillator.

    raw = raw_now - (wall_now - wall_kernel), wrong by at most half the bracket + 500 ppm of the gap.
    """
    wall_now_ns, raw_now_ns, error_ns = by
    gap = wall_now_ns - wall_ns
    if raw_now_ns is None:
        return Stamp(wall_ns, None, 0, origin, CLOCK_STEP)
    if gap < -_ROUNDING_NS:  # the pair was read after the packet: a wall clock that says otherwise was set back
        return Stamp(wall_ns, None, 0, origin, CLOCK_STEP)
    if gap > MAX_GAP_NS:
        return Stamp(wall_ns, None, 0, origin, STAMP_GAP)
    return Stamp(wall_ns, raw_now_ns - gap, error_ns - (-abs(gap) * SLEW_PPM // 1_000_000), origin)


def kernel_stamp(wall_ns: int, origin: str, pair: ClockPair, before: ClockPair) -> Stamp:
    """Return the stamp of a kernel time ``wall_ns`` taken between the pairs ``before`` and ``pair``."""
    return anchored(wall_ns, origin, anchor(pair, before))
