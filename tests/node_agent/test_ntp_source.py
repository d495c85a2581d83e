"""An NTP reading contains the truth, whatever the delays, the drift and the times; T3 - T4 does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exchanges import EPOCH_NS, WALL_AHEAD_NS, Exchange, Oscillator, S, drifts, exchanges
from hypothesis import find, given
from hypothesis import strategies as st

from node_agent.clocks.base import evaluate
from node_agent.clocks.ntp import NtpSource
from node_agent.contract.records import (
    GUARANTEED,
    INCONSISTENT,
    KERNEL_RX,
    STALE,
    TOO_FEW_SERVERS,
    Available,
    Stamp,
    Unavailable,
)

LIMIT_PPM = 100
FOREVER_NS = 1 << 62
ONE = NtpSource(("s:1",), LIMIT_PPM, FOREVER_NS)


def stamp_at(oscillator, true_ns, error_ns=0, off_ns=0):
    raw = oscillator.raw(true_ns)
    return Stamp(raw + WALL_AHEAD_NS, raw + off_ns, error_ns, KERNEL_RX)


def by_publication(samples):
    return sorted(samples, key=lambda sample: sample.published_raw_ns)


@st.composite
def situations(draw, most=6):
    """Draw an oscillator, some exchanges and a later true instant to be stamped."""
    oscillator = draw(drifts(LIMIT_PPM))
    asked = draw(st.lists(exchanges(), min_size=1, max_size=most))
    latest = max(exchange.arrived_ns for exchange in asked)
    error = draw(st.sampled_from([0, 500, 50_000]))
    true_ns = latest + 2 * error + draw(st.integers(min_value=0, max_value=7_200 * S))
    stamp = stamp_at(oscillator, true_ns, error, draw(st.integers(min_value=-error, max_value=error)))
    return oscillator, asked, true_ns, stamp


@given(situations())
def test_the_reading_contains_the_truth(situation):
    oscillator, asked, true_ns, stamp = situation
    reading = evaluate(ONE, by_publication(e.sample(oscillator, LIMIT_PPM) for e in asked), stamp)
    assert isinstance(reading, Available)
    assert reading.earliest_ns <= true_ns <= reading.latest_ns
    assert reading.earliest_ns <= reading.est_ns <= reading.latest_ns
    assert (reading.kind, reading.level, reading.reference) == (GUARANTEED, 1.0, "server:s:1")


@given(situations(most=8))
def test_each_sample_alone_contains_the_truth_and_all_together_are_no_wider(situation):
    oscillator, asked, true_ns, stamp = situation
    samples = by_publication(e.sample(oscillator, LIMIT_PPM) for e in asked)
    alone = [evaluate(ONE, [sample], stamp) for sample in samples]
    together = evaluate(ONE, samples, stamp)
    for reading in alone:
        assert reading.earliest_ns <= true_ns <= reading.latest_ns
    assert together.latest_ns - together.earliest_ns <= min(r.latest_ns - r.earliest_ns for r in alone)


def naive_contains(oscillator, exchange):
    """Judge the naive clock, T3 + (now - T4), by the agent's own bound at the instant the answer arrives."""
    sample = exchange.sample(oscillator, LIMIT_PPM)
    naive_ns = sample.t3_ns
    return abs(naive_ns - exchange.arrived_ns) <= sample.bound_ns


def test_the_naive_offset_fails_the_same_test():
    still = Oscillator(0)
    counter_example = find(exchanges(), lambda exchange: not naive_contains(still, exchange))
    assert counter_example.back_ns > counter_example.forward_ns


def test_asymmetric_delays_move_the_estimate_by_half_their_difference_and_stay_inside():
    still = Oscillator(0)
    exchange = Exchange(EPOCH_NS, 4_700_000, 1_000, 23_300_000)
    true_ns = exchange.arrived_ns + S
    reading = evaluate(ONE, [exchange.sample(still, LIMIT_PPM)], stamp_at(still, true_ns))
    assert reading.est_ns - true_ns == pytest.approx((4_700_000 - 23_300_000) / 2, abs=3)
    assert reading.earliest_ns <= true_ns <= reading.latest_ns
    assert not naive_contains(still, exchange)


def test_a_drift_beyond_the_limit_is_not_covered():
    """The bound is no wider than its assumption: the negative control of the property above."""
    runaway = Oscillator(3 * LIMIT_PPM * 1_000)
    exchange = Exchange(EPOCH_NS, 0, 0, 0)
    true_ns = EPOCH_NS + 1_000 * S
    reading = evaluate(ONE, [exchange.sample(runaway, LIMIT_PPM)], stamp_at(runaway, true_ns))
    assert not reading.earliest_ns <= true_ns <= reading.latest_ns


def test_a_server_that_contradicts_itself_is_inconsistent():
    still = Oscillator(0)
    honest = Exchange(EPOCH_NS, 1_000, 0, 1_000).sample(still, LIMIT_PPM)
    lying = Exchange(EPOCH_NS + S, 1_000, 0, 1_000).sample(still, LIMIT_PPM, lie_ns=50_000_000)
    assert evaluate(ONE, [honest, lying], stamp_at(still, EPOCH_NS + 2 * S)) == Unavailable(INCONSISTENT)


