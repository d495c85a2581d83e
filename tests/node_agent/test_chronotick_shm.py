"""The ChronoTick daemon's record: what it predicts is read as it claims, and what cannot be believed has a reason."""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from fractions import Fraction

import pytest
from segments import ChronoTickRecord, S, chronotick_now

from node_agent.clocks import chronotick_shm
from node_agent.clocks.base import Refused, evaluate
from node_agent.clocks.chronotick_shm import KIND, PATH, ChronoTickShmPlan, Record, parse
from node_agent.contract.plan import ClocksPlan, NodePlan, VirtualClock
from node_agent.contract.records import AS_CLAIMED, CLOCK_STEP, DRIFT_LIMIT, OK, STALE, Available, Sample, Stamp
from node_agent.exchange import asking
from node_agent.exchange import chronotick_shm as exchange
from node_agent.exchange.asking import Setting
from node_agent.local import shared_memory
from node_agent.local.instants import LocalClock

WALL = 1_800_000_000 * S
RAW = 5_000 * S
F = 20 * 10**9  # 20 ppm: the kernel lets the wall clock run that much faster than the oscillator
DAEMON = ChronoTickRecord(WALL / S, when_s=WALL / S - 2)


def asker(path, clock=None):
    numbers = itertools.count()
    setting = Setting("n1", ClocksPlan(), clock or LocalClock(), lambda: f"cts{next(numbers)}", list)
    (made,) = asking.askers(KIND, ChronoTickShmPlan(path=str(path)), setting)
    return made


def look(path):
    (sample,) = asker(path).ask()
    return sample


def sample_of(record, frequency=F, wall_ns=WALL, raw_ns=RAW, stamp_ns=0):
    numbers = parse(record.image()).numbers(wall_ns, raw_ns, raw_ns + 1_000, frequency)
    common = ("cts1", KIND.name, PATH, "")
    return Sample(*common, numbers.pop("outcome"), raw_ns, raw_ns + 1_000, wall_ns, raw_ns + 1_000,
                  bound_stamp_ns=stamp_ns, **numbers)  # fmt: skip


SOURCE = KIND.reader(ChronoTickShmPlan(), 100.0, 20 * S)


def read(sample, raw_ns):
    return evaluate(SOURCE, [sample], Stamp(0, raw_ns, 0, "user"))


def test_a_record_is_read_as_it_claims_on_the_wall_clock_however_that_is_disciplined():
    """Its offset holds at its prediction time and drifts against the wall clock, which is 20 ppm off the oscillator."""
    for after_ns in (1_000, S, 10 * S):
        wall_ns = WALL + after_ns + after_ns * F // 10**15
        since = Fraction(wall_ns) - Fraction(DAEMON.when_s) * S
        exact = wall_ns + Fraction(DAEMON.offset_s) * S + since * Fraction(DAEMON.drift)
        reading = read(sample_of(DAEMON), RAW + after_ns)
        assert abs(reading.est_ns - exact) <= 4
        sigma_ns = math.hypot(DAEMON.sigma_s * S, DAEMON.drift_sigma * since)
        half_ns = reading.latest_ns - reading.est_ns
        assert 3 * sigma_ns <= half_ns <= 3 * sigma_ns + 8
        assert (reading.law, reading.reference, reading.kind) == (AS_CLAIMED, "utc", "probabilistic")
        assert reading.level == pytest.approx(0.9973, abs=1e-4)


def test_where_nobody_knows_the_kernels_frequency_the_drift_limit_holds():
    reading = read(sample_of(DAEMON, frequency=None), RAW + S)
    assert reading.law == DRIFT_LIMIT
    assert reading.latest_ns - reading.est_ns >= 3 * 10_000 + 300_000  # 100 ppm of 3 s


def test_past_its_validity_it_says_nothing():
    sample = sample_of(ChronoTickRecord(WALL / S, until_s=WALL / S + 1))
    assert isinstance(read(sample, RAW + S * 9 // 10), Available)
    assert read(sample, RAW + S).reason == STALE  # the wall clock shows that validity 20 us earlier


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"flags": 0}, "not_valid"),
        ({"flags": 0b1110}, "not_valid"),
        ({"flags": 0b0111}, "warming_up"),
        ({"source": 0}, "no_source"),
        ({"source": 5}, "unknown_source"),
        ({"offset_s": math.nan}, "not_finite"),
        ({"drift": math.inf}, "not_finite"),
        ({"when_s": math.nan}, "not_finite"),
        ({"sigma_s": -1e-6}, "negative_sigma"),
        ({"drift_sigma": -1e-6}, "negative_sigma"),
        ({"drift": 1.0}, "out_of_range"),
        ({"offset_s": 1e10, "corrected_s": 1.8e9}, "out_of_range"),
        ({"system_s": 0.0}, "out_of_range"),
        ({"corrected_s": WALL / S + 0.001_25}, "inconsistent"),
        ({"until_s": WALL / S - 3, "when_s": WALL / S}, "inconsistent"),
    ],
)
def test_what_the_daemon_does_not_stand_behind_is_a_named_outcome(changes, outcome):
    record = ChronoTickRecord(**{"system_s": WALL / S, **changes})
    assert parse(record.image()) == Refused(outcome)


def test_a_record_that_is_old_ahead_or_over_is_a_named_outcome():
    """A frozen daemon's record is dead after 5 s; one from after this instant was written by another clock."""
    record = parse(ChronoTickRecord(WALL / S, until_s=WALL / S + 4).image())
    looks = {off_s: record.numbers(WALL + round(off_s * S), RAW, RAW + 1_000, F)["outcome"] for off_s in (0, 4.5, 5.1)}
    assert looks == {0: OK, 4.5: "expired", 5.1: "dead"}
    assert record.numbers(WALL - S, RAW, RAW + 1_000, F) == {"outcome": "future"}


