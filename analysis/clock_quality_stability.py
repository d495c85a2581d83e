"""How a clock's error wanders: Allan deviation, time deviation and maximum time interval error of a source's errors.

After W. J. Riley, Handbook of Frequency Stability Analysis, NIST SP 1065 (2008): overlapping ADEV, TDEV (from MDEV)
and MTIE of the error as phase data. The formulas are written out here, for importing allantools takes longer than
judging all clocks of a run; the tests hold every number against allantools and against the published values.

These deviations need evenly spaced data and events are not, so:

The time axis is the node's raw oscillator (its wall clock where it has no raw stamps), cut into slots of tau0, the
smallest of 1, 2, 5 · 10^k seconds that is no less than the 95th percentile of the spacing of errors, and of which the
run has no more than ``MOST_POINTS``. Each slot takes its first error as it is: none is averaged, interpolated or held,
for averaging would take away noise and holding would add silence. A point is thus up to tau0 away from its place. Only
the longest run of slots without an empty one is used; its length is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_POINTS: Final = 4_096
FEWEST_POINTS: Final = 16
FEWEST_TERMS: Final = 2  # a deviation of one difference says nothing
S: Final = 1e9


@dataclass(frozen=True)
class Even:
    """Phase data (s) at every ``tau0_s``; ``slots`` is how many the whole run has, filled or not."""

    tau0_s: float
    phase_s: NDArray[np.float64]
    slots: int


@dataclass(frozen=True)
class Deviations:
    """ADEV (no unit), TDEV and MTIE (s) at ``tau_s``; None where the data are too short for a tau."""

    tau0_s: float
    points: int
    slots: int
    tau_s: tuple[float, ...]
    adev: tuple[float | None, ...]
    tdev_s: tuple[float | None, ...]
    mtie_s: tuple[float | None, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data."""
        return {
            "tau0_s": self.tau0_s,
            "points": self.points,
            "slots_of_the_run": self.slots,
            "resampling": "first error of each slot of tau0, longest run of slots without an empty one",
            "tau_s": list(self.tau_s),
            "adev": list(self.adev),
            "tdev_s": list(self.tdev_s),
            "mtie_s": list(self.mtie_s),
        }


def stability(at_ns: NDArray[np.int64], error_ns: NDArray[np.float64]) -> Deviations | None:
    """Return the deviations of the errors (ns) at the instants (ns), or None where there are too few of them."""
    even = resample(at_ns, error_ns)
    return None if even is None else deviations(even)


def resample(at_ns: NDArray[np.int64], error_ns: NDArray[np.float64]) -> Even | None:
    """Return evenly spaced phase data, as the module says, or None of fewer than ``FEWEST_POINTS`` points."""
    if len(at_ns) < FEWEST_POINTS:
        return None
    order = np.argsort(at_ns, kind="stable")
    at, error = at_ns[order], error_ns[order]
    spacing = np.diff(at)
    span = float(at[-1] - at[0])
    if span <= 0.0:
        return None
    tau0_ns = _round_up(max(float(np.percentile(spacing, 95)), span / MOST_POINTS))
    slot = (at - at[0]) // tau0_ns
    filled, first = np.unique(slot, return_index=True)
    breaks = np.flatnonzero(np.diff(filled) > 1) + 1
    edges = np.concatenate([[0], breaks, [len(filled)]])
    longest = int(np.argmax(np.diff(edges)))
    chosen = first[edges[longest] : edges[longest + 1]]
    if len(chosen) < FEWEST_POINTS:
        return None
    return Even(tau0_ns / S, error[chosen] / S, int(slot[-1]) + 1)


def deviations(even: Even, multiples: Sequence[int] | None = None) -> Deviations:
    """Return the deviations at so many tau0 (1, 2, 4 … up to half the data), where the data are long enough."""
    count = len(even.phase_s)
    factors = list(multiples or (2**power for power in range(int(math.log2(count / 2)) + 1)))
    taus = tuple(factor * even.tau0_s for factor in factors)
    adev, tdev, mtie = (
        tuple(_finite(function(even, factor)) for factor in factors) for function in (_adev, _tdev, _mtie)
    )
    return Deviations(even.tau0_s, count, even.slots, taus, adev, tdev, mtie)


def _adev(even: Even, factor: int) -> float | None:
    """Return the overlapping Allan deviation at ``factor`` tau0 (NIST SP 1065, equation 11); None of one term."""
    phase = even.phase_s
    if len(phase) - 2 * factor < FEWEST_TERMS:
        return None
    second = phase[2 * factor :] - 2 * phase[factor:-factor] + phase[: -2 * factor]
    return float(np.sqrt(np.sum(second * second) / (2.0 * len(second))) / (factor * even.tau0_s))


def _tdev(even: Even, factor: int) -> float | None:
    """Return the time deviation, tau / sqrt 3 of the modified Allan deviation (equations 14 and 15), in s.

    The inner sum over ``factor`` second differences slides: each step adds the newest and takes the oldest away, which
    is a third difference of the phase; it is not the difference of two long sums, which would cancel digits.
    """
    phase = even.phase_s
    terms = len(phase) - 3 * factor + 1
    if terms < FEWEST_TERMS:
        return None
    first, second, third = (phase[place * factor : (place + 1) * factor] for place in range(3))
    steps = len(phase) - 3 * factor
    oldest, older, newer, newest = (phase[place * factor : place * factor + steps] for place in range(4))
    began = np.sum(third - 2 * second + first)
    inner = np.concatenate([[began], began + np.cumsum(newest - 3 * newer + 3 * older - oldest)])
    return float(np.sqrt(np.sum(inner * inner) / (6.0 * terms)) / factor)


def _mtie(even: Even, factor: int) -> float | None:
    """Return the largest range of the phase within ``factor`` + 1 consecutive points (ITU-T G.810, appendix II), in s.

    Extremes of a window are those of two windows of a power of two that cover it, each found by doubling.
    """
    if len(even.phase_s) - factor < FEWEST_TERMS:
        return None
    most = least = even.phase_s
    width = 1
    while 2 * width <= factor + 1:
        most = np.maximum(most[:-width], most[width:])
        least = np.minimum(least[:-width], least[width:])
        width *= 2
    if rest := factor + 1 - width:
        most = np.maximum(most[:-rest], most[rest:])
        least = np.minimum(least[:-rest], least[rest:])
    return float(np.max(most - least))


def _round_up(spacing_ns: float) -> int:
    """Return the smallest of 1, 2, 5 · 10^k ns that is no less than a spacing."""
    power = 10 ** math.floor(math.log10(max(spacing_ns, 1.0)))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= spacing_ns)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
