"""The ChronoTick filter on virtual nodes whose truth is known: honest, narrower than NTP, quick to see a set clock."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from time_services.drift_filter import DriftFilter, Prediction, Sample, State, WarmingUp

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


def drift_of(said: Prediction | WarmingUp) -> float:
    assert isinstance(said, Prediction)
    return said.drift


PATHS = {
    "loopback": VirtualNode(1),
    "fast clock": VirtualNode(2, drift=-100e-6),
    "slow clock": VirtualNode(3, drift=100e-6),
    "one-sided path": VirtualNode(4, least_s=(10e-6, 150e-6)),
    "busy machine": VirtualNode(5, spikes=0.5, queueing_s=(100e-6, 400e-6)),
    "local network": VirtualNode(6, least_s=(120e-6, 120e-6), queueing_s=(50e-6, 50e-6)),
}


@pytest.mark.parametrize("interval_s", [1.0, 10.0])
@pytest.mark.parametrize("path", PATHS)
def test_three_sigma_contain_the_truth(path: str, interval_s: float):
    """Whatever the path, +-3 sigma contain the truth in more than 99 % of rows, and are narrower than NTP's bound."""
    rows = run(PATHS[path], 100 * interval_s, interval_s)
    assert len(rows) > 90
    assert coverage(rows) > 0.99
    assert statistics.median(3 * row.sigma_s / row.ntp_bound_s for row in rows) < (1.0 if interval_s == 1.0 else 0.5)


def test_the_check_above_can_fail():
    """The same check finds a sigma a hundred times too small: the negative control."""
    rows = run(VirtualNode(1), 100.0, 1.0, shrink=100.0)
    assert coverage(rows) < 0.95


def test_exact_samples_give_the_exact_drift():
    """From samples without queueing the drift is recovered to 0.1 ppm, and the offset to within a microsecond."""
    node = VirtualNode(7, drift=42e-6, least_s=(30e-6, 30e-6), queueing_s=(1e-9, 1e-9), spikes=0.0)
    drift_filter = DriftFilter()
    for second in range(60):
        drift_filter.feed(node.wall_ns(second), node.raw_ns(second), [node.exchange(second)])
    said = drift_filter.predict(node.raw_ns(61.5))
    assert drift_of(said) == pytest.approx(42e-6, abs=1e-7)
    assert said.offset_s == pytest.approx(node.truth_s(61.5), abs=1e-6)


def test_an_outlier_moves_nothing():
    """One answer that came back 18 ms late moves the estimate by less than a microsecond."""
    node = VirtualNode(8, spikes=0.0)
    samples = [node.exchange(second) for second in range(30)]
    clean, dirty = DriftFilter(), DriftFilter()
    last = samples[-1]
    late = Sample(last.raw_ns, last.offset_s - 9e-3, last.delay_s + 18e-3, last.bound_s + 9e-3)
    clean.feed(node.wall_ns(30), node.raw_ns(30), samples[:-1])
    dirty.feed(node.wall_ns(30), node.raw_ns(30), [*samples[:-1], late])
    assert dirty.predict(node.raw_ns(30)).offset_s == pytest.approx(clean.predict(node.raw_ns(30)).offset_s, abs=1e-6)


def test_too_few_samples_are_no_answer():
    """Below three samples there is a reason and no number; the same sample sent again does not count."""
    node = VirtualNode(9)
    drift_filter = DriftFilter()
    samples = [node.exchange(second) for second in range(3)]
    at = (node.wall_ns(3), node.raw_ns(3))
    assert drift_filter.feed(*at, samples[:1] * 5) == 1
    assert drift_filter.predict(at[1]) == WarmingUp(1, "1 of 3 samples of this node")
    assert drift_filter.feed(*at, samples[:2]) == 1
    assert isinstance(drift_filter.predict(at[1]), WarmingUp)
    assert drift_filter.feed(*at, samples) == 1
    assert isinstance(drift_filter.predict(at[1]), Prediction)


