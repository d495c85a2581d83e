"""How often a source's intervals hold the truth: three-valued, at its own level, at others, and by the sample's age.

The standard has a width too, so an interval contains the truth for certain, misses it for certain, or nobody can tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.stats.rates import Rate, opposite, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from analysis.arrays import Bools
    from analysis.clocks.clock import Clock, Piece
    from analysis.clocks.standards import Errors

LADDER: Final = (0.1, 0.25, 0.5, 0.683, 0.8, 0.9, 0.95, 0.99)
AGE_BINS: Final = 6


@dataclass(frozen=True)
class Coverage:
    """Shares of the judged intervals that contain the truth, miss it, or leave it open."""

    contained: Rate
    missed: Rate
    undecided: Rate

    @property
    def not_missed(self) -> Rate:
        """Return the greatest coverage that the standard allows; the least is ``contained``."""
        return opposite(self.missed)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Return the least and the greatest coverage that the standard allows, None where nothing was judged."""
        least, most = self.contained.value, self.not_missed.value
        return None if least is None or most is None else (least, most)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        rates: dict[str, Any] = {name: getattr(self, name).as_dict() for name in ("contained", "missed", "undecided")}
        if self.bounds is not None:
            least, most = self.bounds
            rates |= {"contained_bounds": [least, most], "missed_bounds": [1.0 - most, 1.0 - least]}
        return rates


@dataclass(frozen=True)
class Rung:
    """The coverage of the intervals the source would have given at another level."""

    claimed: float
    coverage: Coverage


@dataclass(frozen=True)
class AgeBin:
    """The coverage of readings whose sample was ``from_ms`` to ``to_ms`` old."""

    from_ms: float
    to_ms: float
    coverage: Coverage


def contains(errors: Errors) -> Bools:
    """Tell which intervals contain the truth wherever in its bounds it is; touching is containing."""
    inside: Bools = errors.bounded & (errors.low >= -errors.above) & (errors.high <= errors.below)
    return inside


def misses(errors: Errors) -> Bools:
    """Tell which intervals miss the truth wherever in its bounds it is."""
    outside: Bools = errors.bounded & ((errors.high < -errors.above) | (errors.low > errors.below))
    return outside


def coverage(clock: Clock) -> Coverage:
    """Return the coverage of all judged intervals of a clock."""
    return _coverages(clock, lambda piece: [(piece.errors, piece.errors.bounded)])[0]


def reliability(clock: Clock, own_level: float) -> tuple[Rung, ...]:
    """Return the coverage at each level of ``LADDER``, and at its own, of a source that claims a sigma.

    At level q the source would have multiplied its sigma by z(q), the normal quantile, instead of by z(its own level);
    what its interval has beside (ageing, the stamp's own error) stays. For the difference of two readings sigma is the
    sum of both, and the claim is 2 q - 1.
    """
    from scipy.special import ndtri  # noqa: PLC0415 - 0.4 s that only probabilistic sources are worth

    if not clock.bounded or not all(_claims_sigma(piece) for piece in clock.pieces):
        return ()
    levels = (*(level for level in LADDER if level < own_level), own_level)
    narrower = [float(ndtri(0.5 + own_level / 2.0)) - float(ndtri(0.5 + level / 2.0)) for level in levels]

    def of_rungs(piece: Piece) -> Iterator[tuple[Errors, Bools]]:
        sigma_ns = np.nan_to_num(piece.sigma_ns)
        for sigmas in narrower:
            arms = (piece.errors.below, piece.errors.above)
            below, above = (np.floor(arm - sigmas * sigma_ns).astype(np.int64) for arm in arms)
            yield replace(piece.errors, below=below, above=above), piece.errors.bounded

    paired = clock.level != own_level
    claimed = (max(0.0, 2.0 * level - 1.0) if paired else level for level in levels)
    return tuple(map(Rung, claimed, _coverages(clock, of_rungs)))


def _claims_sigma(piece: Piece) -> bool:
    """Tell whether a sigma belongs to every judged interval of a piece."""
    return bool(np.isfinite(piece.sigma_ns[piece.errors.bounded]).all())


def by_age(clock: Clock) -> tuple[AgeBin, ...]:
    """Return the coverage by the age of the sample that served, in equal steps from the youngest to the oldest."""
    youngest, oldest = math.inf, -math.inf
    for piece in clock.pieces:
        ages = piece.beside.age_ms[_aged(piece)]
        youngest, oldest = float(ages.min(initial=youngest)), float(ages.max(initial=oldest))
    if youngest > oldest:
        return ()
    edges = np.linspace(youngest, oldest, AGE_BINS + 1) if oldest > youngest else np.array([youngest, oldest])

    def of_bins(piece: Piece) -> Iterator[tuple[Errors, Bools]]:
        aged = _aged(piece)
        place = np.searchsorted(edges, np.nan_to_num(piece.beside.age_ms), side="right") - 1
        place = np.clip(place, 0, len(edges) - 2)
        for bin_ in range(len(edges) - 1):
            yield piece.errors, aged & (place == bin_)

    return tuple(map(AgeBin, map(float, edges[:-1]), map(float, edges[1:]), _coverages(clock, of_bins)))


def _aged(piece: Piece) -> Bools:
    aged: Bools = piece.errors.bounded & np.isfinite(piece.beside.age_ms)
    return aged


def _coverages(clock: Clock, chosen: Callable[[Piece], Iterable[tuple[Errors, Bools]]]) -> list[Coverage]:
    """Return several coverages: ``chosen`` yields, for each, errors of a piece and which of their intervals count."""

    def shares(piece: Piece) -> Iterator[tuple[Bools, Bools]]:
        for errors, judged in chosen(piece):
            inside = contains(errors)
            yield inside, judged
            if not clock.exact:
                outside = misses(errors)
                yield outside, judged
                yield ~inside & ~outside, judged

    counted = clock.rates(shares)
    if clock.exact:
        return [Coverage(held, opposite(held), rate(0, held.denominator)) for held in counted]
    return [Coverage(*counted[place : place + 3]) for place in range(0, len(counted), 3)]
