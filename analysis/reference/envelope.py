"""The envelope of one pair: all bounds on theta, each widened by the drift since, and where they contradict each other.

With |d theta/dt| <= rho, a bound at t_k holds at t when widened by rho |t - t_k|:

    U(t) = min_k(u_k + rho |t - t_k|)        L(t) = max_k(l_k - rho |t - t_k|)

The minimum over earlier k is a running minimum of u_k - rho t_k, that over later k one of u_k + rho t_k from the end.
Between neighbouring knots the envelope is the lower of two lines, so it is known everywhere from its knots: O(n).

*Segments.* Two bounds j before k that exclude each other (u_j + rho (t_k - t_j) < l_k, or the reverse) prove that one
of the oscillators stepped in (t_j, t_k]. All bounds up to j are from before the step, all from k on from after it; what
lies between may be either and is used for neither. A k that contradicts its past ends a segment at the latest such j.
A segment is valid from where it has both an upper and a lower bound to where it last has: a step later than that could
not show. An oscillator that is set back shows some instants twice, and the probes alone do not tell whose step it was;
so around a step is left out as much as theta jumped at most, on either side, and no less than 8 usual pauses between
probes. Several steps between two segments may each be larger than the jump they add up to; but a set-back by more than
a pause shows in the order of the node's own sends, and what is shown twice then is known and left out on either node.

*Both clocks.* What is left out on the first node's oscillator is left out on the second's: of a probe that no segment
is valid at, nobody knows on which of its ends the step was, and it may be all that was stamped between two steps.

*Hidden steps.* A step at t of size s up is contradicted iff s > (U from before t) - (L from after t), both against the
theta before and after it: that is the sum of the least forward and the least backward delay near t, a round trip, plus
drift and stamp errors. Steps up to there contradict nothing and cannot be found by anyone with these assumptions; one
above three round trips always shows while probes come often enough that rho times their gap stays below a round trip.
``hidden`` is that limit, for steps either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.reference import drift
from analysis.reference.bounds import Bounds, merged
from analysis.reference.doubtful import NOTHING, Doubtful, doubtful, longest_pause
from analysis.reference.running import FAR, running, stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.arrays import Bools, Ints


class At(NamedTuple):
    """theta, or what an oscillator showed, at instants: within [low, high]; 0 where ``segment`` is -1."""

    low: Ints
    high: Ints
    segment: Ints

    def where(self, known: Bools) -> At:
        """Return the same at some of the instants, nothing elsewhere."""
        if known.all():
            return self
        return At(np.where(known, self.low, 0), np.where(known, self.high, 0), np.where(known, self.segment, -1))

    @classmethod
    def nowhere(cls, count: int) -> At:
        """Return as many instants of which nothing is known."""
        zeros = np.zeros(count, dtype=np.int64)
        return cls(zeros, zeros, np.full(count, -1, dtype=np.int64))


@dataclass(frozen=True)
class Envelope:
    """theta of a pair over the first node's raw oscillator, in ns.

    Knots ``at`` with ``low`` and ``high``, each in one segment; segments are valid from ``begins`` to ``ends``. A knot
    is an instant with bounds of both kinds on both of its sides, so that each of its numbers is one.
    ``groups`` are the bounds each segment rests on; ``support`` are the instants of the probes themselves. Nothing is
    known of what is ``doubtful`` on the second node's oscillator.
    """

    ppb: int
    at: Ints
    low: Ints
    high: Ints
    hidden: Ints
    segment: Ints
    begins: Ints
    ends: Ints
    groups: tuple[Bounds, ...]
    support: Ints
    doubtful: Doubtful = NOTHING

    def bare(self) -> Envelope:
        """Return the same without what it rests on: for who only asks it what theta is."""
        nothing = np.zeros(0, dtype=np.int64)
        return replace(self, groups=(), support=nothing, hidden=nothing)

    def segment_at(self, at_ns: Ints) -> Ints:
        """Return the number of the segment each instant lies in, -1 where none is valid."""
        if not len(self.begins):
            return np.full(len(at_ns), -1, dtype=np.int64)
        if len(self.begins) == 1:  # as of most pairs
            return np.where((at_ns >= self.begins[0]) & (at_ns <= self.ends[0]), 0, -1)
        place = np.searchsorted(self.begins, at_ns, side="right") - 1
        inside = (place >= 0) & (at_ns <= self.ends[place])
        return np.where(inside, place, -1).astype(np.int64)

    def theta(self, at_ns: Ints) -> At:
        """Return theta at instants of the first node's oscillator."""
        theta = self.bounded(at_ns)
        if not len(self.doubtful.begins):
            return theta
        return theta.where((theta.segment >= 0) & ~self.doubtful.touched(at_ns + theta.low, at_ns + theta.high))

    def bounded(self, at_ns: Ints) -> At:
        """Return what theta is bounded by at instants of the first node's, even where the second's are doubtful."""
        segment = self.segment_at(at_ns)
        known = segment >= 0
        if not known.any():
            return At.nowhere(len(at_ns))
        before = np.searchsorted(self.at, at_ns, side="right") - 1
        after = np.minimum(before + 1, len(self.at) - 1)
        before = np.maximum(before, 0)
        lows, highs = [], []
        for knot in (before, after):
            widened = drift.up(np.abs(at_ns - self.at[knot]), self.ppb)
            low, high = self.low[knot] - widened, self.high[knot] + widened
            if len(self.begins) > 1:
                same = known & (self.segment[knot] == segment)
                low, high = np.where(same, low, -FAR), np.where(same, high, FAR)
            lows.append(low)
            highs.append(high)
        low, high = np.maximum(*lows), np.minimum(*highs)
        if len(self.begins) > 1:
            known &= (low > -FAR) & (high < FAR)
        return At(low, high, segment).where(known)

    def ahead(self, at_ns: Ints, error_ns: Ints) -> At:
        """Return what the second node's oscillator showed when the first one's showed ``at_ns`` +- ``error_ns``.

        Of two oscillators the one advances by at most 1 + rho of the other, and so does the stamp's error.
        """
        theta = self.theta(at_ns)
        grown = error_ns + drift.up(error_ns, self.ppb)
        inside = self.segment_at(at_ns - error_ns) == self.segment_at(at_ns + error_ns)
        low, high = at_ns + theta.low - grown, at_ns + theta.high + grown
        known = (theta.segment >= 0) & inside & ~self.doubtful.touched(low, high)
        return At(low, high, theta.segment).where(known)

    def segment_ahead(self, at_ns: Ints, error_ns: Ints) -> Ints:
        """Return the segments of what ``ahead`` returns, without the numbers: a fifth of the work, as of most pairs."""
        if len(self.begins) != 1 or len(self.doubtful.begins):
            return self.ahead(at_ns, error_ns).segment
        inside = self.segment_at(at_ns - error_ns) == self.segment_at(at_ns + error_ns)
        return np.where(inside, self.segment_at(at_ns), -1)

    def back(self, shown_ns: Ints, error_ns: Ints) -> At:
        """Return what the first node's oscillator showed when the second one's showed ``shown_ns`` +- ``error_ns``.

        Sought is z with z + theta(z) = y. From any z0 nearby, y - (z0 + theta(z0)) is how far the second oscillator
        still has to go, and the first goes between 1/(1 + rho) and 1/(1 - rho) of that.
        """
        if not len(self.at):
            return At.nowhere(len(shown_ns))
        middle = self.low + (self.high - self.low) // 2
        images = self.at + middle
        if (images[1:] < images[:-1]).any():  # theta falls faster than time passes, as at a step
            order = np.argsort(images, kind="stable")
            images, middle = images[order], middle[order]
        place = np.minimum(np.searchsorted(images, shown_ns), len(images) - 1)
        near = shown_ns - middle[place]
        theta = self.theta(near)
        low = near + self._gone(shown_ns - error_ns - near - theta.high, least=True)
        high = near + self._gone(shown_ns + error_ns - near - theta.low, least=False)
        known = (theta.segment >= 0) & (self.segment_at(low) == theta.segment)
        known &= self.segment_at(high) == theta.segment
        known &= ~self.doubtful.touched(shown_ns - error_ns, shown_ns + error_ns)
        return At(low, high, theta.segment).where(known)

    def _gone(self, other_ns: Ints, *, least: bool) -> Ints:
        """Return the least or the most by which one oscillator advances while the other does by ``other_ns``."""
        # 1/(1 - rho) <= 1 + rho + 2 rho^2 for rho < 1/2, and 1/(1 + rho) >= 1 - rho: one factor covers both
        generous = self.ppb + 1 + 2 * self.ppb * self.ppb // 1_000_000_000
        spread = drift.up(np.abs(other_ns), generous)
        return other_ns - spread if least else other_ns + spread

    def support_age(self, at_ns: Ints) -> Ints:
        """Return how far the nearest probe is from each instant, in ns."""
        after = np.minimum(np.searchsorted(self.support, at_ns), len(self.support) - 1)
        before = np.maximum(after - 1, 0)
        age: Ints = np.minimum(np.abs(self.support[after] - at_ns), np.abs(at_ns - self.support[before]))
        return age


