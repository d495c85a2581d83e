"""Every clock source keeps the same promises. A new source is entered in ``SOURCES`` and inherits them all."""

from __future__ import annotations

import importlib

import pytest

from node_agent.clocks.base import evaluate
from node_agent.clocks.chronotick_shm import ChronoTickShmPlan
from node_agent.clocks.clockbound import ClockBoundPlan
from node_agent.clocks.holdover import drift_bound_ns
from node_agent.clocks.kernel import KernelPlan
from node_agent.clocks.sources import KINDS, clocks_plan, configured
from node_agent.contract.plan import ChronoTickPlan, ChronyPlan, ClocksPlan, NtpPlan, PlanError
from node_agent.contract.records import (
    CHRONOTICK,
    CHRONOTICK_SHM,
    CHRONY,
    CLOCK_STEP,
    CLOCKBOUND,
    COLUMN_PREFIX,
    GUARANTEED,
    KERNEL,
    NEVER_SAMPLED,
    NTP,
    OK,
    PROBABILISTIC,
    STALE,
    SYSTEM,
    USER,
    Available,
    Sample,
    Stamp,
    Unavailable,
)

S = 1_000_000_000
RAW = 1_000 * S
REFERENCE_AHEAD = 1_800_000_000 * S
WALL_AHEAD = REFERENCE_AHEAD - 12_500_000

PLAN = clocks_plan(
    {
        NTP: NtpPlan(("127.0.0.1:123",), query_interval_s=2.0),
        CHRONOTICK: ChronoTickPlan("http://127.0.0.1:1", 2.0),
        CHRONY: ChronyPlan(query_interval_s=2.0),
        CHRONOTICK_SHM: ChronoTickShmPlan(query_interval_s=2.0),
        CLOCKBOUND: ClockBoundPlan(query_interval_s=2.0),
        KERNEL: KernelPlan(query_interval_s=2.0),
    }
)
SEVERAL = ClocksPlan(ntp=NtpPlan(("127.0.0.1:123", "127.0.0.2:123"), query_interval_s=2.0))


def good_sample(source, raw_ns, number):
    """Return a good sample that holds at ``raw_ns`` and was published a millisecond later."""
    common = {
        "sample_id": f"{source.name}{number}", "source": source.name, "address": "", "outcome": OK,
        "raw_before_ns": raw_ns, "raw_after_ns": raw_ns + 10, "wall_ns": raw_ns + WALL_AHEAD,
        "published_raw_ns": raw_ns + 1_000_000, "raw_at_ns": raw_ns, "reference_at_ns": raw_ns + REFERENCE_AHEAD,
    }  # fmt: skip
    if source.name == NTP:
        return Sample(server=source.servers[0], bound_ns=40_000, root_delay_ns=0, root_dispersion_ns=0, **common)
    if source.name == CHRONOTICK:
        return Sample(server="http://127.0.0.1:1", sigma_ns=40_000, scope="node", **common)
    if source.name == CHRONY:
        return Sample(server="chronyd", bound_ns=40_000, **common)
    if source.name == CHRONOTICK_SHM:
        return Sample(server="a record", sigma_ns=40_000, scope="node", **common)
    if source.name in {CLOCKBOUND, KERNEL}:
        return Sample(server="this node", bound_ns=40_000, **common)
    raise AssertionError(f"say here what a good sample of {source.name} looks like")


SOURCES = {**configured(PLAN), "ntp, several servers": configured(SEVERAL)[NTP]}


@pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys())
def source(request):
    return request.param


@pytest.fixture
def samples(source):
    return [good_sample(source, RAW + i * S, i) for i in range(3)]


def stamp(raw_ns, error_ns=0):
    return Stamp(raw_ns + WALL_AHEAD, raw_ns, error_ns, USER)


NEWEST = RAW + 2 * S
SERVED = NEWEST + 1_000_000


def test_every_source_that_has_columns_is_under_this_contract():
    assert {source.name for source in SOURCES.values()} == {kind.name for kind in KINDS} == set(COLUMN_PREFIX)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_asked_by_the_module_of_its_name_and_hides_no_other_key(kind):
    """Its name is a word of columns, of files and of the configuration, and nothing else there is called so."""
    assert kind.name.isidentifier()
    assert callable(importlib.import_module(f"node_agent.exchange.{kind.name}").askers)
    assert kind.name not in {SYSTEM, "max_drift_ppm", "max_root_distance_ms", "max_stratum", "required", "others"}
    assert kind.fed_by in {"", *(other.name for other in KINDS[: KINDS.index(kind)])}


