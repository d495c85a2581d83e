"""Hypotheses are judged by numbers of the run, and by nothing else."""

from __future__ import annotations

import pytest
from run_folder import Clock, Folder, write

from analysis import hypotheses, load, results, statistics
from analysis.errors import AnalysisError

TEMPLATE = """hypotheses:
  - {{name: n, source: ntp, statement: s, metric: a/b, comparison: {comparison}, threshold: {threshold}}}
"""


def judge(tmp_path, comparison, threshold, numbers):
    file = tmp_path / "h.yaml"
    file.write_text(TEMPLATE.format(comparison=comparison, threshold=threshold))
    (one,) = hypotheses.judge(hypotheses.read(file), numbers)
    return one


@pytest.mark.parametrize(
    ("comparison", "threshold", "value", "status"),
    [
        ("at_least", 25, 25, "supported"),
        ("at_least", 25, 24.9, "not supported"),
        ("at_most", 0, 0, "supported"),
        ("at_most", 0, 0.001, "not supported"),
        ("between", [0.15, 0.20], 0.2, "supported"),
        ("between", [0.15, 0.20], 0.21, "not supported"),
        ("between", [0.15, 0.20], None, "not evaluable"),
    ],
)
def test_the_threshold_decides(tmp_path, comparison, threshold, value, status):
    assert judge(tmp_path, comparison, threshold, {"a": {"b": value}}).status == status


def test_a_rate_counts_by_its_value_and_is_shown_with_its_interval(tmp_path):
    one = judge(tmp_path, "at_most", 0.5, {"a": {"b": statistics.rate(1, 4).as_dict()}})
    assert one.status == "supported"
    assert one.measured.startswith("25.00 % (1 of 4; 4.56 to 69.94, Wilson")


@pytest.mark.parametrize(
    ("decided", "status", "reason"),
    [
        (0, "not evaluable", "nothing was decided: 400 of 400 ambiguous"),
        (3, "not evaluable", "too little was decided: 3 of 400, needed are 10 %"),
        (40, "supported", ""),
    ],
)
def test_never_wrong_is_nothing_without_decisions(tmp_path, decided, status, reason):
    evidence = "    evidence: {metric: a/decided, otherwise: ambiguous, at_least_share: 0.1}\n"
    file = tmp_path / "h.yaml"
    file.write_text(
        "hypotheses:\n  - name: n\n    source: s\n    statement: t\n    metric: a/b\n    comparison: at_most\n"
        "    threshold: 0\n" + evidence
    )
    rates = {"b": statistics.rate(0, 400).as_dict(), "decided": statistics.rate(decided, 400).as_dict()}
    (one,) = hypotheses.judge(hypotheses.read(file), {"a": rates})
    assert (one.status, one.reason) == (status, reason)
    (none,) = hypotheses.judge(hypotheses.read(file), {"a": {"b": statistics.rate(0, 400).as_dict()}})
    assert none.status == "not evaluable"


def test_infinitely_wide_chronotick_readings_support_no_claim_of_the_project(tmp_path):
    wide = Clock(ct_half_ns=10**12)
    found = results.compute(load.load(write(Folder({"a": wide, "b": wide}, coordinator=wide), tmp_path / "r")))
    judged = {one.hypothesis.name: one for one in hypotheses.judge(hypotheses.read(), found.as_statistics())}
    never = judged["chronotick-causality-violations"]
    assert (never.status, never.reason) == ("not evaluable", "nothing was decided: 20 of 20 ambiguous")
    assert all(one.status != "supported" for name, one in judged.items() if name.startswith("chronotick"))


def test_no_measured_number_is_bare(tmp_path):
    """NTP agrees on all 45 pairs of events, so that nobody can agree more often."""
    found = results.compute(load.load(write(Folder({"a": Clock(), "b": Clock()}), tmp_path / "r")))
    judged = {one.hypothesis.name: one for one in hypotheses.judge(hypotheses.read(), found.as_statistics())}
    consensus = judged["chronotick-consensus"]
    assert consensus.measured == "+0.00 percentage points (45 of 45 pairs of events; NTP 45 of 45)"
    assert (consensus.status, consensus.reason) == ("not supported", "no room to improve (45 of 45 with both)")
    assert consensus.hypothesis.threshold == "at least 25 percentage points"
    assert "of 40 decisions" in judged["chronotick-coordination"].measured
    assert judged["chronotick-provable"].hypothesis.threshold == "at least 80 % of the (event, worker) pairs"


@pytest.mark.parametrize("numbers", [{}, {"a": {}}, {"a": 3}, {"a": {"b": statistics.rate(0, 0).as_dict()}}])
def test_without_the_number_it_is_not_evaluable(tmp_path, numbers):
    one = judge(tmp_path, "at_least", 0.1, numbers)
    assert (one.status, one.value) == ("not evaluable", None)


@pytest.mark.parametrize(
    ("comparison", "threshold"), [("above", 1), ("at_least", "[1, 2]"), ("between", 3), ("between", "[2, 1]")]
)
def test_a_comparison_that_makes_no_sense_is_an_error_naming_the_hypothesis(tmp_path, comparison, threshold):
    with pytest.raises(AnalysisError, match="hypothesis 'n': expected at_least or at_most"):
        judge(tmp_path, comparison, threshold, {})


def test_the_projects_own_hypotheses_can_be_read_and_name_the_five_claims():
    own = hypotheses.read()
    assert len(own) == 5
    assert {one.source for one in own} == {"ntp", "chronotick"}
