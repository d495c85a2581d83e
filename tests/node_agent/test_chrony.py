"""What ``chronyc -c tracking`` says and what it must not be believed to say."""

from __future__ import annotations

import os
import stat
import time

import pytest

from node_agent.check import check
from node_agent.clocks import chrony
from node_agent.clocks.base import Refused
from node_agent.clocks.chrony import Tracking, parse
from node_agent.clocks.newest import NewestSource
from node_agent.contract.plan import ChronyPlan, ClocksPlan, NodePlan
from node_agent.contract.records import CHRONY, CLOCK_STEP, OK, Stamp
from node_agent.exchange import asking
from node_agent.exchange.asking import Setting
from node_agent.local.instants import LocalClock

NORMAL = (
    f"7F000001,127.0.0.1,2,{time.time():.9f},-0.000016840,-0.000000859,0.000006314,0.554,-0.039,2.339,"
    "0.000035434,0.000018493,0.5,Normal\n"
)
LOST = "00000000,,0,0.000000000,0.000000000,0.0,0.0,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n"


def test_a_fast_clock_has_a_negative_correction_and_the_bound_has_all_three_parts():
    state = parse(NORMAL)
    assert isinstance(state, Tracking)
    assert state.offset_ns == -16_840
    assert state.bound_ns >= 16_840 + 18_493 + 35_434 // 2
    assert state.bound_ns <= 16_840 + 18_493 + 35_434 // 2 + 4


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (LOST, "unsynchronised"),
        ("506 Cannot talk to daemon", "wrong_format"),
        ("", "wrong_format"),
        (NORMAL.replace("-0.000016840", "fast"), "wrong_format"),
        (NORMAL.replace("0.000018493", "nan"), "wrong_format"),
        (NORMAL.replace("0.000018493", "-1"), "wrong_format"),
    ],
)
def test_what_is_not_a_synchronised_state_is_a_named_outcome(text, outcome):
    assert parse(text) == Refused(outcome)


def _chronyc(folder, answer):
    """Put a program named chronyc first on the path, as a node's own chrony would be."""
    program = folder / "chronyc"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def _asked(clock, timeout_s):
    setting = Setting("n1", ClocksPlan(), clock, lambda: "chrony1", list)
    (sample,) = asking.askers(chrony.KIND, ChronyPlan(timeout_s=timeout_s), setting)[0].ask()
    return sample


def test_a_sample_ties_the_corrected_time_to_the_oscillator(tmp_path, monkeypatch):
    _chronyc(tmp_path, f"echo '{NORMAL.strip()}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    clock = LocalClock()
    sample = _asked(clock, 5.0)
    assert sample.outcome == OK
    source = NewestSource(CHRONY, "utc", 100.0, 10**10)
    stamp = Stamp(sample.wall_ns, sample.raw_at_ns, 50, "user")
    reading = source.read([sample], stamp, sample.raw_at_ns)
    assert reading.est_ns == sample.wall_ns - 16_840
    assert reading.earliest_ns <= sample.wall_ns - 16_840 - 16_840 - 50
    assert reading.reference == "utc"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("echo '506 Cannot talk to daemon'; exit 1", "no_chronyd"), ("exec sleep 5", "timeout")],
)
def test_a_node_without_a_running_chronyd_has_a_reason_and_no_number(tmp_path, monkeypatch, answer, outcome):
    _chronyc(tmp_path, answer)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sample = _asked(LocalClock(), 0.5)
    assert sample.outcome == outcome
    assert sample.offset_ns is None
    assert sample.bound_ns is None


class Moved(LocalClock):
    """A wall clock that is set while chronyc is at work, or slewed all the time."""

    def __init__(self, step_ns=0, slew_ppm=0):
        super().__init__()
        self.first, self.step_ns, self.slew_ppm = super().pair(), step_ns, slew_ppm
        self.looks = 0

    def pair(self):
        now = super().pair()
        self.looks += 1
        moved = (now.raw_ns - self.first.raw_ns) * self.slew_ppm // 1_000_000 + self.step_ns * (self.looks > 1)
        return now._replace(wall_ns=now.wall_ns + moved)


def test_a_clock_that_is_set_while_chronyc_answers_is_a_named_outcome(tmp_path, monkeypatch):
    _chronyc(tmp_path, f"echo '{NORMAL.strip()}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sample = _asked(Moved(step_ns=500_000_000), 5.0)
    assert (sample.outcome, sample.offset_ns, sample.bound_ns) == (CLOCK_STEP, None, None)


def test_a_clock_that_is_slewed_while_chronyc_answers_widens_the_bound_by_as_much(tmp_path, monkeypatch):
    _chronyc(tmp_path, f"sleep 0.2; echo '{NORMAL.strip()}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sample = _asked(Moved(slew_ppm=400), 5.0)
    assert sample.outcome == OK
    moved_ns = (sample.raw_after_ns - sample.raw_before_ns) * 400 // 1_000_000
    assert sample.bound_stamp_ns >= moved_ns - 1_000
    assert sample.bound_ns >= parse(NORMAL).bound_ns + moved_ns - 1_000


def test_a_node_without_chrony_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _asked(LocalClock(), 1.0).outcome == "no_chronyc"


def test_a_check_tells_of_a_chronyd_that_nobody_planned_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    _chronyc(tmp_path, f"echo '{NORMAL.strip()}'")
    found = check(NodePlan("x", "00" * 16, "n1", "worker", str(tmp_path), "127.0.0.1", clocks=ClocksPlan()))
    (row,) = found["sources"]["chrony"]
    assert row["outcome"] == "ok"
    assert row["bound_ms"] > 0
