"""Numbers by their size: those at some ranks, exactly, of more numbers than fit into memory.

Few numbers are put in order. Of many, the first pass counts how often which leading 16 bits occur (a histogram), and
what lies in the steps that hold the wanted ranks is put in order by the second; where that is still too much, the next
16 bits are counted first. What is returned are the numbers themselves, never the middle of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from analysis.arrays import Floats, Ints

    Numbers = Callable[[], Iterable[NDArray[Any]]]  # piece by piece, the same each time they are asked for
    Keys = NDArray[np.uint64]

AT_ONCE: Final = 1 << 22  # numbers that are put in order in memory
_DIGIT: Final = 16  # bits
_STEPS: Final = 1 << _DIGIT
_BLOCK: Final = 1 << 18  # numbers that are looked at together: what is made of them fits into a processor's cache
_SIGN: Final = np.uint64(1 << 63)


class Ordered:
    """Numbers in order of size. None of them may be NaN; those not finite are the greatest or the smallest."""

    def __init__(self, numbers: Numbers, at_once: int | None = None) -> None:
        """Count the numbers, and keep them if they are no more than ``at_once`` (None: ``AT_ONCE``)."""
        at_once = AT_ONCE if at_once is None else at_once
        self._numbers, self._at_once = numbers, at_once
        kept: list[NDArray[Any]] = []
        self.count = 0
        for piece in numbers():
            self.count += len(piece)
            kept = [*kept, piece] if self.count <= at_once else []
        self._kept = np.concatenate([np.zeros(0), *kept]) if self.count <= at_once else None

    def at(self, ranks: Sequence[int] | Ints) -> Floats:
        """Return the numbers that so many others come before (0: the smallest), for every rank below ``count``."""
        wanted, place = np.unique(np.asarray(ranks, dtype=np.int64), return_inverse=True)
        if not len(wanted):
            return np.zeros(0)
        found = self._selected(wanted) if self._kept is None else np.partition(self._kept, wanted)[wanted]
        numbers: Floats = found[place]
        return numbers

    def quantiles(self, shares: Sequence[float] | Floats) -> Floats:
        """Return quantiles, linear between the two ranks next to each share of ``count`` - 1."""
        ranks = (self.count - 1) * np.asarray(shares, dtype=np.float64)
        below = np.floor(ranks).astype(np.int64)
        above = np.minimum(below + 1, self.count - 1)
        ends = self.at(np.concatenate([below, above]))
        low, high = ends[: len(ranks)], ends[len(ranks) :]
        part = ranks - below
        with np.errstate(invalid="ignore"):  # between infinities there is no line
            step = high - low
            lines = np.where(part < 0.5, low + step * part, high - step * (1 - part))  # as numpy does
        return np.where(low == high, low, lines)

    def _selected(self, ranks: Ints) -> Floats:
        """Return the numbers at some ranks, growing, in as many passes as it takes."""
        heads, within = np.zeros(len(ranks), dtype=np.uint64), ranks.copy()
        for shift in range(64 - _DIGIT, -1, -_DIGIT):
            steps, row = np.unique(heads, return_inverse=True)
            at_most = np.cumsum(self._counted(steps, shift), axis=1)
            digits = np.array(
                [np.searchsorted(at_most[at], rank, "right") for at, rank in zip(row, within, strict=True)]
            )
            before = np.where(digits > 0, at_most[row, np.maximum(digits - 1, 0)], 0)
            sizes, within = at_most[row, digits] - before, within - before
            heads = (heads << np.uint64(_DIGIT)) | digits.astype(np.uint64)
            chosen, first = np.unique(heads, return_index=True)
            if shift and int(sizes[first].sum()) <= self._at_once:
                return self._in_steps(chosen, shift, heads, within)
        return _numbers(heads)

    def _counted(self, steps: Keys, shift: int) -> Ints:
        """Return how often each digit follows the leading bits of some steps: one row per step."""
        counts = np.zeros(len(steps) * _STEPS, dtype=np.int64)
        for keys in self._keys():
            row, inside = _among(steps, _leading(keys, shift + _DIGIT))
            digits = (keys[inside] >> np.uint64(shift)) & np.uint64(_STEPS - 1)
            counts += np.bincount(row[inside] * _STEPS + digits.astype(np.int64), minlength=len(counts))
        return counts.reshape(len(steps), _STEPS)

    def _in_steps(self, steps: Keys, shift: int, heads: Keys, within: Ints) -> Floats:
        """Return the number at every place ``within`` the step of ``heads``."""
        some = [keys[_among(steps, _leading(keys, shift))[1]] for keys in self._keys()]
        ordered = np.sort(np.concatenate(some))
        begins = np.searchsorted(ordered, heads << np.uint64(shift))
        return _numbers(ordered[begins + within])

    def _keys(self) -> Iterator[Keys]:
        """Yield whole numbers that are in the same order as the numbers."""
        for piece in self._numbers():
            for begin in range(0, len(piece), _BLOCK):
                block = np.asarray(piece[begin : begin + _BLOCK], dtype=np.float64)
                bits = (block + 0.0).view(np.uint64)  # -0.0 becomes 0.0
                yield np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _leading(keys: Keys, shift: int) -> Keys:
    """Return the bits above the lowest ``shift``."""
    return keys >> np.uint64(shift) if shift < 64 else np.zeros_like(keys)


def _among(steps: Keys, heads: Keys) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the place of every head among some steps, growing, and whether it is one of them."""
    place = np.minimum(np.searchsorted(steps, heads), len(steps) - 1)
    return place, steps[place] == heads


def _numbers(keys: Keys) -> Floats:
    numbers: Floats = np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float64)
    return numbers
