"""The models on virtual nodes whose truth is known: honest of a set clock, an outlier and a falseticker."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from time_services.models import DEFAULT, MODELS, Model, NotReady, NtpSample, Prediction

RAW_NS = 5_000_000_000_000
WALL_NS = 1_790_000_000_000_000_000
DRIFT = -18e-6
BANKS = ["kalman_bank", "dual"]


def truth_s(at_s: float) -> float:
    """Return reference - oscillator at an instant, less a constant."""
    return -0.0125 + DRIFT * at_s


class Node:
    """A node whose wall clock is its oscillator plus ``ahead_s``; samples come over a LAN with queueing."""

    def __init__(self, model: str, seed: int = 1) -> None:
        self.model: Model = MODELS[model]()
        self.random = random.Random(seed)
        self.ahead_s = 0.0

    def sample(self, at_s: float, server: str = "a", error_s: float = 0.0, late_s: float = 0.0) -> NtpSample:
        there, back = (100e-6 + self.random.expovariate(1 / 20e-6) for _ in range(2))
        back += late_s
        offset_s, delay_s = truth_s(at_s) - self.ahead_s + (there - back) / 2 + error_s, there + back
        return NtpSample(server, raw_ns(at_s), offset_s * 1e3, delay_s * 1e3, (delay_s / 2 + 10e-6) * 1e3)

    def feed(self, at_s: float, *samples: NtpSample) -> int:
        return self.model.feed(WALL_NS + raw_ns(at_s) + round(self.ahead_s * 1e9), raw_ns(at_s), samples)

    def said(self, at_s: float) -> Prediction:
        said = self.model.predict(raw_ns(at_s))
        assert isinstance(said, Prediction), said
        return said

    def error_s(self, at_s: float) -> float:
        return abs(self.said(at_s).offset_s - (truth_s(at_s) - self.ahead_s))


def raw_ns(at_s: float) -> int:
    return RAW_NS + round(at_s * 1e9)


def warm(model: str, count: int = 40, servers: str = "a") -> Node:
    node = Node(model)
    for second in range(count):
        node.feed(second, *(node.sample(second, server) for server in servers))
    return node


@pytest.mark.parametrize("model", BANKS)
def test_the_drift_is_that_of_the_oscillator_even_where_the_wall_is_steered(model: str):
    """A wall clock steered by 50 ppm changes neither the drift told nor the offset's truth."""
    node = Node(model)
    for second in range(60):
        node.ahead_s = 50e-6 * second
        node.feed(second, node.sample(second))
    said = node.said(59)
    assert said.drift == pytest.approx(DRIFT, abs=1e-6)
    assert node.error_s(59) < 3 * said.sigma_s + said.asymmetry_s
    assert said.model == model


@pytest.mark.parametrize("name", MODELS)
def test_too_few_samples_are_no_answer(name: str):
    """Below three samples there is a reason and no number; the same sample sent again does not count."""
    node = Node(name)
    samples = [node.sample(second) for second in range(3)]
    assert node.feed(3, *samples[:1] * 5) == 1
    assert node.model.predict(raw_ns(3)) == NotReady(1, "1 of 3 samples of this node")
    assert node.feed(3, *samples) == 2
    assert isinstance(node.model.predict(raw_ns(3)), Prediction)
    assert isinstance(node.model.predict(raw_ns(4000)), NotReady)


@pytest.mark.parametrize("model", BANKS)
@pytest.mark.parametrize("late_s", [0.0, 0.6])
def test_an_outlier_alone_is_an_outlier(model: str, late_s: float):
    """One sample wrong by 300 ms, with a delay that allows it or not, costs microseconds and no restart."""
    node = warm(model)
    node.feed(40, node.sample(40, error_s=0.0 if late_s else 0.3, late_s=late_s))
    assert node.error_s(40.5) < 20e-6
    node.feed(41, node.sample(41))
    assert node.error_s(41.5) < 20e-6
    assert node.model.restarts == 0