def test_past_its_validity_a_sample_is_stale_and_has_no_number():
    still = Oscillator(0)
    source = NtpSource(("s:1",), LIMIT_PPM, 5 * S)
    sample = Exchange(EPOCH_NS, 0, 0, 0).sample(still, LIMIT_PPM)
    assert isinstance(evaluate(source, [sample], stamp_at(still, EPOCH_NS + 5 * S)), Available)
    assert evaluate(source, [sample], stamp_at(still, EPOCH_NS + 5 * S + 1)) == Unavailable(STALE)


@given(situations(), st.data())
def test_a_minority_of_liars_among_the_servers_cannot_move_the_truth_out(situation, data):
    oscillator, asked, true_ns, stamp = situation
    servers = tuple(f"s:{i}" for i in range(1, len(asked) + 1))
    liars = data.draw(st.sets(st.sampled_from(servers), max_size=(len(servers) - 1) // 2))
    lie = data.draw(st.integers(min_value=-10 * S, max_value=10 * S))
    samples = [
        exchange.sample(oscillator, LIMIT_PPM, server=server, lie_ns=lie if server in liars else 0)
        for exchange, server in zip(asked, servers)
    ]
    reading = evaluate(NtpSource(servers, LIMIT_PPM, FOREVER_NS), by_publication(samples), stamp)
    assert isinstance(reading, Available)
    assert reading.earliest_ns <= true_ns <= reading.latest_ns
    assert reading.earliest_ns <= reading.est_ns <= reading.latest_ns


@given(situations(), st.data())
def test_servers_that_are_silent_do_not_turn_a_minority_of_liars_into_a_majority(situation, data):
    """Fewer than half of the configured servers lie, some of the others say nothing: the truth, or no reading."""
    oscillator, asked, true_ns, stamp = situation
    silent = data.draw(st.integers(min_value=0, max_value=5))
    servers = tuple(f"s:{i}" for i in range(1, len(asked) + silent + 1))
    most = (len(servers) - 1) // 2
    liars = data.draw(st.sets(st.sampled_from(servers), max_size=most))
    lie = data.draw(st.sampled_from([-10 * S, 10 * S]))
    samples = [
        exchange.sample(oscillator, LIMIT_PPM, server=server, lie_ns=lie if server in liars else 0)
        for exchange, server in zip(asked, servers)
    ]
    reading = evaluate(NtpSource(servers, LIMIT_PPM, FOREVER_NS), by_publication(samples), stamp)
    if len(asked) <= most:
        assert reading == Unavailable(TOO_FEW_SERVERS)
    else:
        assert isinstance(reading, Available)
        assert reading.earliest_ns <= true_ns <= reading.latest_ns


def test_several_servers_refer_to_utc_and_pay_their_root_distance():
    still = Oscillator(0)
    samples = [Exchange(EPOCH_NS, 500, 0, 500).sample(still, LIMIT_PPM, server=f"s:{i}") for i in (1, 2, 3)]
    rooted = [sample.__class__(**{**vars(sample), "root_delay_ns": 3, "root_dispersion_ns": 5}) for sample in samples]
    source = NtpSource(("s:1", "s:2", "s:3"), LIMIT_PPM, FOREVER_NS)
    stamp = stamp_at(still, EPOCH_NS + S)
    near, far = evaluate(source, samples, stamp), evaluate(source, rooted, stamp)
    assert near.reference == far.reference == "utc"
    assert (far.latest_ns - far.earliest_ns) - (near.latest_ns - near.earliest_ns) == 2 * (2 + 5)


def test_a_name_that_moves_to_another_machine_takes_its_old_answers_with_it():
    """Two machines an hour apart under one name: the reading is the new one's alone, not an impossible mixture."""
    oscillator = Oscillator(0)
    old = replace(Exchange(EPOCH_NS, 1_000, 0, 1_000).sample(oscillator, LIMIT_PPM), address="192.0.2.1:123")
    there = Exchange(EPOCH_NS + S, 1_000, 0, 1_000).sample(oscillator, LIMIT_PPM)
    new = replace(there, address="192.0.2.2:123", reference_at_ns=there.reference_at_ns + 3_600 * S)
    stamp = stamp_at(oscillator, EPOCH_NS + 2 * S)
    both = evaluate(ONE, by_publication([old, new]), stamp)
    assert both == evaluate(ONE, [new], stamp)
    assert isinstance(both, Available)


def test_two_names_of_one_machine_have_one_vote():
    """A liar under two names does not outvote the one honest server: the truth stays inside."""
    still = Oscillator(0)
    there = Exchange(EPOCH_NS, 1_000, 0, 1_000)
    liar = [there.sample(still, LIMIT_PPM, server=name, lie_ns=S) for name in ("s:1", "t:1")]
    honest = replace(there.sample(still, LIMIT_PPM, server="u:1"), address="192.0.2.2:123")
    samples = [*(replace(one, address="192.0.2.1:123") for one in liar), honest]
    true_ns = EPOCH_NS + S
    reading = evaluate(NtpSource(("s:1", "t:1", "u:1"), LIMIT_PPM, FOREVER_NS), samples, stamp_at(still, true_ns))
    assert isinstance(reading, Available)
    assert reading.earliest_ns <= true_ns <= reading.latest_ns
