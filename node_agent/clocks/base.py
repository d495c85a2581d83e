"""The one interface of a clock source.

A source turns past samples and a stamp into a reading. It is a pure function: the agent computes readings online, and
anyone can recompute them from samples.csv.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from node_agent.contract.records import DISRUPTED, NEVER_SAMPLED, OK, Reading, Sample, Stamp, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence


SLEW_PPM: Final = 500  # everyday discipline of CLOCK_REALTIME (adjtimex(2)); what moves faster is taken for a step
NARROW_NS: Final = 3_000  # a clock pair with a wider bracket is read again, some times
KEEP: Final = 32  # samples kept per server: what a reading may use, and what came while its stamp waited its turn


@dataclass(frozen=True)
class Refused:
    """Why what a source said is not believed: the sample's outcome, and in words what that does not say."""

    outcome: str
    detail: str = ""


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
    """Return the reading of ``source`` for ``stamp``, from samples that count, sorted by publication.

    A sample serves a stamp iff it was published at or before the stamp's raw instant: no look-ahead. One that voids
    what was said before it leaves nothing but its own reason.
    """
    raw_ns = stamp.raw_ns
    if raw_ns is None:
        return Unavailable(stamp.problem)
    if samples and samples[-1].published_raw_ns > raw_ns:  # a stamp is judged soon after it is taken: few came since
        samples = [sample for sample in samples if sample.published_raw_ns <= raw_ns]
    if not samples:
        return Unavailable(NEVER_SAMPLED)
    if samples[-1].outcome != OK:
        return Unavailable(samples[-1].outcome)
    return source.read(samples, stamp, raw_ns)


def good(sample: Sample) -> bool:
    """Tell whether a sample carries numbers."""
    return sample.outcome == OK


def counts(sample: Sample) -> bool:
    """Tell whether a sample is one that readings go by: it carries numbers, or voids those of earlier ones."""
    return sample.outcome in {OK, DISRUPTED}
