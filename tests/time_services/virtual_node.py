"""A node that is not there: a drifting wall clock, NTP exchanges over an asymmetric path, and the truth about both."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from time_services.drift_filter import DriftFilter, Prediction, Sample

START_RAW_NS = 5_000_000_000_000
START_WALL_NS = 1_790_000_000_000_000_000


@dataclass
class VirtualNode:
    """A node whose offset (reference - wall) starts at ``offset_s`` and changes by ``drift`` s/s.

    One-way delays are a least delay plus exponential queueing, and a share ``spikes`` of the packets is late by up to
    20 ms more: the asymmetric outliers of a busy machine. ``steps`` are (when, by how much) the wall clock is set.
    """

    seed: int
    offset_s: float = -0.0125
    drift: float = -18e-6
    least_s: tuple[float, float] = (20e-6, 45e-6)
    queueing_s: tuple[float, float] = (15e-6, 40e-6)
    spikes: float = 0.1
    steps: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)

    def raw_ns(self, at_s: float) -> int:
        return START_RAW_NS + round(at_s * 1e9)

    def truth_s(self, at_s: float) -> float:
        return self.offset_s + self.drift * at_s - sum(size for when, size in self.steps if when <= at_s)

    def wall_ns(self, at_s: float) -> int:
        return START_WALL_NS + round((at_s - self.truth_s(at_s)) * 1e9)

    def one_way_s(self, direction: int) -> float:
        late = self.random.uniform(0, 0.02) if self.random.random() < self.spikes else 0.0
        return self.least_s[direction] + self.random.expovariate(1 / self.queueing_s[direction]) + late

    def exchange(self, at_s: float) -> Sample:
        there, back = self.one_way_s(0), self.one_way_s(1)
        delay = there + back
        return Sample(self.raw_ns(at_s), self.truth_s(at_s) + (there - back) / 2, delay, delay / 2 + 1e-4 * delay)


@dataclass(frozen=True)
class Row:
    """One query: what the filter said and what was true, in s, and NTP's own bound aged by 100 ppm."""

    at_s: float
    error_s: float
    sigma_s: float
    ntp_bound_s: float


def run(node: VirtualNode, duration_s: float, ntp_interval_s: float, shrink: float = 1.0) -> list[Row]:
    """Ask the filter every second, with NTP samples every ``ntp_interval_s``; sigma is divided by ``shrink``."""
    drift_filter = DriftFilter()
    samples: list[Sample] = []
    next_ntp_s, at_s, rows = 0.0, 0.0, []
    while at_s < duration_s:
        at_s += node.random.uniform(0.9, 1.1)
        while next_ntp_s < at_s:
            samples.append(node.exchange(next_ntp_s))
            next_ntp_s += ntp_interval_s
        drift_filter.feed(node.wall_ns(at_s), node.raw_ns(at_s), samples[-16:])
        said = drift_filter.predict(node.raw_ns(at_s))
        if isinstance(said, Prediction):
            aged_s = samples[-1].bound_s + 100e-6 * (node.raw_ns(at_s) - samples[-1].raw_ns) / 1e9
            rows.append(Row(at_s, said.offset_s - node.truth_s(at_s), said.sigma_s / shrink, aged_s))
    return rows


def coverage(rows: list[Row], sigmas: float = 3.0) -> float:
    """Return the share of rows whose interval contains the truth."""
    return sum(abs(row.error_s) <= sigmas * row.sigma_s for row in rows) / len(rows)
