"""The pairs of events that are near each other in time, of which workers are asked for the order.

Pairs are numbered by the earlier event's time of sending, then by distance. A run can be cut by these numbers: a part
needs the events of its pairs, and the sending times of the whole run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from analysis.arrays import Bools, Ints

SPAN_NS: Final = 1_000_000_000
MOST_PAIRS: Final = 1_000_000  # beyond it a stratified sample is judged, and the report says how many of how many
SAMPLE_SEED: Final = 20251025


@dataclass(frozen=True)
class Pairs:
    """Positions of two events each, the one sent first first, in order of time; ``total``: how many a run has."""

    first: Ints
    second: Ints
    total: int

    def __len__(self) -> int:
        """Return how many pairs are judged."""
        return len(self.first)

    def part(self, begin: int, end: int) -> Pairs:
        """Return some consecutive pairs."""
        return Pairs(self.first[begin:end], self.second[begin:end], self.total)

    @property
    def span(self) -> tuple[int, int]:
        """Return the first place of an event of theirs, and the one after the last."""
        low = min(self.first.min(), self.second.min())
        return int(low), int(max(self.first.max(), self.second.max())) + 1

    def moved(self, by: int) -> Pairs:
        """Return the pairs of events whose places are moved."""
        return Pairs(self.first + by, self.second + by, self.total)


def nearby(sent_ns: Ints, known: Bools, span_ns: int = SPAN_NS, most: int = MOST_PAIRS) -> Pairs:
    """Return the pairs of events sent within ``span_ns`` of each other.

    Beyond ``most`` pairs, one pair is drawn from each of ``most`` equal parts of the list of all pairs, with a fixed
    seed; time and memory then stay bounded.
    """
    positions = np.flatnonzero(known)
    positions = positions[np.argsort(sent_ns[positions], kind="stable")]
    times = sent_ns[positions]
    followers = np.searchsorted(times, times + span_ns, side="right") - np.arange(len(times)) - 1
    ends = np.cumsum(followers)
    total = int(ends[-1]) if len(ends) else 0
    if total <= most:
        numbers = np.arange(total)
    else:
        edges = np.arange(most + 1) * (total / most)
        low = np.floor(edges[:-1]).astype(np.int64)
        high = np.maximum(np.floor(edges[1:]).astype(np.int64), low + 1)
        numbers = np.random.default_rng(SAMPLE_SEED).integers(low, high)
    first = np.searchsorted(ends, numbers, side="right")
    second = first + 1 + numbers - (ends[first] - followers[first])
    return Pairs(positions[first], positions[second], total)
