"""Hypotheses are judged by numbers of the run, and by nothing else."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from run_folder import Clock, Folder, write, write_csv

from analysis import command, registry
from analysis.errors import AnalysisError
from analysis.report import hypotheses, markdown, opening, rates_table
from analysis.stats.rates import Worth, rate

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
    one = judge(tmp_path, "at_most", 0.5, {"a": {"b": rate(1, 5, Worth(5.0, 10**9)).as_dict()}})
    assert one.status == "supported"
    assert one.measured == "20.00 % (1 of 5; 3.62 to 62.45)"
    assert one.method.startswith("Wilson")
    assert one.reason == "the 95 % interval reaches 62.45 %: consistent with, not proof"


@pytest.mark.parametrize(
    ("comparison", "threshold", "hits", "of", "status", "reason"),
    [
        ("at_most", 0.0, 0, 16, "supported", "the 95 % interval reaches 17.07 %: consistent with, not proof"),
        ("at_least", 0.8, 9, 10, "supported", "the 95 % interval reaches 59.58 %: consistent with, not proof"),
        ("at_least", 0.8, 990, 1000, "supported", ""),
        ("at_most", 0.1, 1, 1000, "supported", ""),
        ("at_least", 0.8, 7, 10, "not supported", "the 95 % interval, 39.68 to 89.22 %, reaches the threshold"),
        ("at_least", 0.8, 70, 1000, "not supported", ""),
    ],
)
def test_an_interval_that_does_not_clear_the_threshold_is_named_beside_the_status(
    tmp_path, comparison, threshold, hits, of, status, reason
):
    one = judge(
        tmp_path,
        comparison,
        threshold,
        {"a": {"b": rate(hits, of, Worth(float(of), 10**9)).as_dict()}},
    )
    assert one.status == status
    assert one.reason.startswith(reason)
    assert bool(one.reason) == bool(reason)


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(30, 40, "supported"), (-500, 10, "not supported"), (None, 10, "not supported"), (10, 30, "not evaluable"),
     (None, 40, "not evaluable"), (None, None, "not evaluable")],
)  # fmt: skip
def test_a_number_known_to_lie_between_two_is_judged_where_both_say_the_same(tmp_path, low, high, status):
    one = judge(tmp_path, "at_least", 25, {"a": {"b": None, "at_least": low, "at_most": high, "in_words": "between"}})
    assert (one.status, one.value) == (status, None)


def test_a_number_without_interval_is_no_proof(tmp_path):
    assert judge(tmp_path, "at_least", 25, {"a": {"b": 30}}).reason.endswith("no proof")


@pytest.mark.parametrize("answered", [0, 1, 8])
def test_no_hypothesis_is_supported_by_the_few_readings_there_happened_to_be(tmp_path, answered):
    """Workers and coordinator read ChronoTick for the first events only, and rightly there; NTP is off by 20 ms."""
    ntp = Clock(ntp_error_ns=-20_000_000)
    path = write(Folder({"a": ntp, "b": Clock()}, events=100), tmp_path / "r")
    for name in ("coordinator.csv", "worker_a.csv", "worker_b.csv"):
        with (path / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows[answered:]:
            row.update({column: "" for column in row if column.startswith("ct_")}, ct_status="stale")
        write_csv(path / name, list(rows[0]), rows)
    found = registry.compute(command.table_of(path)).as_statistics()
    assert found["causality"]["sources"]["chronotick"]["all"]["intervals"]["evaluable"]["denominator"] == 200
    judged = {one.hypothesis.name: one for one in hypotheses.judge(hypotheses.read(), found)}
    for name, one in judged.items():
        if name.startswith("chronotick"):
            assert one.status == "not evaluable", name
    if answered:
        provable = judged["chronotick-provable"].reason
        assert f"too little was evaluable: {2 * answered} of 200 (the other {200 - 2 * answered} without" in provable
        assert provable.endswith("needed are 90 %")


def test_every_hypothesis_asks_for_nine_tenths_of_what_was_received():
    for one in hypotheses.read():
        shares = [evidence.at_least_share for evidence in one.evidence if evidence.metric.endswith("/evaluable")]
        assert shares, one.name
        assert min(shares) == 0.9


def test_the_report_names_the_method_of_the_intervals_once(tmp_path):
    found = registry.compute(command.table_of(write(Folder({"a": Clock(), "b": Clock()}), tmp_path / "r")))
    judged = hypotheses.judge(hypotheses.read(), found.as_statistics())
    said = opening.of(found, judged)
    text, table = markdown.render(said), said.tables["hypotheses"]
    assert "Wilson" not in table.markdown
    assert "Clopper" not in table.markdown
    assert max(len(cell) for row in table.rows for cell in row) <= 200
    for method in {one.method for one in judged if one.method}:
        assert text.count(method) == 1


@pytest.mark.parametrize(
    ("decided", "status", "reason"),
    [
        (0, "not evaluable", "nothing was decided: 400 of 400 ambiguous"),
        (3, "not evaluable", "too little was decided: 3 of 400 (the other 397 ambiguous), needed are 10 %"),
        (40, "supported", "the 95 % interval reaches 0.75 %: consistent with, not proof"),
    ],
)
def test_never_wrong_is_nothing_without_decisions(tmp_path, decided, status, reason):
    evidence = "    evidence: {metric: a/decided, otherwise: ambiguous, at_least_share: 0.1}\n"
    file = tmp_path / "h.yaml"
    file.write_text(
        "hypotheses:\n  - name: n\n    source: s\n    statement: t\n    metric: a/b\n    comparison: at_most\n"
        "    threshold: 0\n" + evidence
    )
    rates = {
        "b": rate(0, 400, Worth(400.0, 399)).as_dict(),
        "decided": rate(decided, 400).as_dict(),
    }
    (one,) = hypotheses.judge(hypotheses.read(file), {"a": rates})
    assert (one.status, one.reason) == (status, reason)
    (none,) = hypotheses.judge(hypotheses.read(file), {"a": {"b": rate(0, 400).as_dict()}})
    assert none.status == "not evaluable"


def test_infinitely_wide_chronotick_readings_support_no_claim_of_the_project(tmp_path):
    wide = Clock(ct_half_ns=10**12)
    found = registry.compute(command.table_of(write(Folder({"a": wide, "b": wide}, coordinator=wide), tmp_path / "r")))
    judged = {one.hypothesis.name: one for one in hypotheses.judge(hypotheses.read(), found.as_statistics())}
    never = judged["chronotick-causality-violations"]
    assert (never.status, never.reason) == ("not evaluable", "nothing was decided: 20 of 20 ambiguous")
    assert all(one.status != "supported" for name, one in judged.items() if name.startswith("chronotick"))


def test_no_measured_number_is_bare(tmp_path):
    """NTP agrees on all 45 pairs of events, so that nobody can agree more often."""
    found = registry.compute(command.table_of(write(Folder({"a": Clock(), "b": Clock()}), tmp_path / "r")))
    judged = {one.hypothesis.name: one for one in hypotheses.judge(hypotheses.read(), found.as_statistics())}
    consensus = judged["chronotick-consensus"]
    assert consensus.measured == "+0.00 percentage points (45 of 45 pairs of events; NTP 45 of 45)"
    assert (consensus.status, consensus.reason) == ("not supported", "no room to improve (45 of 45 with both)")
    assert consensus.hypothesis.threshold == "at least 25 percentage points"
    assert "of 40 decisions" in judged["chronotick-coordination"].measured
    assert judged["chronotick-provable"].hypothesis.threshold == "at least 80 % of the (event, worker) pairs"


@pytest.mark.parametrize("numbers", [{}, {"a": {}}, {"a": 3}, {"a": {"b": rate(0, 0).as_dict()}}])
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


def test_a_metric_of_no_topic_is_a_slip_of_the_pen():
    claims = hypotheses.read()
    topics = {claim.metric.partition("/")[0] for claim in claims} | {"coordination_cost", "clock_quality"}
    topics |= {evidence.metric.partition("/")[0] for claim in claims for evidence in claim.evidence}
    hypotheses.demand_topics(claims, topics)
    wrong = replace(claims[0], metric="causalty/ntp/x")
    with pytest.raises(AnalysisError, match=r"expected a metric that begins with one of .*, got 'causalty/ntp/x'"):
        hypotheses.demand_topics([wrong], topics)


SHARE = rate(3, 4, Worth(100.0, 10**9)).as_dict()


def in_unit(metric, unit, numbers, unit_of_rate=lambda _metric: ""):
    """Judge "at most 0.9" of a metric; return threshold and measured number as they are shown."""
    claim = hypotheses.Hypothesis("n", "s", "t", metric, "at_most", None, 0.9, unit)
    (one,) = hypotheses.judge([claim], numbers, unit_of_rate)
    return one.hypothesis.threshold, one.measured


@pytest.mark.parametrize(
    ("unit", "threshold"),
    [("", "at most 90 %"), ("of the pairs", "at most 90 % of the pairs"), ("% of it", "at most 90 % of it")],
)
def test_a_rate_and_its_threshold_are_both_in_percent_whatever_the_unit_leaves_out(unit, threshold):
    shown = in_unit("a/b", unit, {"a": {"b": SHARE}})
    assert shown == (threshold, "75.00 % (3 of 4; 65.70 to 82.45)")


def test_a_rate_that_is_no_share_is_in_the_unit_that_its_analysis_says():
    shown = in_unit("a/b", "", {"a": {"b": SHARE}}, lambda metric: {"a/b": "rounds per decision"}[metric])
    assert shown == ("at most 0.9 rounds per decision", "0.75 rounds per decision (3 of 4; 0.66 to 0.82)")


def test_the_units_of_the_projects_own_rates_are_known():
    cost = "coordination/tasks/causality/ntp/point/rounds_per_decision"
    assert rates_table.unit_of_rate(registry.ANALYSES, cost) == "rounds per decision"
    assert rates_table.unit_of_rate(registry.ANALYSES, "causality/sources/ntp/all/points/violated") == ""


@pytest.mark.parametrize(
    ("metric", "unit", "threshold", "measured"),
    [
        ("a/age_ms/median", "", "at most 0.9 ms", "age_ms/median = 12.35 ms"),
        ("a/age_ms/median", "ms of age", "at most 0.9 ms of age", "age_ms/median = 12.35 ms of age"),
        ("a/age_ms/median", "of age", "at most 0.9 ms of age", "age_ms/median = 12.35 ms of age"),
        ("a/age_ms/count", "", "at most 0.9", "age_ms/count = 12,346"),
        ("a/width_us", "us", "at most 0.9 µs", "a/width_us = 3 µs"),
        ("a/plain", "% fewer", "at most 90 % fewer", "a/plain = 25 % fewer"),
        ("a/plain", "", "at most 0.9", "a/plain = 0.25"),
        ("a/age_ms", "", "at most 0.9", "no number but median, count: name one of these"),
    ],
)
def test_a_number_and_its_threshold_are_in_the_unit_of_its_key(metric, unit, threshold, measured):
    numbers = {"a": {"plain": 0.25, "age_ms": {"median": 12.345678, "count": 12_345.6}, "width_us": 3}}
    assert in_unit(metric, unit, numbers) == (threshold, measured)


@pytest.mark.parametrize(
    ("metric", "unit", "own"),
    [
        ("a/age_ms/median", "s", "ms"),
        ("a/age_ms/median", "% of it", "ms"),
        ("a/b", "ms", "%"),
        ("a/lag_points", "%", "percentage points"),
    ],
)
def test_another_unit_than_the_numbers_own_is_refused(metric, unit, own):
    """The threshold was meant in it, and would be taken for another: 2 s for 2 ms."""
    numbers = {"a": {"b": SHARE, "age_ms": {"median": 12.3}, "lag_points": 25.0}}
    with pytest.raises(AnalysisError, match=f"expected a unit that begins with '{own}', in which {metric} is counted"):
        in_unit(metric, unit, numbers)


def test_words_about_one_number_are_not_said_of_another_of_the_same_mapping():
    both = {"agreed_points": 25.0, "alike_points": 3.0, "in_words": "+25 points (of what is decided)", "remark": "hm"}
    assert in_unit("a/agreed_points", "", {"a": both})[1] == "+25 points (of what is decided)"
    assert in_unit("a/alike_points", "", {"a": both})[1] == "a/alike_points = 3 percentage points"
    told = both | {"alike_points_in_words": "+3 points (of all)"}
    assert in_unit("a/alike_points", "", {"a": told})[1] == "+3 points (of all)"


def test_a_key_of_an_earlier_version_is_refused_with_its_new_name():
    """It was a share of wrong decisions under a name that reads like one of right ones, "correctness"."""
    former = "ordering/sources/ntp/point/who_first/all/correctness"
    claim = replace(hypotheses.read()[0], metric=former, evidence=())
    with pytest.raises(AnalysisError, match=f"expected '.*/all/wrong_decided', got its former name '{former}'"):
        hypotheses.demand_topics([claim], ["ordering"])
