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

Where the standard has a width, so has every error, and with it every second difference of errors: each deviation is
then the least and the greatest of what these allow, term by term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis.stats.ordered import Ordered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analysis.arrays import Floats, Ints, Places

MOST_POINTS: Final = 4_096
FEWEST_POINTS: Final = 16
FEWEST_TERMS: Final = 2  # a deviation of one difference says nothing
S: Final = 1e9
_NEVER: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Even:
    """Phase data at every ``tau0_s``, each within ``half_s`` of ``phase_s`` (s).

    ``slots`` is how many the whole run has, filled or not.
    """

    tau0_s: float
    phase_s: Floats
    half_s: Floats
    slots: int


Bounded = tuple[float, float]  # the least and the greatest that a number can be


@dataclass(frozen=True)
class Deviations:
    """ADEV (no unit), TDEV and MTIE (s) at ``tau_s``, least and greatest; None of data too short for a tau."""

    tau0_s: float
    points: int
    slots: int
    tau_s: tuple[float, ...]
    adev: tuple[Bounded | None, ...]
    tdev_s: tuple[Bounded | None, ...]
    mtie_s: tuple[Bounded | None, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable data; a plain number only where it is known exactly, its bounds beside."""
        numbers: dict[str, Any] = {}
        for name in ("adev", "tdev_s", "mtie_s"):
            deviation: tuple[Bounded | None, ...] = getattr(self, name)
            numbers[name] = [None if ends is None or ends[0] != ends[1] else ends[0] for ends in deviation]
            numbers[f"{name}_bounds"] = [None if ends is None else list(ends) for ends in deviation]
        return {
            "tau0_s": self.tau0_s,
            "points": self.points,
            "slots_of_the_run": self.slots,
            "resampling": "first error of each slot of tau0, longest run of slots without an empty one",
            "tau_s": list(self.tau_s),
            **numbers,
        }


class Timed(NamedTuple):
    """Errors at instants, in ns: each is within ``half_ns`` of ``error_ns``."""

    at_ns: Ints
    error_ns: Floats
    half_ns: Floats

    @classmethod
    def between(cls, at_ns: Ints, low_ns: Floats, high_ns: Floats) -> Timed:
        """Return errors of which each lies between two limits."""
        return cls(at_ns, (low_ns + high_ns) / 2, (high_ns - low_ns) / 2)

    def take(self, which: Places | slice) -> Timed:
        """Return some of them."""
        return Timed(self.at_ns[which], self.error_ns[which], self.half_ns[which])


Pieces = Callable[[], "Iterable[Timed]"]  # of the errors of a run, the same each time they are asked for


def stability(pieces: Pieces) -> Deviations | None:
    """Return the deviations of errors that are given piece by piece, None where there are too few."""
    even = resample(pieces)
    return None if even is None else deviations(even)


def resample(pieces: Pieces) -> Even | None:
    """Return evenly spaced phase data, as the module says, or None of fewer than ``FEWEST_POINTS`` points."""
    ends = [
        (int(piece.at_ns.min()), int(piece.at_ns.max()), len(piece.at_ns)) for piece in pieces() if len(piece.at_ns)
    ]
    if sum(count for _, _, count in ends) < FEWEST_POINTS:
        return None
    first_ns = min(least for least, _, _ in ends)
    span_ns = max(most for _, most, _ in ends) - first_ns
    if span_ns <= 0:
        return None
    spacing = Ordered(lambda: _spacings(in_order(pieces)))
    tau0_ns = _round_up(max(float(spacing.quantiles([0.95])[0]), span_ns / MOST_POINTS))
    slots, errors = _first_of_slots(in_order(pieces), first_ns, tau0_ns)
    breaks = np.flatnonzero(np.diff(slots) > 1) + 1
    edges = np.concatenate([[0], breaks, [len(slots)]])
    longest = int(np.argmax(np.diff(edges)))
    chosen = errors.take(slice(edges[longest], edges[longest + 1]))
    if len(chosen.at_ns) < FEWEST_POINTS:
        return None
    return Even(tau0_ns / S, chosen.error_ns / S, chosen.half_ns / S, int(slots[-1]) + 1)


def in_order(pieces: Pieces) -> Iterator[Timed]:
    """Yield the same errors in order of time, those of one instant in the order given.

    An error is kept back until no later piece has one that is earlier; of a run whose events come in about the order of
    time these are few.
    """
    earliest = [int(piece.at_ns.min(initial=_NEVER)) for piece in pieces()]
    later = [*accumulate(earliest[:0:-1], min, initial=_NEVER)][::-1]  # by piece: the earliest of all that follow
    waiting = Timed(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    for piece, until_ns in zip(pieces(), later, strict=True):
        both = _together([waiting, piece])
        both = both.take(np.argsort(both.at_ns, kind="stable"))
        ready = int(np.searchsorted(both.at_ns, until_ns, side="left"))
        yield both.take(slice(ready))
        waiting = both.take(slice(ready, None))


def _spacings(ordered: Iterable[Timed]) -> Iterator[Ints]:
    """Yield how much later each error is than the one before it, in ns."""
    last = np.zeros(0, dtype=np.int64)
    for piece in ordered:
        at_ns = np.concatenate([last, piece.at_ns])
        yield np.diff(at_ns)
        last = at_ns[-1:]


def _first_of_slots(ordered: Iterable[Timed], first_ns: int, tau0_ns: int) -> tuple[Ints, Timed]:
    """Return the number of every slot that has an error, and its first."""
    slots, errors, last = [], [], -1
    for piece in ordered:
        filled, first = np.unique((piece.at_ns - first_ns) // tau0_ns, return_index=True)
        new = filled > last
        slots.append(filled[new])
        errors.append(piece.take(first[new]))
        last = max(last, int(filled[-1])) if len(filled) else last
    return np.concatenate(slots), _together(errors)


def _together(pieces: Sequence[Timed]) -> Timed:
    at_ns, error_ns, half_ns = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    return Timed(at_ns, error_ns, half_ns)


def deviations(even: Even, multiples: Sequence[int] | None = None) -> Deviations:
    """Return the deviations at so many tau0 (1, 2, 4 … up to half the data), where the data are long enough."""
    count = len(even.phase_s)
    factors = list(multiples or (2**power for power in range(int(math.log2(count / 2)) + 1)))
    taus = tuple(factor * even.tau0_s for factor in factors)
    adev, tdev, mtie = (tuple(_finite(of(even, factor)) for factor in factors) for of in (_adev, _tdev, _mtie))
    return Deviations(even.tau0_s, count, even.slots, taus, adev, tdev, mtie)


def _adev(even: Even, factor: int) -> Bounded | None:
    """Return the overlapping Allan deviation at ``factor`` tau0 (NIST SP 1065, equation 11); None of one term."""
    phase, half = even.phase_s, even.half_s
    if len(phase) - 2 * factor < FEWEST_TERMS:
        return None
    second = phase[2 * factor :] - 2 * phase[factor:-factor] + phase[: -2 * factor]
    reach = half[2 * factor :] + 2 * half[factor:-factor] + half[: -2 * factor]
    return _root_mean_square(second, reach, math.sqrt(2.0) * factor * even.tau0_s)


def _tdev(even: Even, factor: int) -> Bounded | None:
    """Return the time deviation, tau / sqrt 3 of the modified Allan deviation (equations 14 and 15), in s.

    The inner sum over ``factor`` second differences slides: each step adds the newest and takes the oldest away, which
    is a third difference of the phase; it is not the difference of two long sums, which would cancel digits.
    """
    if len(even.phase_s) - 3 * factor + 1 < FEWEST_TERMS:
        return None
    inner, reach = _sliding(even.phase_s, factor, -1.0), _sliding(even.half_s, factor, 1.0)
    return _root_mean_square(inner, np.maximum(reach, 0.0), math.sqrt(6.0) * factor)


def _sliding(values: Floats, factor: int, sign: float) -> Floats:
    """Return the sums of ``factor`` terms v[i + 2 f] + 2 sign v[i + f] + v[i], one after the other."""
    first, second, third = (values[place * factor : (place + 1) * factor] for place in range(3))
    steps = len(values) - 3 * factor
    oldest, older, newer, newest = (values[place * factor : place * factor + steps] for place in range(4))
    began = np.sum(third + 2 * sign * second + first)
    # v[i + 3 f] + (2 sign - 1) v[i + 2 f] - (2 sign - 1) v[i + f] - v[i]
    changes = newest + (2 * sign - 1) * (newer - older) - oldest
    return np.concatenate([[began], began + np.cumsum(changes)])


def _root_mean_square(terms: Floats, reach: Floats, unit: float) -> Bounded:
    """Return the root mean square of terms that are each known to ``reach``, over a unit: least and greatest."""
    if not reach.any():
        exact = float(np.sqrt(np.sum(terms * terms) / len(terms)) / unit)
        return exact, exact
    most = np.abs(terms) + reach
    least = np.maximum(np.abs(terms) - reach, 0.0)
    low, high = (float(np.sqrt(np.sum(part * part) / len(terms)) / unit) for part in (least, most))
    return low, high


def _mtie(even: Even, factor: int) -> Bounded | None:
    """Return the largest range of the phase within ``factor`` + 1 consecutive points (ITU-T G.810, appendix II)."""
    if len(even.phase_s) - factor < FEWEST_TERMS:
        return None
    width = factor + 1
    low, high = even.phase_s - even.half_s, even.phase_s + even.half_s
    most = _sliding_extreme(np.maximum, high, width) - _sliding_extreme(np.minimum, low, width)
    least = _sliding_extreme(np.maximum, low, width) - _sliding_extreme(np.minimum, high, width)
    return max(0.0, float(np.max(least))), float(np.max(most))


def _sliding_extreme(extreme: np.ufunc, values: Floats, width: int) -> Floats:
    """Return the extreme of every ``width`` consecutive values: that of two windows of a power of two that cover it."""
    extremes, covered = values, 1
    while 2 * covered <= width:
        extremes = extreme(extremes[:-covered], extremes[covered:])
        covered *= 2
    if rest := width - covered:
        extremes = extreme(extremes[:-rest], extremes[rest:])
    result: Floats = extremes
    return result


def _round_up(spacing_ns: float) -> int:
    """Return the smallest of 1, 2, 5 · 10^k ns that is no less than a spacing."""
    power = 10 ** math.floor(math.log10(max(spacing_ns, 1.0)))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= spacing_ns)


def _finite(bounded: Bounded | None) -> Bounded | None:
    return bounded if bounded is not None and all(math.isfinite(value) for value in bounded) else None