@pytest.mark.parametrize("step_s", [0.2, -0.2, 0.003, -3600.0])
def test_a_set_wall_clock_starts_anew(step_s: float):
    """After the wall clock is set, no prediction is wrong by the step once a sample or a request has shown it."""
    node = VirtualNode(10, steps=[(30.5, step_s)], spikes=0.0)
    drift_filter = DriftFilter()
    samples: list[Sample] = []
    answered = 0
    for second in range(60):
        samples.append(node.exchange(second))
        drift_filter.feed(node.wall_ns(second), node.raw_ns(second), samples[-16:])
        said = drift_filter.predict(node.raw_ns(second))
        if isinstance(said, Prediction):
            answered += 1
            assert abs(said.offset_s - node.truth_s(second)) <= 3 * said.sigma_s
    assert drift_filter.restarts == 1
    assert answered >= 54


def test_a_step_shows_in_the_request_before_any_sample():
    """A request whose wall clock jumped against its raw clock gets no prediction from the time before the jump."""
    node = VirtualNode(11, steps=[(20.5, 0.5)])
    drift_filter = DriftFilter()
    samples = [node.exchange(second) for second in range(20)]
    drift_filter.feed(node.wall_ns(20), node.raw_ns(20), samples)
    assert isinstance(drift_filter.predict(node.raw_ns(20)), Prediction)
    drift_filter.feed(node.wall_ns(21), node.raw_ns(21), samples)
    said = drift_filter.predict(node.raw_ns(21))
    assert said == WarmingUp(0, "0 of 3 samples of this node since its clock was set")


def test_a_rebooted_node_starts_anew():
    """A raw clock that begins again makes the old samples worthless, and the new ones count at once."""
    old, new = VirtualNode(12), VirtualNode(13, offset_s=0.4)
    drift_filter = DriftFilter()
    drift_filter.feed(old.wall_ns(20), old.raw_ns(20), [old.exchange(second) for second in range(20)])
    back_ns = START_RAW_NS - 1_000_000_000
    samples = [new.exchange(second) for second in range(20)]
    samples = [Sample(sample.raw_ns - back_ns, sample.offset_s, sample.delay_s, sample.bound_s) for sample in samples]
    drift_filter.feed(new.wall_ns(9), new.raw_ns(9) - back_ns, samples[:9])
    said = drift_filter.predict(new.raw_ns(9) - back_ns)
    assert isinstance(said, Prediction)
    assert (said.samples, drift_filter.restarts) == (9, 1)
    assert abs(said.offset_s - new.truth_s(9)) <= 3 * said.sigma_s


def test_uncertainty_grows_while_no_sample_comes():
    """Without new samples sigma grows with the age of the newest; after an hour there is no answer at all."""
    node = VirtualNode(14)
    drift_filter = DriftFilter()
    drift_filter.feed(node.wall_ns(60), node.raw_ns(60), [node.exchange(second) for second in range(60)])
    sigmas = [drift_filter.predict(node.raw_ns(at_s)).sigma_s for at_s in (60, 120, 600, 3000)]
    assert sigmas == sorted(sigmas)
    assert sigmas[-1] > 10 * sigmas[0]
    assert isinstance(drift_filter.predict(node.raw_ns(4000)), WarmingUp)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_prediction_in_two_steps_is_prediction_in_one(first_ns: int, second_ns: int):
    """The clock model composes: carrying a state over two gaps is carrying it over their sum."""
    begin = State(0, 1e-3, 20e-6, 1e-10, -1e-12, 1e-12)
    one, two = begin.at(first_ns + second_ns), begin.at(first_ns).at(first_ns + second_ns)
    for name in ("offset", "drift", "p00", "p01", "p11"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-9)


def test_an_update_is_the_weighted_mean():
    """With an uncorrelated prior the update is the inverse-variance weighted mean, and its variance is theirs."""
    after = State(0, 1.0, 0.0, 4.0, 0.0, 1.0).update(2.0, 1.0)
    assert (after.offset, after.p00) == (pytest.approx(1.8), pytest.approx(0.8))
    assert (after.drift, after.p01, after.p11) == (0.0, 0.0, 1.0)