def test_a_plan_of_a_source_of_no_kind_is_refused_by_name():
    with pytest.raises(PlanError, match=r"plan\.clocks\.others: expected of ntp, chronotick, .*, got 'sundial'"):
        configured(ClocksPlan(others={"sundial": {}}))


def test_it_has_a_name_with_columns_and_a_validity(source):
    assert source.name in COLUMN_PREFIX
    assert source.valid_for_ns == 7 * S


def test_without_a_sample_it_was_never_sampled(source):
    assert evaluate(source, [], stamp(RAW)) == Unavailable(NEVER_SAMPLED)


def test_before_its_first_sample_was_published_it_was_never_sampled(source, samples):
    assert evaluate(source, samples, stamp(RAW + 999_999)) == Unavailable(NEVER_SAMPLED)


def test_past_its_validity_it_is_stale(source, samples):
    assert isinstance(evaluate(source, samples, stamp(NEWEST + source.valid_for_ns)), Available)
    assert evaluate(source, samples, stamp(NEWEST + source.valid_for_ns + 1)) == Unavailable(STALE)


def test_a_stamp_without_a_raw_instant_gets_the_stamps_own_problem(source, samples):
    assert evaluate(source, samples, Stamp(1, None, 0, USER, CLOCK_STEP)) == Unavailable(CLOCK_STEP)


def test_the_interval_contains_the_estimate(source, samples):
    for age in (0, 1, S, 5 * S):
        reading = evaluate(source, samples, stamp(SERVED + age))
        assert reading.earliest_ns <= reading.est_ns <= reading.latest_ns


def test_the_width_never_shrinks_with_age(source, samples):
    readings = [evaluate(source, samples, stamp(SERVED + age)) for age in range(0, 5 * S, S // 7)]
    widths = [reading.latest_ns - reading.earliest_ns for reading in readings]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_the_reading_walks_on_the_raw_oscillator_alone(source, samples):
    """Two stamps a second of raw time apart read a second apart, whatever their wall clocks say."""
    early = evaluate(source, samples, stamp(SERVED))
    late = evaluate(source, samples, Stamp(12_345, SERVED + S, 0, USER))
    assert late.est_ns - early.est_ns == S


def test_the_stamps_own_error_widens_both_ends(source, samples):
    """By itself, and by what the oscillator may drift during it."""
    sharp, blurred = (evaluate(source, samples, stamp(SERVED, error)) for error in (0, 777_777))
    wider = 777_777 + drift_bound_ns(777_777, source.max_drift_ppm)
    assert sharp.earliest_ns - blurred.earliest_ns == wider
    assert blurred.latest_ns - sharp.latest_ns == wider


def test_it_says_what_its_interval_is_worth_and_what_it_refers_to(source, samples):
    reading = evaluate(source, samples, stamp(SERVED))
    assert reading.kind in {GUARANTEED, PROBABILISTIC}
    assert (reading.level == 1.0) == (reading.kind == GUARANTEED)
    assert 0 < reading.level <= 1
    assert reading.reference == "utc" or reading.reference.startswith("server:")


def test_it_names_a_sample_that_was_published_by_then_and_its_age(source, samples):
    reading = evaluate(source, samples, stamp(RAW + S + S // 2))
    named = next(sample for sample in samples if sample.sample_id == reading.sample_id)
    assert named.published_raw_ns <= RAW + S + S // 2
    assert reading.age_ns == RAW + S + S // 2 - named.raw_at_ns


def test_it_is_a_pure_function(source, samples):
    before = list(samples)
    assert evaluate(source, samples, stamp(SERVED)) == evaluate(source, samples, stamp(SERVED))
    assert samples == before


def test_a_sample_that_comes_later_changes_nothing_before(source, samples):
    at = stamp(SERVED)
    later = good_sample(source, SERVED + 1, 9)
    assert evaluate(source, [*samples, later], at) == evaluate(source, samples, at)
