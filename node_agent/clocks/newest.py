"""A clock whose newest sample says it all: an interval around its time, aged from the instant it holds at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from node_agent.clocks.base import aged_bound_ns
from node_agent.contract.records import (
    GUARANTEED,
    NOT_YET_VALID,
    PROBABILISTIC,
    STALE,
    Available,
    Reading,
    Sample,
    Stamp,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class NewestSource:
    """Reads a source by its newest sample, in terms of ``reference``.

    The interval is the sample's bound, guaranteed, or with a ``multiplier`` so many of its sigmas, probabilistic.
    """

    name: str
    reference: str
    max_drift_ppm: float
    valid_for_ns: int
    multiplier: float = 0.0

    def read(self, samples: Sequence[Sample], stamp: Stamp, raw_ns: int) -> Reading:
        """Return the newest sample's interval at the stamp. Raises ValueError if the sample lacks a number."""
        sample = samples[-1]
        width_ns = sample.sigma_ns if self.multiplier else sample.bound_ns
        if sample.raw_at_ns is None or sample.reference_at_ns is None or width_ns is None:
            raise ValueError(f"sample {sample.sample_id}: a good one has raw, reference, and a bound or sigma")
        age = raw_ns - sample.raw_at_ns
        if age > self.valid_for_ns:
            return Unavailable(STALE)
        if -age > self.valid_for_ns:  # an answer about a time that far ahead says no more about now than an old one
            return Unavailable(NOT_YET_VALID)
        est = sample.reference_at_ns + age
        at_sample = width_ns
        if self.multiplier:
            at_sample = math.ceil(self.multiplier * width_ns) + (sample.bound_stamp_ns or 0)
        half = aged_bound_ns(at_sample, age, self.max_drift_ppm, stamp.raw_error_ns)
        kind, level = self._claim
        claimed_ns = width_ns if self.multiplier else half
        return Available(
            est, est - half, est + half, kind, level, self.reference, claimed_ns, age, sample.sample_id
        )  # fmt: skip

    @cached_property
    def _claim(self) -> tuple[str, float]:
        return (PROBABILISTIC, math.erf(self.multiplier / math.sqrt(2))) if self.multiplier else (GUARANTEED, 1.0)
