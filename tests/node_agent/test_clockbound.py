"""ClockBound's segment: a bound as its daemon states it, in both versions, and a reason for everything else."""

from __future__ import annotations

import itertools
import struct
import time

import pytest
from segments import ClockBoundSegment, S, clockbound_now

from node_agent.clocks.base import Refused, evaluate
from node_agent.clocks.clockbound import KIND, ClockBoundPlan, parse
from node_agent.contract.plan import ClocksPlan, NodePlan
from node_agent.contract.records import AS_CLAIMED, DISRUPTED, DRIFT_LIMIT, GUARANTEED, OK, STALE, Sample, Stamp
from node_agent.exchange import asking, kernel
from node_agent.exchange.asking import Setting
from node_agent.local.instants import LocalClock
from node_agent.sampler import Sampler

AS_OF = 700 * S
RAW = 5_000 * S
WALL = 1_800_000_000 * S
SEGMENT = ClockBoundSegment(AS_OF, AS_OF + 60 * S)


def setting():
    numbers = itertools.count()
    return Setting("n1", ClocksPlan(), LocalClock(), lambda: f"clockbound{next(numbers)}", list)


def asker(path):
    (made,) = asking.askers(KIND, ClockBoundPlan(path=str(path)), setting())
    return made


def sample_of(segment, age_ns=2 * S, frequency=12_000_000_000):
    numbers = parse(segment.image()).numbers(WALL, RAW, RAW + 1_000, AS_OF + age_ns, frequency, 0)
    return Sample("clockbound1", KIND.name, "", "", numbers.pop("outcome"), RAW, RAW + 1_000, WALL, RAW, **numbers)


SOURCE = KIND.reader(ClockBoundPlan(), 100.0, 100 * S)


def read(sample, raw_ns):
    return evaluate(SOURCE, [sample], Stamp(0, raw_ns, 0, "user"))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("status", [1, 2])
def test_the_bound_grows_by_its_own_drift_from_as_of_and_around_the_wall_clock(version, status):
    """1 ppm of 2 s on 40 us; from the read on, 12 ppm more: what the kernel corrects, the oscillator has not."""
    segment = ClockBoundSegment(AS_OF, AS_OF + 60 * S, version=version, status=status)
    at_once, later = read(sample_of(segment), RAW), read(sample_of(segment), RAW + S)
    assert (at_once.est_ns, at_once.kind, at_once.level, at_once.law) == (WALL, GUARANTEED, 1.0, AS_CLAIMED)
    assert 42_000 <= at_once.latest_ns - WALL <= 42_001
    assert later.est_ns == WALL + S
    assert 42_000 + 13_000 <= later.latest_ns - later.est_ns <= 42_000 + 13_002


def test_where_nobody_knows_the_kernels_frequency_the_drift_limit_holds_from_the_read_on():
    reading = read(sample_of(SEGMENT, frequency=None), RAW + S)
    assert reading.law == DRIFT_LIMIT
    assert reading.latest_ns - reading.est_ns >= 142_000


def test_past_void_after_it_says_nothing():
    assert sample_of(SEGMENT, 60 * S + 1).outcome == "void"
    assert read(sample_of(SEGMENT, frequency=0), RAW + 58 * S).law == AS_CLAIMED
    assert read(sample_of(SEGMENT, frequency=0), RAW + 58 * S + 1).reason == STALE


def test_its_end_comes_no_later_on_an_oscillator_that_the_wall_clock_outruns():
    for frequency in (100 * 10**9, -100 * 10**9, None):
        until_ns = sample_of(SEGMENT, frequency=frequency).valid_until_raw_ns - RAW
        assert until_ns * (10**15 + abs(frequency or 10**14)) <= 58 * S * 10**15


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"generation": 3}, "torn"),
        ({"generation": 0}, "not_initialised"),
        ({"version": 0}, "not_initialised"),
        ({"version": 3}, "wrong_version"),
        ({"magic": (1, 2)}, "wrong_magic"),
        ({"size": 79}, "too_short"),
        ({"status": 0}, "status_unknown"),
        ({"status": 3}, DISRUPTED),
        ({"status": 3, "version": 1}, "status_unknown"),
        ({"status": 4}, "status_unknown"),
        ({"bound_ns": -1}, "wrong_format"),
        ({"max_drift_ppb": 10**9}, "wrong_format"),
    ],
)
def test_what_the_daemon_does_not_stand_behind_is_a_named_outcome(changes, outcome):
    segment = ClockBoundSegment(**{"as_of_ns": AS_OF, "void_after_ns": AS_OF + S, **changes})
    assert parse(segment.image()) == Refused(outcome)


def test_the_magic_number_is_read_as_the_daemon_writes_it_and_as_the_protocol_lists_it():
    listed = SEGMENT.image()
    assert parse(bytes.fromhex("414d5a4e43420200") + listed[8:]) == parse(listed)
    assert listed[:8] == struct.pack("=II", 0x414D5A4E, 0x43420200)


def test_short_files_no_files_and_a_segment_of_the_future_are_named_outcomes(tmp_path):
    assert asker(tmp_path / "none").ask()[0].outcome == "no_segment"
    (tmp_path / "short").write_bytes(SEGMENT.image()[:15])
    assert asker(tmp_path / "short").ask()[0].outcome == "too_short"
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    (tmp_path / "ahead").write_bytes(ClockBoundSegment(now_ns + 100 * S, now_ns + 200 * S).image())
    assert asker(tmp_path / "ahead").ask()[0].outcome == "future"


def test_a_look_is_a_sample_that_replay_recomputes(tmp_path):
    path = tmp_path / "shm0"
    path.write_bytes(clockbound_now().image())
    (sample,) = asker(path).ask()
    assert sample.outcome == OK
    assert sample.bound_ns >= 40_000
    recomputed = KIND.recompute(sample, NodePlan("x", "00" * 16, "n1", "worker", "/", "127.0.0.1"))
    assert recomputed == {name: getattr(sample, name) for name in recomputed}


class Lines:
    """A journal that keeps its rows."""

    def __init__(self):
        self.rows = []

    def write(self, rows):
        self.rows += rows


def test_a_disruption_marker_that_changed_voids_what_was_said_before(tmp_path):
    """Until the next good sample there is no reading, and its reason is the disruption."""
    path = tmp_path / "shm0"
    path.write_bytes(clockbound_now(marker=1).image())
    asks, clock = asker(path).ask, LocalClock()
    sampler = Sampler("n1", ClocksPlan(), {KIND.name: SOURCE}, clock, Lines())

    def reads():
        for sample in asks():
            sampler.publish(sample)
        return evaluate(SOURCE, sampler.snapshot().samples[KIND.name], Stamp(0, clock.raw_ns(), 0, "user"))

    first = clock.raw_ns()
    assert reads().law in {AS_CLAIMED, DRIFT_LIMIT}
    served = clock.raw_ns()
    path.write_bytes(clockbound_now(marker=2).image())
    assert reads().reason == DISRUPTED
    snapshot = sampler.snapshot().samples[KIND.name]
    assert evaluate(SOURCE, snapshot, Stamp(0, served, 0, "user")).age_ns >= 0  # what was read before stays read
    assert first < served
    assert reads().law in {AS_CLAIMED, DRIFT_LIMIT}


def test_without_adjtimex_a_look_is_held_over_by_the_drift_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "_IS_64_BIT_LINUX", False)
    path = tmp_path / "shm0"
    path.write_bytes(clockbound_now().image())
    (sample,) = asker(path).ask()
    assert (sample.outcome, sample.max_drift_ppb) == (OK, None)
