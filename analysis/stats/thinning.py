"""Which of many points a line is drawn through: evenly spread, at most so many, and first of all those that contradict.

The rule looks at nothing but a point's position in the run and whether it contradicts. So parts of a run may be thinned
by themselves: what is thinned of parts, and then together, is what is thinned of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.arrays import Bools, Ints

MOST_POINTS: Final = 2_000  # of a line

_MASKS: Final = (
    (1, 0x5555555555555555),
    (2, 0x3333333333333333),
    (4, 0x0F0F0F0F0F0F0F0F),
    (8, 0x00FF00FF00FF00FF),
    (16, 0x0000FFFF0000FFFF),
    (32, 0x00000000FFFFFFFF),
)


def chosen(position: Ints, contradicts: Bools, most: int = MOST_POINTS) -> Ints:
    """Return the indices, in order of position, of at most ``most`` points to draw; ``position`` is 0, 1, … in the run.

    Contradictions take up to half of the places, everything else what is left. Among either those come first whose
    position reads lowest with its bits reversed (van der Corput's sequence), which lie evenly however many are taken.
    """
    if len(position) <= most:
        return np.argsort(position, kind="stable")
    rank = _reversed_bits(position)
    places = np.arange(len(position))
    kept = _lowest(places[contradicts], rank, most // 2)
    rest = _lowest(places[~contradicts], rank, most - len(kept))
    both = np.concatenate([kept, rest])
    return both[np.argsort(position[both], kind="stable")]


def _lowest(places: NDArray[Any], rank: NDArray[np.uint64], most: int) -> NDArray[Any]:
    if len(places) <= most:
        return places
    return places[np.argpartition(rank[places], most - 1)[:most]]


def _reversed_bits(position: Ints) -> NDArray[np.uint64]:
    """Return 64-bit numbers whose bits are in the opposite order."""
    number = position.astype(np.uint64)
    for shift, mask in _MASKS:
        by, low = np.uint64(shift), np.uint64(mask)
        number = ((number >> by) & low) | ((number & low) << by)
    return number
