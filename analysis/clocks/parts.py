"""The two parts of a probabilistic source's intervals: k sigma of what is random, and what is systematic.

A reading's half-width is ``k sigma + s``; s is the asymmetry that the source claims, and what the drift limit and the
errors of stamps add. An error does not say which part it is of, so each part is judged with the other taken as claimed:

    kappa of sigma        Q[max(0, |e| - s) / (k sigma)]
    kappa of systematic   Q[max(0, |e| - k sigma) / s]

Q is the quantile of the claimed level (``calibration.kappa``), e the error. If what is random is normal with this
sigma, and what is systematic within s, then |e| - s exceeds k sigma at most as often as the level leaves open: a kappa
of sigma above 1, beyond chance, refutes the claim. One below 1 does not prove it, since s may hide a sigma that is too
small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.clocks import calibration
from analysis.clocks import coverage as coverages

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.arrays import Floats, Ints
    from analysis.clocks.clock import Clock, Piece
    from analysis.clocks.coverage import Coverage
    from analysis.stats import rates

US: Final = 1_000.0


@dataclass(frozen=True)
class Part:
    """One part: its half-width in readings (us), how often it alone holds the truth, and its factor (see above)."""

    half_width_us: rates.Spread
    alone: Coverage
    kappa: calibration.Kappa | None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        kappa = self.kappa
        return {
            "half_width_us": self.half_width_us.as_dict(),
            "coverage_alone": self.alone.as_dict(),
            "kappa_bounds": None if kappa is None else [kappa.least, kappa.value],
            "kappa_interval": None if kappa is None or kappa.low is None else [kappa.least_low, kappa.high],
        }


@dataclass(frozen=True)
class Parts:
    """What a source's half-widths are made of. ``asymmetry_us``: of the readings that claim one, as claimed."""

    random: Part
    systematic: Part
    asymmetry_us: rates.Spread

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return {
            "k_sigma": self.random.as_dict(),
            "systematic": self.systematic.as_dict(),
            "asymmetry_us": self.asymmetry_us.as_dict(),
        }


def parts(clock: Clock, level: float | None) -> Parts | None:
    """Return the parts of a source's readings and what the truth says of each; None where it claims no sigma.

    ``level``: what the source itself claims.
    """
    if level is None or not 0.0 < level < 1.0:
        return None
    if not any(piece.beside.bounded.any() for piece in clock.pieces):
        return None
    if not all(np.isfinite(piece.beside.claimed_ns[piece.beside.bounded]).all() for piece in clock.pieces):
        return None
    sigmas = calibration.multiplier(level)

    def random(piece: Piece) -> Floats:
        own = piece.beside
        return sigmas * own.claimed_ns[own.bounded]

    def systematic(piece: Piece) -> Floats:
        own = piece.beside
        left: Floats = np.maximum((own.width_ns / 2)[own.bounded] - random(piece), 0.0)
        return left

    def asymmetry(piece: Piece) -> Floats:
        own = piece.beside
        claimed = own.asymmetry_ns[own.bounded]
        return claimed[~np.isnan(claimed)]

    def arms(piece: Piece) -> tuple[Arms, Arms]:
        """Return what is random and what is systematic of the judged intervals."""
        errors = piece.errors
        arm = np.where(errors.bounded, sigmas * np.nan_to_num(piece.sigma_ns), 0.0)
        below, above = (np.maximum(whole - arm, 0.0) for whole in (errors.below, errors.above))
        return (arm, arm), (below, above)

    return Parts(
        random=_part(clock, random, arms),
        systematic=_part(clock, systematic, lambda piece: arms(piece)[::-1]),
        asymmetry_us=clock.spread(asymmetry, US),
    )


Arms = tuple["Floats", "Floats"]  # how far an interval reaches under and over the estimate


def _part(clock: Clock, half: Callable[[Piece], Floats], arms: Callable[[Piece], tuple[Arms, Arms]]) -> Part:
    """Return a part: ``half``: its half-widths in readings; ``arms``: its own and the other's in what is judged."""

    def alone(piece: Piece) -> Piece:
        below, above = (np.floor(arm).astype(np.int64) for arm in arms(piece)[0])
        return replace(piece, errors=replace(piece.errors, below=below, above=above, independent=(below + above) / 2))

    def beyond(piece: Piece) -> Piece:
        errors, other = alone(piece).errors, arms(piece)[1]
        return replace(piece, errors=replace(errors, low=_beyond(errors.low, other), high=_beyond(errors.high, other)))

    return Part(
        half_width_us=clock.spread(half, US),
        alone=coverages.coverage(clock.changed(alone)),
        kappa=calibration.kappa(clock.changed(beyond)),
    )


def _beyond(error: Ints, arms: Arms) -> Ints:
    """Return what is left of errors after what the arms allow."""
    below, above = (np.floor(arm).astype(np.int64) for arm in arms)
    left: Ints = np.maximum(error - below, 0) + np.minimum(error + above, 0)
    return left
