"""A clock whose newest sample says it all: an interval around its time, held over from the instant it holds at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from node_agent.clocks.holdover import held_over
from node_agent.contract.records import GUARANTEED, NOT_YET_VALID, PROBABILISTIC, STALE, Available, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node_agent.contract.records import Reading, Sample, Stamp


@dataclass(frozen=True)
class NewestSource:
    """Reads a source by its newest sample, in terms of ``reference``.

    The interval is the sample's bound, guaranteed, or with a ``multiplier`` so many of its sigmas and its asymmetry,
    probabilistic. What a sample claims of its growth and of its validity is obeyed.
    """

    name: str
    reference: str
    max_drift_ppm: float
    valid_for_ns: int
    multiplier: float = 0.0

    def read(self, samples: Sequence[Sample], stamp: Stamp, raw_ns: int) -> Reading:
        """Return the newest sample's interval at the stamp. Raises ValueError if the sample lacks a number."""
        sample = samples[-1]
        now = held_over(sample, raw_ns, self.max_drift_ppm, self.multiplier, stamp.raw_error_ns)
        age = raw_ns - (sample.raw_at_ns or 0)
        if age > self.valid_for_ns:
            return Unavailable(STALE)
        if -age > self.valid_for_ns:  # an answer about a time that far ahead says no more about now than an old one
            return Unavailable(NOT_YET_VALID)
        if sample.valid_until_raw_ns is not None and raw_ns > sample.valid_until_raw_ns:
            return Unavailable(STALE)
        kind, level = self._claim
        return Available(
            now.est_ns, now.est_ns - now.half_ns, now.est_ns + now.half_ns, kind, level, self.reference, now.claim_ns,
            age, sample.sample_id, sample.asymmetry_ns, now.law,
        )  # fmt: skip

    @cached_property
    def _claim(self) -> tuple[str, float]:
        return (PROBABILISTIC, math.erf(self.multiplier / math.sqrt(2))) if self.multiplier else (GUARANTEED, 1.0)