class Group(NamedTuple):
    """Bounds that may be used together, and from where to where nothing else forbids it."""

    bounds: Bounds
    begin: int
    end: int


def envelope(groups: Sequence[Group], ppb: int, support: Ints, *, pausing: bool = False) -> Envelope:
    """Return the envelope of groups of bounds, in order of time, that no bound may be carried between.

    ``pausing``: between two of its segments at least the longest pause of ``support`` is left out on either side.
    """
    pieces = [
        Group(group.bounds.take(stretch), group.begin, group.end)
        for group in groups
        for stretch in stretches(group.bounds, ppb)
    ]
    sure = [place for place, piece in enumerate(pieces) if _valid(piece.bounds) is not None]
    # 1 before, between and after those that are valid somewhere, where one that is not lay
    beside = (np.diff([-1, *sure, len(pieces)]) > 1).astype(np.int64)
    pieces = [pieces[place] for place in sure]
    parts = [piece.bounds for piece in pieces]
    knots = [_knots(part, ppb) for part in parts]
    if pausing:
        beside[1:-1] = 1
    if beside.any():
        beside *= longest_pause(support)
    begins, ends = _trimmed(knots, beside, ppb)
    begins = np.maximum(begins, np.array([piece.begin for piece in pieces], dtype=np.int64))
    ends = np.minimum(ends, np.array([piece.end for piece in pieces], dtype=np.int64))
    kept = np.flatnonzero(begins <= ends)
    nothing = np.zeros(0, dtype=np.int64)

    def joined(arrays: list[Ints]) -> Ints:
        return np.concatenate([arrays[place] for place in kept]) if len(kept) else nothing

    return Envelope(
        ppb=ppb,
        at=joined([knot.at for knot in knots]),
        low=joined([knot.low for knot in knots]),
        high=joined([knot.high for knot in knots]),
        hidden=joined([knot.hidden for knot in knots]),
        segment=_numbered([len(knots[place].at) for place in kept]),
        begins=begins[kept],
        ends=ends[kept],
        groups=tuple(parts[place] for place in kept),
        support=support,
    )


