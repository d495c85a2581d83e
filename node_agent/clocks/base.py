"""The one interface of a clock source, and the one place where a bound grows with age.

A source turns past samples and a stamp into a reading. It is a pure function: the agent computes readings online, and
anyone can recompute them from samples.csv.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

from node_agent.contract.records import NEVER_SAMPLED, OK, Reading, Sample, Stamp, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

SLEW_PPM: Final = 500  # everyday discipline of CLOCK_REALTIME (adjtimex(2)); what moves faster is taken for a step
NARROW_NS: Final = 3_000  # a clock pair with a wider bracket is read again, some times
KEEP: Final = 32  # good samples kept per server: what a reading may use, and what came while its stamp waited its turn


class ClockSource(Protocol):
    """Something that can be asked for the time. One file in ``clocks`` says what its answers mean."""

    @property
    def name(self) -> str:
        """Return the source's name, the key of ``records.COLUMN_PREFIX``."""

    @property
    def valid_for_ns(self) -> int:
        """Return how old a sample may be and still serve, in ns."""

    def read(self, samples: Sequence[Sample], stamp: Stamp, raw_ns: int) -> Reading:
        """Return what ``samples`` say about ``stamp``.

        ``samples`` are this source's good samples published at or before ``raw_ns`` (the stamp's raw instant), oldest
        first, at least one; some may be too old to serve.
        """


def evaluate(source: ClockSource, samples: Sequence[Sample], stamp: Stamp) -> Reading:
    """Return the reading of ``source`` for ``stamp``, from good samples sorted by ``published_raw_ns``.

    A sample serves a stamp iff it was published at or before the stamp's raw instant: no look-ahead.
    """
    raw_ns = stamp.raw_ns
    if raw_ns is None:
        return Unavailable(stamp.problem)
    if samples and samples[-1].published_raw_ns > raw_ns:  # a stamp is judged soon after it is taken: few came since
        samples = [sample for sample in samples if sample.published_raw_ns <= raw_ns]
    return source.read(samples, stamp, raw_ns) if samples else Unavailable(NEVER_SAMPLED)


def good(sample: Sample) -> bool:
    """Tell whether a sample carries numbers."""
    return sample.outcome == OK


@cache  # a run has one max_drift_ppm
def drift_per_ns(max_drift_ppm: float) -> tuple[int, int]:
    """Return (a, b): during t ns of its own time an oscillator runs away by at most t * a / b ns.

    An oscillator off by at most p = max_drift_ppm * 10^-6 (local = (1 + d) * true, |d| <= p) shows t while the true
    time that passed differs from it by at most t * p / (1 - p). p is rounded up to 10^-9.
    """
    ppb = math.ceil(Fraction(str(max_drift_ppm)) * 1_000)  # the number as it was typed, not as a float holds it
    return ppb, 1_000_000_000 - ppb


def drift_bound_ns(elapsed_ns: int, max_drift_ppm: float) -> int:
    """Return how far an oscillator may run away during ``elapsed_ns`` of its own time, in ns, rounded up."""
    rate, per = drift_per_ns(max_drift_ppm)
    return -(-abs(elapsed_ns) * rate // per)


def aged_bound_ns(bound_ns: int, age_ns: int, max_drift_ppm: float, raw_error_ns: int = 0) -> int:
    """Return a sample's bound ``age_ns`` after (or before) the instant it holds at, in ns, rounded up.

    bound(age) = bound_at_sample + drift bound(age): DESIGN section 5, ageing; the only place where a bound grows. What
    the error of the stamp adds (``stamp_bound_ns``) comes on top.
    """
    rate, per = drift_per_ns(max_drift_ppm)
    if raw_error_ns:
        bound_ns += raw_error_ns - (-abs(raw_error_ns) * rate // per)
    return bound_ns - (-abs(age_ns) * rate // per)


def stamp_bound_ns(raw_error_ns: int, max_drift_ppm: float) -> int:
    """Return what a stamp's error adds to the half-width of its reading, in ns, rounded up.

    A stamp off by e on the raw oscillator is off by e in true time, and by what the oscillator may drift during e.
    """
    return aged_bound_ns(0, 0, max_drift_ppm, raw_error_ns)
