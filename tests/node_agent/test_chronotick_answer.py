"""A ChronoTick answer is a number only if it says everything it must; anything else is a named failure."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.clocks.base import Refused, evaluate
from node_agent.clocks.chronotick import Prediction, parse
from node_agent.clocks.newest import NewestSource
from node_agent.contract.records import (
    AS_CLAIMED,
    CHRONOTICK,
    DRIFT_LIMIT,
    NOT_YET_VALID,
    OK,
    PROBABILISTIC,
    STALE,
    USER,
    Sample,
    Stamp,
    Unavailable,
)

S = 1_000_000_000
GOOD = {"offset_ms": -12.5, "uncertainty_ms": 0.25, "node_id": "comp11", "prediction_time_ns": 1_800_000_000 * S}
CLAIM = {
    **GOOD,
    "drift_ppm": 12.0,
    "drift_uncertainty_ppm": 0.1,
    "asymmetry_ms": 0.0400001,
    "valid_until_ns": 1_800_000_060 * S,
}


def without(key):
    return {k: v for k, v in GOOD.items() if k != key}


def test_a_good_answer_is_read():
    assert parse(json.dumps(GOOD), "comp11") == Prediction(-12_500_000, 250_000, 1_800_000_000 * S, "node")


def test_what_a_plain_server_says_is_about_its_own_clock():
    assert parse('{"offset_ms": 1, "uncertainty_ms": 0}', "comp11") == Prediction(1_000_000, 0, None, "server")


def test_sigma_is_rounded_outward():
    assert parse('{"offset_ms": 0, "uncertainty_ms": 0.0000001}', "x").sigma_ns == 1


def test_claims_are_taken_as_they_were_typed_and_rounded_outward():
    """A drift to the nearest fs/s, its sigma and the asymmetry upwards, the validity as it is."""
    said = parse(json.dumps({**CLAIM, "drift_ppm": -12.3456789012, "drift_uncertainty_ppm": 0.1}), "comp11")
    assert (said.drift_fs_per_s, said.drift_sigma_fs_per_s) == (-12_345_678_901, 100_000_000)
    assert (said.asymmetry_ns, said.valid_until_ns) == (40_001, 1_800_000_060 * S)


def test_a_claim_of_null_is_none():
    """A server that has no drift yet may say so, and its answer is as one without."""
    said = parse(json.dumps({**CLAIM, **dict.fromkeys(set(CLAIM) - set(GOOD))}), "comp11")
    assert said == parse(json.dumps(GOOD), "comp11")


def test_validity_is_on_the_nodes_wall_clock_when_it_asked():
    """`valid_until_ns` becomes a raw instant by the pair of the exchange: setting the clock later moves nothing."""
    numbers = parse(json.dumps(CLAIM), "comp11").numbers(1_800_000_010 * S, 500 * S, 501 * S)
    assert numbers["valid_until_raw_ns"] == 550 * S


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", "not_json"),
        ("<html><body>502 Bad Gateway</body></html>", "not_json"),
        ("{", "not_json"),
        ("[" * 60_000, "not_json"),
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ("12.5", "not_an_object"),
        ("{}", "missing_offset_ms"),
        (json.dumps(without("offset_ms")), "missing_offset_ms"),
        (json.dumps(without("uncertainty_ms")), "missing_uncertainty_ms"),
        (json.dumps({**GOOD, "offset_ms": "1"}), "wrong_type_offset_ms"),
        (json.dumps({**GOOD, "offset_ms": None}), "wrong_type_offset_ms"),
        (json.dumps({**GOOD, "offset_ms": True}), "wrong_type_offset_ms"),
        (json.dumps({**GOOD, "uncertainty_ms": [1]}), "wrong_type_uncertainty_ms"),
        (json.dumps({**GOOD, "offset_ms": math.nan}), "not_finite_offset_ms"),
        (json.dumps({**GOOD, "offset_ms": -math.inf}), "not_finite_offset_ms"),
        (json.dumps({**GOOD, "uncertainty_ms": math.nan}), "not_finite_uncertainty_ms"),
        (json.dumps({**GOOD, "offset_ms": 10**400}), "not_finite_offset_ms"),
        (json.dumps({**GOOD, "offset_ms": 1e13}), "not_finite_offset_ms"),
        (json.dumps({**GOOD, "uncertainty_ms": -0.001}), "negative_uncertainty_ms"),
        (json.dumps({**GOOD, "prediction_time_ns": 1.5}), "wrong_type_prediction_time_ns"),
        (json.dumps({**GOOD, "prediction_time_ns": "now"}), "wrong_type_prediction_time_ns"),
        (json.dumps({**GOOD, "prediction_time_ns": -1}), "wrong_type_prediction_time_ns"),
        (
            json.dumps({**GOOD, "offset_ms": 1, "prediction_time_ns": (1 << 63) - 1}),
            "out_of_range_prediction_time_ns",
        ),
        (json.dumps({**CLAIM, "drift_ppm": "12"}), "wrong_type_drift_ppm"),
        (json.dumps({**CLAIM, "drift_ppm": math.nan}), "out_of_range_drift_ppm"),
        (json.dumps({**CLAIM, "drift_ppm": -1e6}), "out_of_range_drift_ppm"),
        (json.dumps({**CLAIM, "drift_uncertainty_ppm": [0.1]}), "wrong_type_drift_uncertainty_ppm"),
        (json.dumps({**CLAIM, "drift_uncertainty_ppm": -0.1}), "negative_drift_uncertainty_ppm"),
        (json.dumps({**CLAIM, "drift_uncertainty_ppm": math.inf}), "out_of_range_drift_uncertainty_ppm"),
        (json.dumps({**CLAIM, "drift_uncertainty_ppm": 10**400}), "out_of_range_drift_uncertainty_ppm"),
        (json.dumps({**CLAIM, "asymmetry_ms": True}), "wrong_type_asymmetry_ms"),
        (json.dumps({**CLAIM, "asymmetry_ms": math.nan}), "not_finite_asymmetry_ms"),
        (json.dumps({**CLAIM, "asymmetry_ms": -0.01}), "negative_asymmetry_ms"),
        (json.dumps({**CLAIM, "valid_until_ns": 1.8e18}), "wrong_type_valid_until_ns"),
        (json.dumps({**CLAIM, "valid_until_ns": 1 << 63}), "wrong_type_valid_until_ns"),
        (json.dumps({**GOOD, "node_id": "comp12"}), "wrong_node_id"),
        (json.dumps({**GOOD, "node_id": 11}), "wrong_node_id"),
    ],
    ids=lambda value: value[:40],
)
def test_an_answer_that_lacks_something_has_no_number(text, outcome):
    assert parse(text, "comp11") == Refused(outcome)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.text() | st.dictionaries(st.sampled_from([*CLAIM, "other"]), JSON).map(json.dumps))
def test_no_answer_raises(text):
    said = parse(text, "comp11")
    assert isinstance(said, Refused) or said.sigma_ns >= 0


def sample(raw_at_ns, sigma_ns=1_000, sample_id="ct1"):
    return Sample(
        sample_id, CHRONOTICK, "http://s", "", OK, raw_at_ns, raw_at_ns, 0, published_raw_ns=raw_at_ns,
        raw_at_ns=raw_at_ns, reference_at_ns=1_000 * S + raw_at_ns, sigma_ns=sigma_ns,
    )  # fmt: skip


SOURCE = NewestSource(CHRONOTICK, "server:http://s", 100.0, 4 * S, 3.0)


def test_the_reading_is_so_many_sigmas_wide_and_says_what_they_are_worth():
    reading = evaluate(SOURCE, [sample(0)], Stamp(0, 0, 7, USER))  # 1 ns: what the oscillator drifts during 7 ns
    assert (reading.est_ns, reading.earliest_ns, reading.latest_ns) == (1_000 * S, 1_000 * S - 3_008, 1_000 * S + 3_008)
    assert reading.kind == PROBABILISTIC
    assert reading.level == pytest.approx(0.9973, abs=1e-4)
    assert reading.uncertainty_ns == 1_000
    assert reading.reference == "server:http://s"


def test_the_newest_prediction_serves_and_ages():
    reading = evaluate(SOURCE, [sample(0), sample(S, sample_id="ct2")], Stamp(0, 2 * S, 0, USER))
    assert (reading.sample_id, reading.age_ns, reading.est_ns) == ("ct2", S, 1_002 * S)
    assert reading.latest_ns - reading.est_ns == 3_000 + 100_011  # three sigmas and 100 ppm of a second, rounded up


def test_past_its_validity_a_prediction_is_stale():
    assert evaluate(SOURCE, [sample(0)], Stamp(0, 4 * S + 1, 0, USER)) == Unavailable(STALE)


def test_a_prediction_of_a_time_far_ahead_says_nothing_about_now():
    assert evaluate(SOURCE, [replace(sample(0), raw_at_ns=4 * S)], Stamp(0, 0, 0, USER)).age_ns == -4 * S
    ahead = replace(sample(0), raw_at_ns=4 * S + 1)
    assert evaluate(SOURCE, [ahead], Stamp(0, 0, 0, USER)) == Unavailable(NOT_YET_VALID)


def test_past_the_validity_that_it_names_a_prediction_is_stale():
    """An answer may hold for less than the plan says, never for more."""
    named = replace(sample(0), valid_until_raw_ns=2 * S)
    assert evaluate(SOURCE, [named], Stamp(0, 2 * S, 0, USER)).age_ns == 2 * S
    assert evaluate(SOURCE, [named], Stamp(0, 2 * S + 1, 0, USER)) == Unavailable(STALE)
    longer = replace(sample(0), valid_until_raw_ns=5 * S)
    assert evaluate(SOURCE, [longer], Stamp(0, 4 * S + 1, 0, USER)) == Unavailable(STALE)


def test_the_reading_of_a_claim_states_its_sigma_then_and_its_law():
    """The column of the uncertainty is one sigma at the stamp; asymmetry is added once, whatever the multiplier."""
    claim = replace(
        sample(0), asymmetry_ns=500, drift_fs_per_s=-12 * 10**9, drift_sigma_fs_per_s=10**9
    )  # 1 s later: 12 us back, sqrt(1000^2 + 1000^2) ns
    reading = evaluate(SOURCE, [claim], Stamp(0, S, 0, USER))
    assert (reading.est_ns, reading.uncertainty_ns, reading.asymmetry_ns) == (1_001 * S - 12_000, 1_415, 500)
    assert (reading.latest_ns - reading.est_ns, reading.law) == (4_243 + 500 + 2, AS_CLAIMED)


@pytest.mark.parametrize("half", ["drift_fs_per_s", "drift_sigma_fs_per_s"])
def test_a_drift_without_its_sigma_is_no_claim(half):
    """Half a claim changes nothing: the drift limit holds, and the reading says so."""
    stamp = Stamp(0, S, 0, USER)
    assert evaluate(SOURCE, [replace(sample(0), **{half: 10**9})], stamp) == evaluate(SOURCE, [sample(0)], stamp)
    assert evaluate(SOURCE, [sample(0)], stamp).law == DRIFT_LIMIT
