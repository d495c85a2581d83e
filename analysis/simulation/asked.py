"""The clock sources of one simulated node: the agent's own readers, and every sample that they will ever be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.checks.replay import Published
from node_agent.clocks.base import counts, evaluate
from node_agent.clocks.sources import configured
from node_agent.contract.records import OK, SourceStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node_agent.clocks.base import ClockSource
    from node_agent.contract.plan import ClocksPlan
    from node_agent.contract.records import Reading, Sample, Stamp


class Asked:
    """One source and its samples, good and failed, in the order of their publication."""

    def __init__(self, source: ClockSource, samples: Sequence[Sample]) -> None:
        self._source, self._samples = source, samples
        self._published = Published([sample for sample in samples if counts(sample)], source)

    def reading(self, stamp: Stamp) -> Reading:
        """Return what the source says about a stamp, by the samples that were published by then."""
        return evaluate(self._source, self._published.before(stamp), stamp)

    def status(self, stamp: Stamp) -> SourceStatus:
        """Return the source's status at the end, when all samples are taken."""
        failures = sum(sample.outcome != OK for sample in self._samples)
        last = self._samples[-1].outcome if self._samples else ""
        return SourceStatus.from_reading(self.reading(stamp), stamp.wall_ns, len(self._samples), failures, last)


def asked_sources(samples: Sequence[Sample], clocks: ClocksPlan) -> dict[str, Asked]:
    """Return the sources of one node by name, from its samples in order of publication."""
    return {
        name: Asked(source, [sample for sample in samples if sample.source == name])
        for name, source in configured(clocks).items()
    }
