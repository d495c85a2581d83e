"""The kernel's own word: maxerror is a bound that grows by its tolerance, and an undisciplined clock has none."""

from __future__ import annotations

import itertools
import struct

import pytest

from node_agent.clocks.base import Refused, evaluate
from node_agent.clocks.kernel import KIND, Discipline, KernelPlan, decode, parse
from node_agent.contract.plan import ClocksPlan, NodePlan, VirtualClock
from node_agent.contract.records import AS_CLAIMED, GUARANTEED, OK, Sample, Stamp
from node_agent.exchange import asking, kernel
from node_agent.exchange.asking import Setting
from node_agent.local.instants import LocalClock

S = 1_000_000_000
RAW, WALL = 5_000 * S, 1_800_000_000 * S


def timex(offset=0, freq=0, maxerror=1_500, status=0x2001, tolerance=500 << 16, tick=10_000):
    """Return a ``struct timex`` as a 64-bit kernel writes it."""
    return struct.pack("=I4x4qi4x6q", 0, offset, freq, maxerror, 700, status, 7, 1, tolerance, 1, 2, tick).ljust(
        208, b"\0"
    )


def ask(clock=None):
    numbers = itertools.count()
    setting = Setting("n1", ClocksPlan(), clock or LocalClock(), lambda: f"kernel{next(numbers)}", list)
    (asker,) = asking.askers(KIND, KernelPlan(), setting)
    (sample,) = asker.ask()
    return sample


def test_maxerror_is_a_bound_that_grows_500_ppm():
    """1.5 ms, up to a second of growth that the kernel books once a second, and 250 ns that it still slews."""
    numbers = decode(0, timex(offset=-250)).numbers(WALL, RAW, RAW + 1_000, 10)
    sample = Sample("kernel1", KIND.name, "", "", numbers.pop("outcome"), RAW, RAW + 1_000, WALL, RAW, **numbers)
    source = KIND.reader(KernelPlan(), 100.0, 100 * S)
    at_once, later = (evaluate(source, [sample], Stamp(0, at, 0, "user")) for at in (RAW, RAW + S))
    assert (at_once.est_ns, at_once.kind, at_once.law, at_once.reference) == (WALL, GUARANTEED, AS_CLAIMED, "utc")
    assert at_once.latest_ns - WALL == 1_500_000 + 500_000 + 250 + 10
    assert 500_000 <= (later.latest_ns - later.est_ns) - (at_once.latest_ns - WALL) <= 500_500


@pytest.mark.parametrize(("returned", "status"), [(5, 0x2001), (0, 0x2041), (5, 0x0040)])
def test_an_undisciplined_clock_has_a_reason_and_no_number(returned, status):
    numbers = decode(returned, timex(status=status)).numbers(WALL, RAW, RAW + 1_000, 0)
    assert numbers == {"outcome": "unsynchronised"}


def test_numbers_that_no_kernel_writes_are_a_reason():
    for changes in (
        {"maxerror": -1},
        {"maxerror": 1 << 50},
        {"tolerance": 0},
        {"tolerance": 1 << 40},
        {"offset": 1 << 40},
    ):
        assert decode(0, timex(**changes)).outcome == "wrong_format"


def test_the_frequency_is_that_of_freq_and_tick():
    assert decode(0, timex(freq=-12 * 65_536)).frequency_fs_per_s == -12 * 10**9
    assert decode(0, timex(freq=1, tick=10_001)).frequency_fs_per_s == 100 * 10**9 + round(10**9 / 65_536)


def test_what_is_kept_is_what_was_said():
    state = decode(0, timex(freq=5))
    assert parse(state.text()) == state
    assert parse("{}") == parse("[1]") == parse("kernel") == Refused("wrong_format")


def test_a_microsecond_kernel_states_its_offset_in_microseconds():
    assert decode(0, timex(offset=3, status=1)).bound_ns - decode(0, timex(offset=3)).bound_ns == 3_000 - 3


def test_this_machines_kernel_answers_one_way_or_the_other(monkeypatch):
    sample = ask()
    assert sample.outcome in {OK, "unsynchronised"}
    assert (sample.bound_ns is None) == (sample.outcome != OK)
    monkeypatch.setattr(kernel, "read", lambda: Discipline(0, 0x2001, 0, 0, 1_500, 500 << 16, 10_000))
    sample = ask()
    recomputed = KIND.recompute(sample, NodePlan("x", "00" * 16, "n1", "worker", "/", "127.0.0.1"))
    assert (sample.outcome, sample.bound_ns >= 2_000_000) == (OK, True)
    assert recomputed == {name: getattr(sample, name) for name in recomputed}


def test_a_node_with_a_clock_of_its_own_and_a_machine_with_another_layout_have_none(monkeypatch):
    assert ask(LocalClock(VirtualClock(0, 12.5))).outcome == "virtual_clock"
    monkeypatch.setattr(kernel, "_IS_64_BIT_LINUX", False)
    assert ask().outcome == "unsupported_platform"
