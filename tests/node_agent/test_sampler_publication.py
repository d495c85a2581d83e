"""Samples are published under one lock: numbered, journaled, and only the good ones visible, from their instant on."""

from __future__ import annotations

import csv
import io
import threading
from dataclasses import replace

import pytest
from exchanges import EPOCH_NS, Exchange, Oscillator

from node_agent.clocks.base import KEEP
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.cells import sample_row
from node_agent.contract.plan import ClocksPlan, NtpPlan
from node_agent.contract.records import NTP, OK, SAMPLES_COLUMNS, SOURCE_FIELDS, SOURCE_PREFIXES
from node_agent.exchange.asking import Asker, Pace
from node_agent.local.instants import LocalClock, user_stamp
from node_agent.readings import Readings
from node_agent.sampler import Sampler, wait_s

GOOD = Exchange(EPOCH_NS, 1_000, 0, 1_000).sample(Oscillator(0), 100)
FAILED = replace(GOOD, outcome="timeout", raw_at_ns=None, reference_at_ns=None, offset_ns=None, bound_ns=None)


class Lines:
    def __init__(self):
        self.lines = []

    def write(self, lines):
        self.lines.extend(lines)


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def sampler(lines):
    return Sampler("comp11", ClocksPlan(), {NTP: NtpSource(("s:1",), 100, 10**18)}, LocalClock(), lines)


def test_a_good_sample_is_visible_from_its_publication_on(sampler):
    before = sampler.snapshot()
    sampler.publish(GOOD)
    after = sampler.snapshot()
    assert before.samples[NTP] == ()
    (published,) = after.samples[NTP]
    assert before.watermark_ns <= published.published_raw_ns <= after.watermark_ns


def test_a_failed_sample_is_journaled_and_counted_but_serves_nothing(sampler, lines):
    sampler.publish(FAILED)
    assert sampler.snapshot().samples[NTP] == ()
    assert (sampler.tally(NTP).samples, sampler.tally(NTP).failures) == (1, 1)
    assert sampler.tally(NTP).last_outcome == "timeout"
    assert len(lines.lines) == 1


def test_no_sample_slips_in_before_a_snapshot_that_did_not_have_it(sampler):
    """Whatever the threads do, a sample that is missing in a snapshot was published after its watermark."""
    threads = [threading.Thread(target=lambda: [sampler.publish(GOOD) for _ in range(10)]) for _ in range(2)]
    snapshots = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        snapshots.append(sampler.snapshot())
    for thread in threads:
        thread.join()
    final = sampler.snapshot().samples[NTP]
    assert len(final) == 20
    for snapshot in snapshots:
        known = {id(sample) for sample in snapshot.samples[NTP]}
        assert all(s.published_raw_ns >= snapshot.watermark_ns for s in final if id(s) not in known)
        assert all(s.published_raw_ns <= snapshot.watermark_ns for s in snapshot.samples[NTP])


class Seconds(LocalClock):
    """A clock whose oscillator shows one second more at every look."""

    now_ns = 0

    def raw_ns(self):
        self.now_ns += 1_000_000_000
        return self.now_ns


def test_old_samples_are_dropped_but_never_the_newest_ones(lines):
    sampler = Sampler("comp11", ClocksPlan(), {NTP: NtpSource(("s:1",), 100, 10**9)}, Seconds(), lines)
    for number in range(3 * KEEP):
        sampler.publish(replace(GOOD, sample_id=f"ntp{number}"))
    assert [s.sample_id for s in sampler.snapshot().samples[NTP]] == [f"ntp{n}" for n in range(2 * KEEP, 3 * KEEP)]


def test_a_sample_that_may_still_serve_a_late_stamp_is_kept(lines):
    """However many have come since: what is valid for 100 s serves stamps that are judged 10 s late."""
    sampler = Sampler("comp11", ClocksPlan(), {NTP: NtpSource(("s:1",), 100, 100 * 10**9)}, Seconds(), lines)
    for number in range(200):
        sampler.publish(replace(GOOD, sample_id=f"ntp{number}"))
    assert sampler.snapshot().samples[NTP][0].sample_id == "ntp89"


