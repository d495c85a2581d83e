"""How often a source's intervals hold the truth: three-valued, at its own level, at others, and by the sample's age.

The standard has a width too, so an interval contains the truth for certain, misses it for certain, or nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.stats.rates import Rate, opposite, rate, rate_of

if TYPE_CHECKING:
    from analysis.arrays import Bools, Floats
    from analysis.clocks.standards import Errors
    from analysis.stats.dependence import Dependence

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


def coverage(errors: Errors, shared: Dependence, chosen: Bools | None = None) -> Coverage:
    """Return the coverage of all judged intervals, or of the chosen ones."""
    judged = errors.bounded if chosen is None else errors.bounded & chosen
    inside = contains(errors)
    contained = rate_of(inside, judged, shared)
    if errors.exact:
        missed = opposite(contained)
        return Coverage(contained, missed, rate(0, contained.denominator))
    outside = misses(errors)
    return Coverage(
        contained,
        rate_of(outside, judged, shared),
        rate_of(~inside & ~outside, judged, shared),
    )


def reliability(errors: Errors, sigma_ns: Floats, own_level: float, shared: Dependence) -> tuple[Rung, ...]:
    """Return the coverage at each level of ``LADDER``, and at its own, of a source that claims a sigma.

    At level q the source would have multiplied its sigma by z(q), the normal quantile, instead of by z(its own level);
    what its interval has beside (ageing, the stamp's own error) stays. For the difference of two readings sigma is the
    sum of both, and the claim is 2 q - 1.
    """
    from scipy.special import ndtri  # noqa: PLC0415 - 0.4 s that only probabilistic sources are worth

    if not errors.bounded.any() or not np.isfinite(sigma_ns[errors.bounded]).all():
        return ()
    multiplier = float(ndtri(0.5 + own_level / 2.0))
    paired = errors.level != own_level
    rungs = []
    for level in (*(level for level in LADDER if level < own_level), own_level):
        narrower = (multiplier - float(ndtri(0.5 + level / 2.0))) * np.nan_to_num(sigma_ns)
        below, above = (np.floor(arm - narrower).astype(np.int64) for arm in (errors.below, errors.above))
        claimed = max(0.0, 2.0 * level - 1.0) if paired else level
        rungs.append(Rung(claimed, coverage(replace(errors, below=below, above=above), shared)))
    return tuple(rungs)


def by_age(errors: Errors, age_ms: Floats, shared: Dependence) -> tuple[AgeBin, ...]:
    """Return the coverage by the age of the sample that served, in equal steps from the youngest to the oldest."""
    aged = errors.bounded & np.isfinite(age_ms)
    if not aged.any():
        return ()
    youngest, oldest = float(age_ms[aged].min()), float(age_ms[aged].max())
    edges = np.linspace(youngest, oldest, AGE_BINS + 1) if oldest > youngest else np.array([youngest, oldest])
    place = np.clip(np.searchsorted(edges, np.nan_to_num(age_ms), side="right") - 1, 0, len(edges) - 2)
    return tuple(
        AgeBin(float(edges[bin_]), float(edges[bin_ + 1]), coverage(errors, shared, aged & (place == bin_)))
        for bin_ in range(len(edges) - 1)
    )