def test_its_jump_is_followed_where_it_is_one_and_refused_where_half_of_it_is_written():
    """A daemon that corrects itself by 1 ms says so in all of its fields; between two writes it contradicts itself."""
    before = ChronoTickRecord(WALL / S)
    after = ChronoTickRecord(WALL / S, offset_s=before.offset_s + 0.001)
    assert parse(after.image()).offset_ns - parse(before.image()).offset_ns == 1_000_000
    assert parse(after.image()[:8] + before.image()[8:]) == Refused("inconsistent")


def test_short_files_and_no_files_are_named_outcomes(tmp_path):
    assert look(tmp_path / "none").outcome == "no_segment"
    (tmp_path / "short").write_bytes(chronotick_now().image()[:127])
    assert look(tmp_path / "short").outcome == "too_short"
    assert look(tmp_path).outcome == "unreadable"
    os.mkfifo(tmp_path / "pipe")
    assert look(tmp_path / "pipe").outcome in {"unreadable", "too_short"}


class Busy:
    """A daemon that writes a new record after each of the first ``writes`` looks."""

    def __init__(self, path, monkeypatch, writes):
        self.path, self.left, self.pread = path, writes, os.pread
        monkeypatch.setattr(shared_memory.os, "pread", self.look)

    def look(self, descriptor, size, at):
        image = self.pread(descriptor, size, at)
        if self.left:
            self.left -= 1
            self.path.write_bytes(chronotick_now(sequence=self.left).image())
        return image


def test_a_record_that_changes_at_every_look_is_torn_and_one_that_comes_to_rest_is_read(tmp_path, monkeypatch):
    path = tmp_path / "record"
    path.write_bytes(chronotick_now().image())
    Busy(path, monkeypatch, 3)
    assert look(path).outcome == OK
    Busy(path, monkeypatch, 10**6)
    assert look(path).outcome == "torn"


def test_a_look_is_a_sample_whose_quantisation_is_inside_its_bound_and_which_replay_recomputes(tmp_path):
    path = tmp_path / "record"
    path.write_bytes(chronotick_now().image())
    sample = look(path)
    assert (sample.outcome, sample.scope, sample.offset_ns) == (OK, "node", 250_000)
    assert sample.bound_stamp_ns >= 238
    recomputed = KIND.recompute(sample, NodePlan("x", "00" * 16, "n1", "worker", "/", "127.0.0.1"))
    assert recomputed == {name: getattr(sample, name) for name in recomputed}
    assert path.exists()


class Set(LocalClock):
    """A wall clock that is set a second forward after its first look."""

    def __init__(self):
        super().__init__()
        self.ahead_ns = 0

    def pair(self):
        pair = super().pair()
        return pair._replace(wall_ns=pair.wall_ns + self.ahead_ns)


def test_a_record_from_before_the_wall_clock_was_set_is_refused_until_the_daemon_has_written_again(tmp_path):
    path, clock = tmp_path / "record", Set()
    path.write_bytes(chronotick_now().image())
    asks = asker(path, clock).ask
    assert asks()[0].outcome == OK
    clock.ahead_ns = S
    assert asks()[0].outcome == CLOCK_STEP
    path.write_bytes(ChronoTickRecord(time.time() + 1.001).image())
    until = time.monotonic() + 5
    while (outcome := asks()[0].outcome) == "future" and time.monotonic() < until:
        pass
    assert outcome == OK


def test_what_the_wall_clock_moved_beside_its_frequency_widens_the_reading():
    earlier = LocalClock().pair()
    later = earlier._replace(
        raw_before_ns=earlier.raw_before_ns + S, raw_after_ns=earlier.raw_after_ns + S,
        wall_ns=earlier.wall_ns + S + 20_000 + 777,
    )  # fmt: skip
    assert exchange._unexplained_ns(earlier, later, F) == 777


def test_every_image_is_a_record_or_a_reason():
    dice = random.Random(1)
    good = bytearray(DAEMON.image())
    for _ in range(500):
        image = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            image[dice.randrange(80)] = dice.randrange(256)
        assert isinstance(parse(bytes(image)), (Record, Refused))
    assert len(good) == chronotick_shm.SIZE


def test_on_a_node_with_a_clock_of_its_own_the_record_is_read_against_that_clock(tmp_path):
    """The node is 12.5 ms ahead and drifts 18 ppm; a daemon that knows that tells true time, to within its sigmas."""
    epoch_ns = time.time_ns()
    clock = LocalClock(VirtualClock(epoch_ns, 12.5, 18.0))
    local_s = clock.pair().wall_ns / S
    record = ChronoTickRecord(local_s, -0.0125 - 18e-6 * (time.time_ns() - epoch_ns) / S, -18e-6)
    (tmp_path / "record").write_bytes(record.image())
    (sample,) = asker(tmp_path / "record", clock).ask()
    assert sample.outcome == OK
    for _ in range(5):
        before = time.time_ns()
        pair = clock.pair()
        after = time.time_ns()
        reading = evaluate(SOURCE, [sample], Stamp(pair.wall_ns, pair.raw_ns, pair.half_bracket_ns, "user"))
        assert reading.earliest_ns <= after
        assert reading.latest_ns >= before
        assert reading.latest_ns - reading.earliest_ns < 200_000
