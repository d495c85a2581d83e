"""Who received first, and agreement on the order of nearby events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folder import MS, US, Clock, Folder, write

from analysis import ordering_consensus
from analysis.by_event import readings, verdicts
from analysis.errors import AnalysisError
from analysis.questions import pairs
from analysis.run import load


def stats(folder, path):
    return ordering_consensus.analyze(write(folder, path))


def test_all_pairs_within_a_second_are_judged_and_no_other(tmp_path):
    """Six events 400 ms apart: each has two successors within 1 s, the last ones fewer: 4 * 2 + 1 = 9 pairs."""
    run = Folder({"a": Clock(), "b": Clock()}, events=6, spacing_ns=400 * MS)
    found = stats(run, tmp_path / "r")
    assert (found["pairs_total"], found["pairs_judged"]) == (9, 9)
    assert found["sources"]["ntp"]["interval"]["agreement"]["denominator"] == 9


def test_a_worker_whose_bounds_swallow_the_gaps_agrees_with_nobody_who_decides(tmp_path):
    """20 ms between events: b's NTP bounds of +-15 ms leave neighbours ambiguous and decide all farther pairs."""
    run = Folder({"a": Clock(), "b": Clock(ntp_half_ns=15 * MS)}, events=4)
    ntp = stats(run, tmp_path / "r")["sources"]["ntp"]
    assert ntp["interval"]["agreement"]["numerator"] == 3
    assert ntp["interval"]["decided"]["numerator"] == 3
    assert ntp["point"]["agreement"]["numerator"] == 6
    assert ntp["interval"]["wrong_decided"]["numerator"] == 0


def test_two_equally_vague_workers_agree_that_they_cannot_tell_and_decide_nothing(tmp_path):
    vague = Clock(ntp_half_ns=500 * MS)
    ntp = stats(Folder({"a": vague, "b": vague}, events=4), tmp_path / "r")["sources"]["ntp"]["interval"]
    assert ntp["agreement"]["value"] == 1.0
    assert ntp["decided"]["value"] == 0.0
    assert ntp["agreement_decided"]["value"] == 0.0


def test_who_received_first_is_right_or_wrong_against_the_injected_truth(tmp_path):
    """Worker a receives 50 us before b, but its clock runs 1 ms ahead: the raw clocks say the opposite, every time."""
    run = Folder({"a": Clock(wall_error_ns=MS), "b": Clock()}, delays_ns={"a": 100 * US, "b": 150 * US})
    sources = stats(run, tmp_path / "r")["sources"]
    assert sources["system"]["point"]["who_first"]["a/b"]["wrong_decided"]["numerator"] == 10
    assert sources["ntp"]["point"]["who_first"]["a/b"]["wrong_decided"]["numerator"] == 0
    assert sources["ntp"]["interval"]["who_first"]["a/b"]["ambiguous"] == 10


def test_without_a_truth_what_is_wrong_is_not_evaluable(tmp_path):
    sources = stats(Folder({"a": Clock(), "b": Clock()}, truth=False), tmp_path / "r")["sources"]
    assert sources["ntp"]["point"]["who_first"]["a/b"]["wrong_decided"] == "not_evaluable"
    assert sources["ntp"]["point"]["wrong_decided"] is None


def test_one_worker_has_nobody_to_agree_with(tmp_path):
    found = stats(Folder({"a": Clock()}), tmp_path / "r")
    assert found["sources"] == {}


def test_three_workers_make_three_pairs_and_must_all_agree(tmp_path):
    run = Folder({"a": Clock(), "b": Clock(), "c": Clock(ntp_half_ns=15 * MS)}, events=4)
    ntp = stats(run, tmp_path / "r")["sources"]["ntp"]
    assert list(ntp["interval"]["who_first"]) == ["all", "a/b", "a/c", "b/c"]
    assert ntp["interval"]["agreement"]["numerator"] == 3


def test_pairs_with_a_lost_event_are_not_evaluable(tmp_path):
    run = Folder({"a": Clock(), "b": Clock()}, events=4, lost={"b": (1,)})
    ntp = stats(run, tmp_path / "r")["sources"]["ntp"]["point"]
    assert ntp["not_evaluable_pairs"] == 3
    assert ntp["agreement"]["denominator"] == 3


def test_readings_of_different_sources_are_never_compared(tmp_path):
    table = readings.table(load.load(write(Folder({"a": Clock()}), tmp_path / "r")))
    with pytest.raises(AnalysisError, match="readings of one source"):
        verdicts.points(table.sends("a", "ntp"), table.readings("a", "chronotick"))


@given(st.lists(st.integers(0, 5_000_000_000), max_size=60), st.integers(0, 3_000_000_000))
def test_the_pairs_are_those_a_double_loop_finds(times, span):
    sent = np.array(times, dtype=np.int64)
    nearby = pairs.nearby(sent, np.ones(len(times), dtype=bool), span)
    found = {tuple(sorted(pair)) for pair in zip(nearby.first.tolist(), nearby.second.tolist(), strict=True)}
    expected = {(i, j) for i in range(len(times)) for j in range(i + 1, len(times)) if abs(times[i] - times[j]) <= span}
    assert found == expected
    assert nearby.total == len(expected)


def test_too_many_pairs_are_sampled_evenly_and_the_same_way_every_time():
    """2,000 events 1 ms apart have 1.5 million pairs within a second; 10,000 of them are drawn, none twice."""
    sent = np.arange(2_000, dtype=np.int64) * 1_000_000
    known = np.ones(2_000, dtype=bool)
    nearby = pairs.nearby(sent, known, most=10_000)
    again = pairs.nearby(sent, known, most=10_000)
    first, second = nearby.first, nearby.second
    assert nearby.total == 999 * 1_000 + 1_000 + 999 * 1_000 // 2
    assert len(first) == len(set(zip(first.tolist(), second.tolist(), strict=True))) == 10_000
    assert ((second > first) & (second - first <= 1_000)).all()
    assert (first == again.first).all()
    assert (second == again.second).all()
    assert abs(float(np.mean(second - first)) - 447) < 30
