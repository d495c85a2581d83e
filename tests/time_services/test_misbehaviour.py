"""A server that misbehaves on purpose does so in the way it was told to, and in no other."""

from __future__ import annotations

import argparse

import pytest

from time_services.misbehaviour import misbehaviour

S = 1_000_000_000


def said(at_s: int, offset_ms: float = 2.5, node_id: str = "a") -> dict[str, object]:
    return {"offset_ms": offset_ms, "uncertainty_ms": 0.2, "node_id": node_id, "prediction_time_ns": at_s * S}


@pytest.mark.parametrize(
    ("how", "changed"),
    [
        ("overconfident:100", {"uncertainty_ms": 0.002}),
        ("biased:0.5", {"offset_ms": 3.0}),
        ("biased:-0.5", {"offset_ms": 2.0}),
        ("clamped:1", {"offset_ms": 1.0}),
    ],
)
def test_only_what_it_lies_about_is_changed(how, changed):
    assert misbehaviour(how).bend(said(5)) == {**said(5), **changed}


def test_an_overconfident_server_claims_both_its_sigmas_too_small():
    """A reading held over by the claim grows by the sigma of the drift, which would else make up for the other one."""
    claims = {"drift_ppm": 12.0, "drift_uncertainty_ppm": 0.5, "asymmetry_ms": 0.1}
    bent = misbehaviour("overconfident:100").bend(said(5) | claims)
    assert bent == said(5) | claims | {"uncertainty_ms": 0.002, "drift_uncertainty_ppm": 0.005}
    without = {"drift_ppm": None, "drift_uncertainty_ppm": None}
    assert misbehaviour("overconfident:100").bend(said(5) | without)["drift_uncertainty_ppm"] is None


def test_a_clamp_holds_on_both_sides_and_leaves_the_rest_alone():
    clamp = misbehaviour("clamped:1")
    assert [clamp.bend(said(1, offset))["offset_ms"] for offset in (-7.0, -1.0, 0.5, 7.0)] == [-1.0, -1.0, 0.5, 1.0]


@pytest.mark.parametrize(("kind", "times"), [("frozen", [1, 2, 9, 10]), ("stale", [1, 2, 2, 2])])
def test_an_answer_is_repeated_once_its_node_had_answers_for_so_long(kind, times):
    server = misbehaviour(f"{kind}:3")
    got = [server.bend(said(at, float(at))) for at in (1, 2, 9, 10)]
    assert [one["offset_ms"] for one in got] == [1.0, 2.0, 2.0, 2.0]
    assert [one["prediction_time_ns"] for one in got] == [at * S for at in times]


def test_nodes_are_not_given_each_others_answers():
    server = misbehaviour("frozen:3")
    server.bend(said(1, 1.0, "a"))
    assert server.bend(said(9, 4.0, "b"))["offset_ms"] == 4.0


@pytest.mark.parametrize("text", ["", "overconfident", "overconfident:0", "clamped:-1", "slow:3", "biased:nan"])
def test_what_it_cannot_do_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected KIND:AMOUNT"):
        misbehaviour(text)
