"""What chronyd says is believed only where it is synchronised, with its sign and with its whole bound."""

from __future__ import annotations

import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.base import Refused
from node_agent.clocks.chrony import Tracking, parse
from node_agent.contract.plan import ChronyPlan, ClocksPlan
from node_agent.contract.records import OK
from node_agent.exchange import chrony as chrony_exchange
from node_agent.exchange.asking import Setting
from node_agent.local.instants import LocalClock

# As chrony 4.3 prints it: reference id, name, stratum, time, system time, last offset, RMS offset, frequency, residual
# frequency, skew, root delay, root dispersion, update interval, leap status.
FIELDS = [
    "A9FEA97B", "169.254.169.123", "4", f"{time.time():.9f}", "0.000012345", "-0.000001", "0.000002", "-7.5", "0.01",
    "0.05", "0.000400001", "0.000100002", "16.3", "Normal",
]  # fmt: skip


def line(**changes):
    at = {"system": 4, "delay": 10, "dispersion": 11, "leap": 13}
    cells = list(FIELDS)
    for name, value in changes.items():
        cells[at[name]] = value
    return ",".join(cells) + "\n"


def test_a_clock_that_is_slow_is_put_forward():
    state = parse(line())
    assert state.offset_ns == 12_345
    assert parse(line(system="-0.000012345")).offset_ns == -12_345


def test_the_bound_is_offset_and_dispersion_and_half_the_delay_rounded_outward():
    exact_ns = 12_345 + 100_002 + 400_001 / 2
    assert exact_ns <= parse(line()).bound_ns <= exact_ns + 3
    assert parse(line()).bound_ns == parse(line(system="-0.000012345")).bound_ns


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", "wrong_format"),
        ("506 Cannot talk to daemon\n", "wrong_format"),
        (line() + line(), "wrong_format"),
        (line(leap="Not synchronised"), "unsynchronised"),
        (line(system="soon"), "wrong_format"),
        (line(system="nan"), "wrong_format"),
        (line(dispersion="inf"), "wrong_format"),
        (line(delay="-0.1"), "wrong_format"),
        (line(dispersion="-0.1"), "wrong_format"),
    ],
)
def test_anything_else_has_no_number(text, outcome):
    assert parse(text) == Refused(outcome)


@given(st.text() | st.lists(st.text(max_size=8), min_size=14, max_size=14).map(",".join))
def test_no_answer_raises(text):
    assert isinstance(parse(text), (Tracking, Refused))


def asked(monkeypatch, run):
    monkeypatch.setattr(chrony_exchange.subprocess, "run", run)
    return chrony_exchange.sample(ChronyPlan(), Setting("n1", ClocksPlan(), LocalClock(), lambda: "chrony1", list))


def test_a_good_answer_is_a_sample_that_holds_before_it_was_asked_for(monkeypatch):
    sample = asked(monkeypatch, lambda argv, **_: subprocess.CompletedProcess(argv, 0, line(), ""))
    assert (sample.outcome, sample.offset_ns) == (OK, 12_345)
    assert sample.raw_at_ns == sample.raw_before_ns <= sample.raw_after_ns
    assert sample.reference_at_ns == sample.wall_ns + 12_345
    assert sample.payload == line().strip()


@pytest.mark.parametrize(
    ("failure", "outcome"), [(FileNotFoundError(), "no_chronyc"), (subprocess.TimeoutExpired("chronyc", 1), "timeout")]
)
def test_without_chronyc_or_an_answer_the_sample_says_so(monkeypatch, failure, outcome):
    def run(argv, **_):
        raise failure

    sample = asked(monkeypatch, run)
    assert (sample.outcome, sample.offset_ns, sample.bound_ns) == (outcome, None, None)


def test_without_chronyd_the_sample_says_so(monkeypatch):
    sample = asked(monkeypatch, lambda argv, **_: subprocess.CompletedProcess(argv, 1, "506 Cannot talk to daemon", ""))
    assert (sample.outcome, sample.offset_ns) == ("no_chronyd", None)
