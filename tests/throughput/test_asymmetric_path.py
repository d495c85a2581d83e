"""An asymmetric path moves NTP's estimate by half the asymmetry, and never out of its bound."""

from __future__ import annotations

import time

import pytest
from relay import Relay

from harness.bench.crew import services
from node_agent.clocks.virtual import true_from_wall, wall_from_true
from node_agent.contract.plan import VirtualClock
from node_agent.contract.records import OK
from node_agent.exchange import ntp
from node_agent.local.instants import LocalClock

FORWARD_S, BACK_S = 0.0047, 0.0233
SAMPLES = 12
MS = 1_000_000


@pytest.fixture(scope="module")
def exchanges():
    """Ask a real server through the relay from a clock of known error; return (sample, truth, delays) of each."""
    virtual = VirtualClock(time.time_ns(), 12.5, 18.0)
    clock = LocalClock(virtual)
    with services() as running, Relay(running.ntp, FORWARD_S, BACK_S).running() as relay:
        samples = [ntp.NtpServer(relay.address, clock, 100.0, 5.0).ask(lambda: "ntp1")[-1] for _ in range(SAMPLES)]
    found = []
    for sample, delays in zip(samples, relay.delays_ns, strict=True):
        assert sample.outcome == OK
        true_ns = true_from_wall(virtual, sample.wall_ns)
        found.append((sample, true_ns - wall_from_true(virtual, true_ns), delays))
    return found


def test_the_estimate_is_off_by_half_the_asymmetry(exchanges):
    """What the relay does not account for is the rest of the path, at most half of which goes into the estimate."""
    for sample, truth_ns, (forward_ns, back_ns) in exchanges:
        assert forward_ns >= FORWARD_S * 1e9
        assert back_ns >= BACK_S * 1e9
        rest_ns = sample.delay_ns - forward_ns - back_ns
        moved_ns = sample.offset_ns - truth_ns
        assert abs(moved_ns - (forward_ns - back_ns) / 2) <= rest_ns / 2 + sample.bound_ns - sample.delay_ns / 2 + 10
    nearest = min(abs(sample.offset_ns - truth_ns + 9.3 * MS) for sample, truth_ns, _delays in exchanges)
    assert nearest < 1 * MS


def test_the_bound_holds_the_truth_all_the_same(exchanges):
    for sample, truth_ns, _delays in exchanges:
        assert abs(sample.offset_ns - truth_ns) <= sample.bound_ns


def test_the_naive_offset_is_off_by_the_whole_way_back(exchanges):
    for sample, truth_ns, (_forward_ns, back_ns) in exchanges:
        assert abs(sample.t3_ns - sample.t4_ns - truth_ns) >= back_ns
