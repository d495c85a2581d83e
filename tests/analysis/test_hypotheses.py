"""Hypotheses are judged by numbers of the run, and by nothing else."""

from __future__ import annotations

import pytest

from analysis import hypotheses, statistics
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
    assert one.measured.startswith("0.2500 (1 of 4; 0.0456 to 0.6994")


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
