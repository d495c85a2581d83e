"""Who begins after another's release gets the later timestamp, and where that is broken, it shows."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.questions.judges import Lag
from analysis.questions.waits import external_consistency, holds


class Probes:
    """A reference between nodes whose raw oscillators all show true time, known to within so many ns."""

    reason = ""

    def __init__(self, half_ns=0):
        self._half = half_ns

    def shown(self, first, second, other):
        return other

    def lag_from(self, first, one, second, other):
        lag = other.ns - one.ns
        return Lag(lag - self._half, lag + self._half, one.known & other.known)


def looks(*waits, sample=None):
    """Return one node's looks: (begun, assigned, released) per event; released None: it was given up.

    ``sample``: the id of the sample that served them all.
    """
    rows = []
    for event, (begun, assigned, released) in enumerate(waits):
        common = {"event_id": event, "source": "ntp", "assigned_ns": assigned, "sample_id": sample}
        rows.append(common | {"done_raw_ns": begun, "status": "waiting"})
        rows.append(common | {"done_raw_ns": released or begun + 1, "status": "ok" if released else "stale"})
    frame = pd.DataFrame(rows).assign(delay_s=0.0, uncertainty_ms=0.05)
    return holds.of_looks(frame.astype({"assigned_ns": "Int64", "done_raw_ns": "Int64", "sample_id": "string"}))["ntp"]


def judged(rows, half_ns=0):
    found = external_consistency.judge(rows, Probes(half_ns), "ntp").violated
    return None if found is None else (found.numerator, found.denominator)


def test_a_later_start_with_an_earlier_timestamp_is_a_violation():
    rows = {"a": looks((100, 1000, 200)), "b": looks((300, 900, 400), (150, 800, 600))}
    assert judged(rows) == (1, 1)


def test_a_later_start_with_a_later_timestamp_is_none():
    assert judged({"a": looks((100, 1000, 200)), "b": looks((300, 1001, 400))}) == (0, 1)


def test_what_the_reference_cannot_order_is_not_judged():
    rows = {"a": looks((100, 1000, 200)), "b": looks((300, 900, 400))}
    assert judged(rows, half_ns=99) == (1, 1)
    assert judged(rows, half_ns=100) is None


def test_a_wait_that_was_given_up_released_nothing():
    assert judged({"a": looks((100, 1000, None)), "b": looks((300, 900, 400))}) is None


@pytest.mark.parametrize(("sample", "why"), [("s", "only repeats"), (None, "a count")])
def test_waits_of_one_sample_are_one_trial_and_without_samples_a_mere_count(sample, why):
    many = [(300 + 200 * event, 2000 + event, 400 + 200 * event) for event in range(50)]
    rows = {"a": looks((100, 1000, 200), sample=sample), "b": looks(*many, sample=sample)}
    rate = external_consistency.judge(rows, Probes(), "ntp").violated
    assert (rate.numerator, rate.denominator, rate.low, rate.high) == (0, 50, None, None)
    assert why in rate.method


@pytest.mark.parametrize("reference", [None, type("Silent", (), {"reason": "no probes"})()])
def test_without_a_reference_nothing_is_evaluable_and_the_reason_is_told(reference):
    found = external_consistency.judge({"a": looks((1, 2, 3))}, reference, "ntp").as_dict()
    assert found["status"] == "not_evaluable"
    assert found["reason"]


waits = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=8)


@given(waits, waits, st.integers(0, 5))
def test_it_is_what_a_double_loop_finds(one, other, half):
    nodes = {
        name: [(begun, assigned, begun + held) for begun, assigned, held in found]
        for name, found in (("a", one), ("b", other))
    }
    broken = total = 0
    for first, second in (("a", "b"), ("b", "a")):
        for begun, assigned, _ in nodes[second]:
            earlier = [theirs for _, theirs, released in nodes[first] if begun - released - half > 0]
            total += bool(earlier)
            broken += bool(earlier) and assigned <= max(earlier)
    found = judged({name: looks(*rows) for name, rows in nodes.items()}, half)
    assert found == ((broken, total) if total else None)
