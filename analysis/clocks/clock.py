"""One source on one node, as it is judged: what it says of the events and how wrong that is, piece by piece.

A run that is in memory is one piece. Statistics of a clock go through its pieces, as often as they have to; what they
add up is whole numbers, or is added in the events' own order, so that it makes no difference how a run was cut.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.by_event.event_rows import Instants
from analysis.stats import histogram, rates
from analysis.stats.ordered import Ordered
from analysis.stats.segments import SegmentSums, longest_tau

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints
    from analysis.clocks.standards import Errors

    Of = Callable[["Piece"], NDArray[Any]]  # some numbers of a piece
    Pieces = Iterable["Piece"]  # the same each time they are gone through


@dataclass(frozen=True)
class Beside:
    """What a source says of some events beside its errors; ages and claims are NaN where it says nothing.

    ``bounded``: readings with an interval, ``width_ns`` wide. ``instants``: when the node stamped the events, ``sent``:
    when they were sent. ``begins_at``: the place of the first of them in the run.
    """

    bounded: Bools
    width_ns: Ints
    age_ms: Floats
    claimed_ns: Floats
    asymmetry_ns: Floats
    instants: Instants
    sent: Instants
    begins_at: int


@dataclass(frozen=True)
class Piece:
    """Some consecutive events: the errors of the source, and those of the last sample held where there is any.

    ``segments``: the number of every event's segment in the run (see ``dependence``). ``sigma_ns``: the claim that
    belongs to what was judged: for the difference of two readings it is the sum of both.
    """

    errors: Errors
    segments: Ints
    held: Errors | None
    sigma_ns: Floats
    beside: Beside


class _Changed:
    """Pieces seen through a function, each time they are gone through."""

    def __init__(self, pieces: Pieces, change: Callable[[Piece], Piece]) -> None:
        self._pieces, self._change = pieces, change

    def __iter__(self) -> Iterator[Piece]:
        return map(self._change, self._pieces)


def changed(pieces: Pieces, change: Callable[[Piece], Piece]) -> Pieces:
    """Return pieces as a function changes them, whenever they are gone through."""
    return _Changed(pieces, change)


@dataclass(frozen=True)
class Clock:
    """All pieces of one source on one node, and what holds for all of them.

    ``level``: what the judged intervals claim, None for a point clock. ``exact``: the standard has no width.
    ``relative``: errors are of differences of two nodes' readings. ``judged``, ``bounded``: how many errors there are,
    and how many judged intervals. ``tau``: the autocorrelation time of what is behind coverage, in segments; None where
    nothing varied that could tell.
    """

    pieces: Pieces
    level: float | None
    exact: bool
    relative: bool
    judged: int
    bounded: int
    tau: float | None

    @classmethod
    def of(cls, pieces: Pieces) -> Clock:
        """Look at all pieces, of which there is at least one."""
        counts: Counter[str] = Counter()
        for piece in pieces:
            errors = piece.errors
            counts.update(judged=int(errors.judged.sum()), bounded=int(errors.bounded.sum()), wide=not errors.exact)
            counts.update(relative=errors.relative)
        latent = SegmentSums()
        for piece in pieces:
            known = piece.errors.bounded if counts["bounded"] else piece.errors.judged
            latent.add(piece.segments, piece.errors.latent, known)
        return cls(
            pieces=pieces,
            level=errors.level,
            exact=not counts["wide"],
            relative=bool(counts["relative"]),
            judged=counts["judged"],
            bounded=counts["bounded"],
            tau=longest_tau([latent]),
        )

    def changed(self, change: Callable[[Piece], Piece]) -> Clock:
        """Return the same clock with pieces changed by a function, which leaves what is judged and what it shares."""
        return replace(self, pieces=changed(self.pieces, change))

    def ordered(self, numbers: Of) -> Ordered:
        """Return some numbers of all pieces in order of size."""
        return Ordered(lambda: map(numbers, self.pieces))

    def spread(self, numbers: Of, unit: float = 1.0) -> rates.Spread:
        """Return the spread of some numbers of all pieces, divided by ``unit``."""
        return rates.spread_of(self.ordered(lambda piece: np.asarray(numbers(piece), dtype=np.float64) / unit))

    def histogram(self, numbers: Of, unit: float = 1.0) -> histogram.Histogram:
        """Return the histogram of some numbers of all pieces, divided by ``unit``."""
        return reduce(add, (histogram.histogram(numbers(piece), unit) for piece in self.pieces))

    def rates(self, shares: Callable[[Piece], Iterable[tuple[Bools, Bools]]]) -> list[rates.Rate]:
        """Return several rates: for each, of every piece, which events are hits and which it is of."""
        sums: list[SegmentSums] = []
        for piece in self.pieces:
            for place, (hits, of) in enumerate(shares(piece)):
                if place == len(sums):
                    sums.append(SegmentSums())
                sums[place].add(piece.segments, hits & of, of)
        return [rate_of(own, self.tau) for own in sums]


def in_one_piece(
    errors: Errors,
    segments: Ints,
    held: Errors | None = None,
    sigma_ns: Floats | None = None,
    age_ms: Floats | None = None,
) -> Clock:
    """Return a clock of which nothing is known but its errors, and the claims and ages that are given."""
    unknown, zero = np.full(len(segments), np.nan), np.zeros(len(segments), dtype=np.int64)
    never = Instants(zero, np.zeros(len(segments), dtype=np.bool_))
    beside = Beside(
        bounded=errors.bounded,
        width_ns=errors.below + errors.above,
        age_ms=unknown if age_ms is None else age_ms,
        claimed_ns=unknown,
        asymmetry_ns=unknown,
        instants=never,
        sent=never,
        begins_at=0,
    )
    return Clock.of([Piece(errors, segments, held, unknown if sigma_ns is None else sigma_ns, beside)])


def rate_of(sums: SegmentSums, tau: float | None) -> rates.Rate:
    """Return the rate of hits that were added up by segment."""
    return rates.rate(int(sums.total), sums.count, rates.worth(sums.bins, tau))