def _numbered(lengths: list[int]) -> Ints:
    """Return the number of each segment, once for each of its knots; of a single one, as most are, in no memory."""
    if len(lengths) == 1:
        return np.broadcast_to(np.int64(0), (lengths[0],))
    return np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)


class _Knots(NamedTuple):
    at: Ints
    low: Ints
    high: Ints
    hidden: Ints


def _knots(part: Bounds, ppb: int) -> _Knots:
    """Return the knots of a part that is valid somewhere: its instants with bounds of both kinds on both sides."""
    best = running(part, ppb)
    begin, end = _valid(part) or (0, -1)
    first = np.flatnonzero(np.diff(part.at, prepend=part.at[0] - 1))
    last = np.append(first[1:], len(part.at)) - 1
    both = (part.at[first] >= begin) & (part.at[first] <= end)
    first, last = first[both], last[both]
    low_past, low_future = best.low_past[last], best.low_future[first]
    high_past, high_future = best.high_past[last], best.high_future[first]
    low, high = np.maximum(low_past, low_future), np.minimum(high_past, high_future)
    hidden = np.maximum(high_past - low_future, high_future - low_past)
    return _Knots(part.at[first], low, high, hidden)


def _valid(part: Bounds) -> tuple[int, int] | None:
    """Return from where to where there are bounds of both kinds on both sides, None if nowhere."""
    upper, lower = part.upper, ~part.upper
    if not upper.any() or not lower.any():
        return None
    begin = int(part.at[max(upper.argmax(), lower.argmax())])
    end = int(part.at[::-1][max(upper[::-1].argmax(), lower[::-1].argmax())])
    return (begin, end) if begin <= end else None


def _trimmed(knots: list[_Knots], least: Ints, ppb: int) -> tuple[Ints, Ints]:
    """Return from where to where each part is valid once the surroundings of each step are left out.

    ``least`` is the least to leave out before, between and after the parts: where a piece without valid instants lies
    there, how far theta jumped is not known, but a set-back longer than the pause it fell into would have shown itself.
    """
    begins = np.array([part.at[0] for part in knots], dtype=np.int64)
    ends = np.array([part.at[-1] for part in knots], dtype=np.int64)
    if not knots:
        return begins, ends
    jumps = least.copy()
    for left in range(len(knots) - 1):
        here, there = knots[left], knots[left + 1]
        apart = drift.up(np.abs(begins[left + 1 : left + 2] - ends[left]), ppb)[0]
        up, down = there.high[0] - here.low[-1], here.high[-1] - there.low[0]
        jumps[left + 1] = max(jumps[left + 1], apart + max(up, down))
    # each jump may reach beyond the next part
    begins = np.maximum.accumulate(begins + jumps[:-1])
    ends = np.minimum.accumulate((ends - jumps[1:])[::-1])[::-1]
    return begins, ends


