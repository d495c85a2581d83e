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
from analysis.stats import rates

if TYPE_CHECKING:
    from analysis.arrays import Floats, Ints
    from analysis.clocks.claims import SourceRows
    from analysis.clocks.coverage import Coverage
    from analysis.clocks.standards import Errors
    from analysis.run.table import Readings
    from analysis.stats.dependence import Dependence

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


def parts(readings: Readings, rows: SourceRows, errors: Errors, sigma_ns: Floats, shared: Dependence) -> Parts | None:
    """Return the parts of a source's readings and what the truth says of each; None where it claims no sigma.

    ``sigma_ns`` belongs to what was judged: for the difference of two readings it is the sum of both.
    """
    if readings.level is None or not 0.0 < readings.level < 1.0 or not readings.bounded.any():
        return None
    if not np.isfinite(rows.claimed_ns[readings.bounded]).all():
        return None
    multiplier = calibration.multiplier(readings.level)
    half = ((readings.latest - readings.earliest) / 2)[readings.bounded]
    random = multiplier * rows.claimed_ns[readings.bounded]
    arm = np.where(errors.bounded, multiplier * np.nan_to_num(sigma_ns), 0.0)
    below, above = (np.maximum(whole - arm, 0.0) for whole in (errors.below, errors.above))
    asymmetry = rows.asymmetry_ns[readings.bounded]
    return Parts(
        random=_part(random, errors, (arm, arm), (below, above), shared),
        systematic=_part(np.maximum(half - random, 0.0), errors, (below, above), (arm, arm), shared),
        asymmetry_us=rates.spread(asymmetry[~np.isnan(asymmetry)], US),
    )


Arms = tuple["Floats", "Floats"]  # how far an interval reaches under and over the estimate


def _part(half: Floats, errors: Errors, own: Arms, other: Arms, shared: Dependence) -> Part:
    below, above = (np.floor(arm).astype(np.int64) for arm in own)
    alone = replace(errors, below=below, above=above, independent=(below + above) / 2)
    beyond = replace(alone, low=_beyond(errors.low, other), high=_beyond(errors.high, other))
    return Part(
        half_width_us=rates.spread(half, US),
        alone=coverages.coverage(alone, shared),
        kappa=calibration.kappa(beyond, shared),
    )


def _beyond(error: Ints, arms: Arms) -> Ints:
    """Return what is left of errors after what the arms allow."""
    below, above = (np.floor(arm).astype(np.int64) for arm in arms)
    left: Ints = np.maximum(error - below, 0) + np.minimum(error + above, 0)
    return left