@pytest.mark.parametrize("model", BANKS)
def test_a_clock_that_was_set_shows_in_two_samples(model: str):
    """Two samples that agree on another offset begin anew there, and the drift is kept."""
    node = warm(model)
    for second in (40, 41):
        node.feed(second, node.sample(second, error_s=0.02))
    assert node.model.restarts == 1
    assert node.said(41).offset_s == pytest.approx(truth_s(41) + 0.02, abs=200e-6)
    assert node.said(41).drift == pytest.approx(DRIFT, abs=5e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("step_s", [0.2, -3600.0])
def test_a_set_wall_clock_shows_in_the_request(model: str, step_s: float):
    """A wall clock that jumped against the oscillator has no answer until a sample after it, and then the right one."""
    node = warm(model)
    node.ahead_s = step_s
    before = node.sample(39.5)
    node.feed(40, before)
    assert node.model.predict(raw_ns(40)) == NotReady(0, "0 of 1 samples of this node since its clock was set")
    node.feed(41, node.sample(41))
    assert node.error_s(41) < 1e-3
    assert node.model.restarts == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_rebooted_node_starts_anew(model: str):
    """An oscillator that begins again makes the old samples worthless, and the new ones count at once."""
    node = warm(model)
    later = [replace(node.sample(second), raw_ns=raw_ns(second) - RAW_NS) for second in range(3)]
    assert node.model.feed(WALL_NS + raw_ns(60), 3 * 10**9, later) == 3
    assert node.model.restarts == 1
    said = node.model.predict(3 * 10**9)
    assert isinstance(said, Prediction)
    assert said.samples == 3


@pytest.mark.parametrize("model", BANKS)
@pytest.mark.parametrize("wrong", [1e-3, 5e-3, 0.5])
@pytest.mark.parametrize("servers", ["abc", "abcde"])
def test_fewer_than_half_may_be_falsetickers(model: str, wrong: float, servers: str):
    """One of three or two of five servers wrong by the same amount from the start: all answers, all of them right."""
    node = Node(model)
    liars = servers[: (len(servers) - 1) // 2]
    for second in range(20):
        node.feed(second, *(node.sample(second, server, wrong if server in liars else 0.0) for server in servers))
        if second >= 3:
            said = node.said(second + 0.5)
            assert node.error_s(second + 0.5) <= 3 * said.sigma_s + said.asymmetry_s
            assert said.calibration["left_out_servers"] == len(liars)


@pytest.mark.parametrize("model", MODELS)
def test_without_a_majority_there_is_no_answer_until_there_is_one(model: str):
    """Two servers that contradict each other leave nothing known; a third one decides, and the history counts."""
    node = Node(model)
    for second in range(10):
        node.feed(second, node.sample(second, "a"), node.sample(second, "b", 0.5))
    said = node.model.predict(raw_ns(10))
    assert isinstance(said, NotReady)
    assert "contradict" in said.detail
    node.feed(10, node.sample(10, "c"))
    assert node.said(10).samples == 11
    assert node.error_s(10) < 1e-3


@pytest.mark.parametrize("model", BANKS)
@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("servers", ["a", "abc"])
def test_queueing_on_one_way_alone_is_in_the_asymmetry(model: str, way: int, servers: str):
    """Where nearly all of the delay is always on one way, the truth is inside, though one sample had half the delay."""
    node = Node(model)
    rng = random.Random(1)
    for second in range(40):
        for server in servers:
            delay_ms = 0.010 if second == 5 else rng.uniform(0.018, 0.022)
            offset_ms = truth_s(second) * 1e3 + way * delay_ms / 2
            node.feed(second, NtpSample(server, raw_ns(second), offset_ms, delay_ms, delay_ms / 2 + 0.016))
    said = node.said(39.5)
    assert node.error_s(39.5) <= 3 * said.sigma_s + said.asymmetry_s <= 20e-6


@pytest.mark.parametrize("model", BANKS)
def test_queueing_that_ends_is_no_step(model: str):
    """Samples that queued for 60 us on one way, and then do not, say nothing of a clock that was set."""
    node = Node(model)
    for second in range(40):
        delay_ms = node.random.uniform(0.055, 0.065) if second < 20 else 0.006
        offset_ms = truth_s(second) * 1e3 - delay_ms / 2
        node.feed(second, NtpSample("a", raw_ns(second), offset_ms, delay_ms, delay_ms / 2 + 0.001))
    assert node.model.restarts == 0
    assert node.error_s(39.5) <= 3 * node.said(39.5).sigma_s + node.said(39.5).asymmetry_s


def test_several_servers_exclude_part_of_the_asymmetry():
    """A second server with a shorter path halves what the first one's path leaves open; nothing is below its own."""
    alone, together = warm(DEFAULT), warm(DEFAULT, servers="a")
    for second in range(40, 80):
        near = together.sample(second, "b")
        near = replace(near, delay_ms=near.delay_ms / 4, bound_ms=near.bound_ms / 2)
        together.feed(second, together.sample(second), near)
        alone.feed(second, alone.sample(second))
    assert together.said(80).asymmetry_s < 0.5 * alone.said(80).asymmetry_s


def test_what_a_node_costs_is_bounded():
    """After thousands of samples from ever new servers, no more than sixteen servers and a window are kept."""
    node = warm(DEFAULT)
    for second in range(40, 2000):
        node.feed(second, node.sample(second, f"s{second % 50}"))
    model = MODELS[DEFAULT]
    assert isinstance(node.model, model)  # type: ignore[arg-type]
    assert len(node.model._newest_raw_ns) <= 16
    assert len(node.model._kept) <= 48


@pytest.mark.parametrize("ahead_s", [-3.0, 0.0, 0.5, 600.0])
def test_the_bank_as_one_filter_is_the_mixture_of_its_filters(ahead_s: float):
    """Mean and variance from the mixture's moments, as of the newest sample, are those of the filters carried apart."""
    node = warm("kalman_bank")
    node.said(40)
    node.feed(40, node.sample(40))
    bank = node.model
    weight, q1, q2 = bank._weight, bank._grid.q1, bank._grid.q2
    x = bank._x + ahead_s * bank._drift
    gap_s = abs(ahead_s)
    own = bank._p00 + 2 * ahead_s * bank._p01 + ahead_s**2 * bank._p11 + gap_s * q1 + gap_s**3 / 3 * q2
    drift = weight @ bank._drift
    said = bank.estimate(bank._raw_ns + round(ahead_s * 1e9))
    assert said.x_s == pytest.approx(weight @ x, rel=1e-12)
    assert said.variance == pytest.approx(weight @ (own + (x - weight @ x) ** 2), rel=1e-9)
    assert said.drift == pytest.approx(drift, rel=1e-12)
    own_drift = bank._p11 + gap_s * q2 + (bank._drift - drift) ** 2
    assert said.drift_variance == pytest.approx(weight @ own_drift, rel=1e-9)


@pytest.mark.parametrize("model", BANKS)
def test_first_samples_that_waited_long_are_known_for_it_once_a_shorter_way_is_seen(model):
    """A busy start hides how short the way is: all wait alike. Later samples tell, and the drift is not spoilt."""
    node = Node(model)
    for number, at_s in enumerate((0, 0.25, 0.75, 1.75, 3.75, 5.75, 7.75, 9.75)):
        node.feed(at_s, node.sample(at_s, late_s=800e-6 if number < 3 else 0.0))
    said = node.said(10.0)
    assert abs(said.drift - DRIFT) < 15e-6
    assert node.error_s(10.0) < 60e-6
    assert 3 * said.sigma_s < 300e-6
    assert node.model.restarts == 0


def test_the_few_samples_of_a_burst_do_not_make_a_crystal_restless():
    """Errors of a drift that nobody knows yet say nothing of it; `dual` goes by what crystals usually are."""
    for seed in range(10):
        node = Node("dual", seed)
        for at_s in (0, 0.25, 0.75, 1.75, 3.75, 5.75, 7.75, 9.75, 11.75, 13.75):
            late_s = node.random.expovariate(1 / 300e-6) if at_s < 1 else 0.0
            node.feed(at_s, node.sample(at_s, late_s=late_s))
        assert node.said(14).calibration["short_share"] < 0.2
        assert node.said(14).drift_sigma < 10e-6


def test_a_crystal_that_is_restless_is_found_to_be():
    """Where the drift wanders by a millionth from sample to sample, the restless half tells the time."""
    node, error_s, drift = Node("dual"), 0.0, 0.0
    for at_s in range(0, 600, 10):
        node.feed(at_s, node.sample(at_s, error_s=error_s))
        drift += node.random.gauss(0, 1e-6)
        error_s += drift * 10
    assert node.said(600).calibration["short_share"] > 0.8