def envelope_of(bounds: Bounds, twice: Sequence[tuple[int, int]], ppb: int) -> Envelope:
    """Return the envelope of bounds; those within stretches that the first oscillator showed twice tell nothing."""
    whole = Group(bounds, -int(FAR), int(FAR))
    return envelope(apart([whole], twice), ppb, bounds.at)


def pair_envelope(bounds: Bounds, twice: tuple[Doubtful, Doubtful], ppb: int) -> Envelope:
    """Return the envelope of a pair's own probes, given what each node's oscillator showed twice."""
    first, second = twice
    groups = apart(_before_and_after(bounds, second), first.pairs())
    alone = envelope(groups, ppb, bounds.at, pausing=True)
    return replace(alone, doubtful=doubtful(second.pairs() + left_out(alone, bounds)[1].pairs()))


def left_out(kept: Envelope, bounds: Bounds) -> tuple[Doubtful, Doubtful]:
    """Return what of either node's oscillator is near stamps of a pair's probes that its envelope leaves out.

    Where nothing was contradicted, that is nothing.
    """
    if len(kept.groups) == 1 and len(kept.groups[0].at) == len(bounds.at):
        return NOTHING, NOTHING
    pause = longest_pause(bounds.at)
    at = bounds.at[kept.segment_at(bounds.at) < 0]
    shown = (bounds.at + bounds.value)[kept.segment_at(bounds.at) < 0]
    first, second = (doubtful([(stamp - pause, stamp + pause) for stamp in stamps.tolist()]) for stamps in (at, shown))
    return first, second


def _before_and_after(bounds: Bounds, second: Doubtful) -> list[Group]:
    """Return the bounds apart that lie before, between and after what the second oscillator showed twice."""
    shown = bounds.at + bounds.value
    side = np.where(second.touched(shown, shown), -1, second.passed(shown))
    changes = np.flatnonzero(np.diff(side)) + 1
    runs = [run for run in np.split(np.arange(len(side)), changes) if len(run) and side[run[0]] >= 0]
    return [Group(bounds.take(slice(run[0], run[-1] + 1)), -int(FAR), int(FAR)) for run in runs]


def even_instants(envelope: Envelope, count: int) -> Ints:
    """Return about ``count`` instants of the first node, evenly over the time in which the envelope is valid."""
    lengths = envelope.ends - envelope.begins
    if not len(lengths):
        return np.zeros(0, dtype=np.int64)
    reached = np.concatenate([[0], np.cumsum(lengths)])
    wanted = np.linspace(0, int(reached[-1]), count).astype(np.int64)
    place = np.clip(np.searchsorted(reached, wanted, side="right") - 1, 0, len(lengths) - 1)
    return np.unique(envelope.begins[place] + wanted - reached[place])


def tightened(direct: Envelope, more: Bounds, dead: Sequence[tuple[int, int]]) -> Envelope:
    """Return the envelope with more bounds inside its segments; ``dead`` stretches are no longer valid."""
    groups = []
    for bounds, begin, end in zip(direct.groups, direct.begins.tolist(), direct.ends.tolist(), strict=True):
        inside = (more.at >= begin) & (more.at <= end)
        groups.append(Group(merged([bounds, more.take(inside)]), begin, end))
    return replace(envelope(apart(groups, dead), direct.ppb, direct.support), doubtful=direct.doubtful)


def apart(groups: list[Group], dead: Sequence[tuple[int, int]]) -> list[Group]:
    """Return groups without what lies in ``dead`` stretches; no bound may be carried over one."""
    for start, stop in dead:
        parts = []
        for bounds, begin, end in groups:
            parts.append(Group(bounds.take(bounds.at < start), begin, min(end, start)))
            parts.append(Group(bounds.take(bounds.at > stop), max(begin, stop), end))
        groups = [part for part in parts if len(part.bounds.at)]
    return sorted((group for group in groups if len(group.bounds.at)), key=lambda group: int(group.bounds.at[0]))
