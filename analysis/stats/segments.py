"""Segments of shared samples, and sums over them, of events that come piece by piece.

What is added up here is the same however the events are cut into pieces, to the last digit: a segment that goes on in
the next piece is added to, number by number, where the last one left it. (What a segment is: ``dependence``.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.stats.dependence import autocorrelation_time, bins_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from analysis.arrays import Bools, Floats, Ints
    from analysis.stats.dependence import Bins


class Numbering:
    """Numbers the segments of events, piece after piece, as ``dependence.segments_of`` does all of them at once."""

    def __init__(self) -> None:
        self._seen: list[NDArray[np.integer]] = []
        self._begun = 0

    def of(self, *served: NDArray[np.integer]) -> Ints:
        """Return the segment of every event; ``served``: the sample of each at every clock, negative for none."""
        begins = np.zeros(len(served[0]), dtype=np.bool_)
        self._seen = self._seen or [np.zeros(0, dtype=np.int64) for _ in served]
        for stream, samples in enumerate(served):
            names, first = np.unique(samples, return_index=True)
            new = (names >= 0) & ~np.isin(names, self._seen[stream])
            begins[first[new]] = True
            self._seen[stream] = np.concatenate([self._seen[stream], names[new]])
        segments = self._begun + np.cumsum(begins)
        self._begun = int(segments[-1]) if len(segments) else self._begun
        numbers: Ints = np.maximum(segments - 1, 0)  # what no sample served yet joins the first
        return numbers


class SegmentSums:
    """Sums of values of chosen events by segment, and how many they are; the segments are numbered growing."""

    def __init__(self) -> None:
        self._sums = np.zeros(0)
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, segments: Ints, values: NDArray[Any], chosen: Bools) -> None:
        """Add the chosen events of the next piece."""
        events = slice(None) if chosen.all() else np.flatnonzero(chosen)  # the former takes nothing apart
        kept, numbers = values[events], segments[events]
        if not len(kept):
            return
        first, end = int(numbers[0]), int(numbers[-1]) + 1
        more = max(0, end - len(self._sums))
        self._sums = np.concatenate([self._sums, np.zeros(more)])
        self._counts = np.concatenate([self._counts, np.zeros(more, dtype=np.int64)])
        places = numbers - first
        # what the first segment has so far goes before its first value here, as if it had never been cut
        weights = np.concatenate([self._sums[first : first + 1], kept.astype(np.float64)])
        self._sums[first:end] = np.bincount(np.concatenate([[0], places]), weights, end - first)
        self._counts[first:end] += np.bincount(places, minlength=end - first)

    @property
    def bins(self) -> Bins:
        """Return the series of the segments that have any of the events."""
        return bins_of(*self.by_segment)

    @property
    def by_segment(self) -> tuple[Floats, Floats]:
        """Return the sums, and of how many events each is, of the segments that have any."""
        some = self._counts > 0
        return self._sums[some], self._counts[some].astype(np.float64)

    @property
    def count(self) -> int:
        """Return of how many events the sums are."""
        return int(self._counts.sum())

    @property
    def total(self) -> float:
        """Return the sum of all values."""
        return float(self._sums.sum())


def longest_tau(latents: Iterable[SegmentSums]) -> float | None:
    """Return the autocorrelation time, in segments, of the latent quantity that forgets most slowly."""
    series = (sums.by_segment for sums in latents)
    taus = [tau for sums, lengths in series if (tau := autocorrelation_time(sums / lengths)) is not None]
    return max(taus, default=None)
