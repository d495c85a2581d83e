"""Stretches of one oscillator whose instants may have been shown at two true times: what is stamped there is not known.

An oscillator that is set back shows again what it has shown. By more than a pause between two of the node's sends, and
these decrease: the stretch is known from them, up to a pause on either side. By less, and it lies within a pause of the
step, which the bounds of a pair contradict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.by_event.event_rows import different

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.arrays import Bools, Ints

_USUAL_PAUSES: Final = 8


@dataclass(frozen=True)
class Doubtful:
    """Stretches from ``begins`` to ``ends``, both included, in ns; in order, and none touches another."""

    begins: Ints
    ends: Ints

    def touched(self, low: Ints, high: Ints) -> Bools:
        """Tell of each interval [low, high] whether any of it is doubtful."""
        if not len(self.begins):
            return np.zeros(len(low), dtype=np.bool_)
        place = np.searchsorted(self.ends, low)
        begin = self.begins[np.minimum(place, len(self.begins) - 1)]
        touched: Bools = (place < len(self.begins)) & (begin <= high)
        return touched

    def pairs(self) -> list[tuple[int, int]]:
        """Return the stretches as pairs (from, to)."""
        return list(zip(self.begins.tolist(), self.ends.tolist(), strict=True))

    def passed(self, at_ns: Ints) -> Ints:
        """Return how many of the stretches lie before each instant."""
        return np.searchsorted(self.ends, at_ns).astype(np.int64)


NOTHING: Final = Doubtful(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def doubtful(stretches: Iterable[tuple[int, int]], pause: int = 0) -> Doubtful:
    """Return stretches (from, to), each widened by ``pause`` on either side, as one set."""
    merged: list[list[int]] = []
    for begin, end in sorted(stretches):
        if merged and begin - pause <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end + pause)
        else:
            merged.append([begin - pause, end + pause])
    begins, ends = np.array(merged, dtype=np.int64).reshape(-1, 2).T
    return Doubtful(begins, ends)


def longest_pause(at_ns: Ints) -> int:
    """Return the longest pause between a node's probes that is counted with, given all their instants: 8 usual ones."""
    return 0 if len(pauses := np.diff(different(at_ns))) < 1 else int(_USUAL_PAUSES * np.median(pauses))