def test_a_server_that_is_asked_often_does_not_evict_the_samples_of_a_rare_one(lines):
    """Every server keeps its own newest samples, and the snapshot has all of them in the order of publication."""
    sampler = Sampler("comp11", ClocksPlan(), {NTP: NtpSource(("s:1", "s:2"), 100, 10**9)}, Seconds(), lines)
    for number in range(8):
        sampler.publish(replace(GOOD, server="s:2", sample_id=f"rare{number}"))
    for number in range(3 * KEEP):
        sampler.publish(replace(GOOD, sample_id=f"often{number}"))
        if number % KEEP == 0:
            sampler.publish(replace(GOOD, server="s:2", sample_id=f"later{number}"))
    kept = sampler.snapshot().samples[NTP]
    assert [s.server for s in kept].count("s:1") == KEEP
    assert [s.server for s in kept].count("s:2") == 8 + 3
    assert [s.published_raw_ns for s in kept] == sorted(s.published_raw_ns for s in kept)


def test_samples_that_come_thick_and_fast_are_kept_until_their_stamps_are_judged(sampler):
    for number in range(3 * KEEP):
        sampler.publish(replace(GOOD, sample_id=f"ntp{number}"))
    assert len(sampler.snapshot().samples[NTP]) == 3 * KEEP


def test_a_row_of_samples_csv_holds_every_field():
    nasty = replace(GOOD, payload='{"a": "b"}\n,"x"')
    text = f"{','.join(SAMPLES_COLUMNS)}\n{sample_row(nasty)}\n"
    (read,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    assert read["payload"] == nasty.payload
    assert int(read["bound_ns"]) == nasty.bound_ns
    assert read["sigma_ns"] == ""
    assert read["outcome"] == OK


def test_unavailable_readings_are_counted_and_unconfigured_sources_are_not(sampler):
    readings = Readings({NTP: NtpSource(("s:1",), 100, 10**18)})
    stamp = user_stamp(LocalClock().pair())
    cells = readings.cells(stamp, sampler.snapshot()).split(",")
    assert len(cells) == len(SOURCE_PREFIXES) * len(SOURCE_FIELDS)
    assert cells[0] == "never_sampled"
    assert cells[len(SOURCE_FIELDS)] == "not_configured"
    assert {prefix: count for prefix, count in readings.unavailable.items() if count} == {"ntp": 1}


class Refused(Pace):
    ended = True


def test_a_server_whose_last_addresses_all_refused_before_is_left_in_peace(lines):
    """Its name has only such addresses left: none was asked, so there is no sample to tell of."""
    closed = []

    class OfRefusing(Sampler):
        def askers(self, _kind, _plan):
            return [Asker("s:1", list, Refused(), close=lambda: closed.append("s:1"))]

    clocks = ClocksPlan(ntp=NtpPlan(servers=("s:1",)))
    sampler = OfRefusing("comp11", clocks, {NTP: NtpSource(("s:1",), 100, 10**9)}, LocalClock(), lines)
    sampler.start()
    sampler.stop()
    assert closed == ["s:1"]
    assert lines.lines == []


def test_a_source_begins_with_a_burst_that_slows_down():
    """Ten answers tell of the drift: they are spread over 14 seconds, and the third comes within one."""
    waits = [wait_s(answers, answers, 16, 1, 0.5) for answers in range(1, 12)]
    assert waits == [0.25, 0.5, 1, 2, 2, 2, 2, 2, 2, 16, 16]


def test_nodes_that_begin_together_do_not_go_on_together():
    """In the burst a pause is up to a quarter shorter or longer, never beyond the plan's; later it is the plan's."""
    assert [wait_s(4, 4, 16, 1, chance) for chance in (0, 0.5, 1)] == [1.5, 2, 2.5]
    assert [wait_s(4, 4, 2, 1, chance) for chance in (0, 1)] == [1.5, 2]
    assert [wait_s(10, 10, 16, 1, chance) for chance in (0, 1)] == [16, 16]


@pytest.mark.parametrize(
    ("asked", "answered", "interval_s", "slower", "expected"),
    [
        (3, 0, 16, 1, 0.25),  # none answered yet: soon again
        (14, 0, 16, 1, 16),  # as often as NTP tries a server that does not answer
        (5, 5, 1, 1, 1),  # never less often than the plan says
        (2, 1, 16, 4, 64),  # a server that asked to be asked less often
    ],
)
def test_what_ends_or_shortens_the_burst(asked, answered, interval_s, slower, expected):
    assert wait_s(asked, answered, interval_s, slower, 0.5) == expected
