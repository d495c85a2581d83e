"""rates.csv has every number of the statistics, once, as it stands there; the summary repeats some of them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace

import pytest

from analysis import pipeline
from analysis.analyses.analysis import Place
from analysis.errors import AnalysisError
from analysis.registry import ANALYSES
from analysis.report import entries, rates_table, summary
from analysis.simulation import scenario as scenarios
from analysis.simulation.simulate import simulate
from analysis.stats import rates
from node_agent.contract import records

KEY = ("question", "subject", "source", "clock", "ground_truth", "metric")


def rates_in(data):
    if isinstance(data, dict) and "numerator" in data and "denominator" in data:
        return [data]
    items = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [rate for item in items for rate in rates_in(item)]


@pytest.fixture(scope="module", params=["honest", "lossy", "lying-server", "two-coordinators"])
def analysed(request, tmp_path_factory):
    folder = simulate(scenarios.read(request.param), 3, 200, seed=3, results=tmp_path_factory.mktemp("results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_drawings", lambda _found: {})
        pipeline.run_all(folder)
    statistics = folder / records.STATISTICS_DIR
    with (statistics / rates_table.RATES_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return statistics, rows


def test_every_rate_has_its_row_and_no_two_have_one_key(analysed):
    statistics, rows = analysed
    found = [rate for one in ANALYSES for rate in rates_in(json.loads((statistics / one.file).read_text()))]
    shares = [row for row in rows if row["numerator"]]
    checks = json.loads((statistics / "reference_stats.json").read_text())["checks"].values()
    found += [rates.rate(check["held"], check["checked"]).as_dict() for check in checks]
    assert len(shares) == len(found) > 500
    assert Counter(tuple(row[name] for name in KEY) for row in rows).most_common(1)[0][1] == 1
    counted = Counter((rate["numerator"], rate["denominator"], rate["method"]) for rate in found)
    assert counted == Counter((int(row["numerator"]), int(row["denominator"]), row["method"]) for row in shares)


def numbers_in(data):
    """Return all numbers of JSON data, shares left out."""
    if isinstance(data, dict):
        items = [] if rates_in(data) == [data] else data.values()
    else:
        items = data if isinstance(data, list) else None
    if items is None:
        return [data] if isinstance(data, (int, float)) and not isinstance(data, bool) else []
    return [number for item in items for number in numbers_in(item)]


def test_no_number_of_the_statistics_is_left_out(analysed):
    """Widths, offsets, waits, kappas: whatever is a number in a file is one in the table, and none is made up."""
    statistics, rows = analysed
    names = ("value", "least", "most", "low", "high", "numerator", "denominator")
    table = {float(row[name]) for row in rows for name in names if row[name]}
    files = [number for one in ANALYSES for number in numbers_in(json.loads((statistics / one.file).read_text()))]
    assert len(files) > 1500
    assert {float(number) for number in files} - table == set()
    quantities = {float(row["value"]) for row in rows if not row["denominator"] and row["value"]}
    assert quantities - {float(number) for number in files} == set()


def test_a_quantity_has_a_value_and_a_unit_and_counts_nothing(analysed):
    _, rows = analysed
    quantities = [row for row in rows if not row["denominator"]]
    assert len(quantities) > 1000
    assert not any(row["numerator"] for row in quantities)
    assert all(row["unit"] and (row["value"] or row["most"] or row["low"]) for row in quantities)
    units = {(row["question"], row["metric"]): row["unit"] for row in quantities}
    assert units["clock_quality", "width_us/median"] == "µs"
    assert units["clock_quality", "width_us/count"] == "count"
    assert units["clock_quality", "kappa"] == "1"
    assert units["held_events", "waited_ms/p95"] == "ms"
    assert units["reference", "known_share"] == "share"
    assert units["reference", "rho_ppm"] == "ppm"
    assert units["coordination", "bytes_sent"] == "bytes"


def test_the_references_own_shares_are_in_the_table(analysed):
    _, rows = analysed
    checks = {row["subject"]: row for row in rows if row["question"] == "reference_self_check"}
    assert "loops_close" in checks
    loops = next(row for row in rows if row["subject"] == "loops_close" and row["metric"] == "held")
    assert int(loops["numerator"]) <= int(loops["denominator"])
    assert loops["unit"] == "share"
    known = [row for row in rows if row["question"] == "reference" and row["metric"] == "known_share"]
    assert {row["subject"] for row in known} == {"comp18/comp11", "comp18/comp12", "comp11/comp12"}
    assert all(0 < float(row["value"]) <= 1 for row in known)


def test_columns_say_what_a_rate_is_about(analysed):
    _, rows = analysed
    assert {row["clock"] for row in rows} == {"", "point", "interval"}
    assert {row["unit"] for row in rows if row["denominator"]} == {"share", "rounds per decision"}
    assert {row["ground_truth"] for row in rows} <= {"", "reference", "injected_truth", "own_oscillator"}
    assert {row["source"] for row in rows} <= {"", "system", "ntp", "chronotick"}
    assert not any({"sources", "against"} & set(row["metric"].split("/")) for row in rows)
    proved = [row for row in rows if row["question"] == "causality" and row["metric"] == "proved"]
    assert {row["subject"] for row in proved} >= {"all"}


def test_the_summary_repeats_what_stands_in_the_statistics(analysed):
    statistics, _ = analysed
    first = json.loads((statistics / summary.SUMMARY_FILE).read_text())
    causality = json.loads((statistics / "causality_stats.json").read_text())
    assert first["received"] == causality["received"]
    for source, said in first["sources"].items():
        assert said["proved"] == causality["sources"][source]["all"]["intervals"]["proved"]
        assert said["violated_as_points"] == causality["sources"][source]["all"]["points"]["violated"]
    hypotheses = json.loads((statistics / "hypotheses.json").read_text())["hypotheses"]
    assert [one["status"] for one in first["hypotheses"]] == [one["status"] for one in hypotheses]
    verdict = json.loads((statistics / "verdict.json").read_text())
    assert {**verdict, "wrong": first["verdict"]["wrong"]} == first["verdict"]
    findings = json.loads((statistics / "validity_findings.json").read_text())["findings"]
    assert [one["numbers"] for one in first["found"]] == [one["numbers"] for one in findings]


def test_the_summary_counts_what_every_node_has_and_lacks(analysed):
    statistics, _ = analysed
    run = json.loads((statistics / summary.SUMMARY_FILE).read_text())["run"]
    assert run["events_sent"] == run["nodes"]["comp18"]["sent"] == 200
    for worker in ("comp11", "comp12"):
        node = run["nodes"][worker]
        assert node["received"] + node["lost"] == 200
        assert node["received_of_sent"]["numerator"] == node["received"]
        assert run["missing_readings"]["ntp"][worker]["unavailable"]["denominator"] == node["received"]


def test_a_rate_without_a_place_is_an_error_and_not_left_out():
    rate = rates.rate(1, 2).as_dict()
    (causality,) = (one for one in ANALYSES if one.name == "causality")
    with pytest.raises(AnalysisError, match=r"expected a place of the number causality/odd/one, got none"):
        rates_table.rows([causality], {"causality": {"odd": {"one": rate}}})


def test_what_a_judge_cannot_tell_is_inside_the_interval():
    """Of 400 decisions with 3 called right and 397 unknown, the share of wrong ones may be anything up to 397/400."""
    rate = {
        "value": 0.0,
        "numerator": 0,
        "denominator": 400,
        "interval": [0.0, 0.34],
        "method": "m",
        "effective_trials": 9,
    }
    topic = replace(ANALYSES[0], name="x", rates=(Place("{metric}"),))
    numbers = {"x": {"wrong": rate, "wrong_bounds": [0.0, 0.9925], "sent": {**rate, "interval": None}}}
    wrong, sent = rates_table.rows([topic], numbers)
    assert (wrong["low"], wrong["high"]) == (0.0, 0.9925)
    assert (sent["low"], sent["high"]) == (None, None)


def test_an_interval_reaches_to_what_the_opposite_leaves():
    """Right is at most what is not wrong: its interval ends where that of the opposite of wrong does, as reported."""
    wrong = rates.Rate(20, 100, 0.1, 0.3, "m", 50.0).as_dict()
    right = rates.Rate(60, 100, 0.5, 0.7, "m", 50.0).as_dict()
    data = {"right": right, "wrong": wrong, "right_bounds": [0.6, 0.8], "wrong_bounds": [0.2, 0.4]}
    right_entry, wrong_entry = entries.entries(data)
    assert (right_entry.least, right_entry.most, right_entry.low, right_entry.high) == (0.6, 0.8, 0.5, 0.9)
    assert (wrong_entry.least, wrong_entry.most, wrong_entry.low, wrong_entry.high) == (0.2, 0.4, 0.1, 0.5)


def test_what_stands_beside_a_number_is_in_its_row():
    data = {
        "kappa": None,
        "kappa_bounds": [0.5, 2.0],
        "detail": {"value": 1.5, "interval": [1.0, None], "method": "order statistics", "count": 7},
        "alone_us_interval": [3.0, None],
        "interval_vs_ntp_interval": {"value": 0.25},
        "adev": [1.0, None],
        "adev_bounds": [[1.0, 1.0], [2.0, 3.0]],
        "words": "12",
        "passed": True,
        "none": None,
    }
    found = {"/".join(entry.path): entry for entry in entries.entries(data)}
    assert list(found) == [
        "kappa", "detail/value", "detail/count", "alone_us", "interval_vs_ntp_interval/value", "adev/0", "adev/1",
    ]  # fmt: skip
    assert (found["kappa"].value, found["kappa"].least, found["kappa"].most) == (None, 0.5, 2.0)
    assert (found["detail/value"].low, found["detail/value"].high) == (1.0, None)
    assert found["detail/value"].method == "order statistics"
    assert (found["adev/1"].value, found["adev/1"].least, found["adev/1"].most) == (None, 2.0, 3.0)


def test_each_known_cause_may_have_as_much_more_as_is_unknown():
    """Of 10 disagreements 3 are known to be true ones and 5 the clocks': 3 to 5 are true, 5 to 7 the clocks'."""
    differ, clocks, unknown = entries.entries({"true_windows_differ": 3, "caused_by_clocks": 5, "unknown": 2})
    assert (differ.value, differ.least, differ.most) == (3, 3, 5)
    assert (clocks.value, clocks.least, clocks.most) == (5, 5, 7)
    assert (unknown.value, unknown.least) == (2, None)
