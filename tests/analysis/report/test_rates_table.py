"""rates.csv has every rate of the statistics, once, as it stands there; the summary repeats some of them."""

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
from analysis.report import rates_table
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
    rates = [rate for one in ANALYSES for rate in rates_in(json.loads((statistics / one.file).read_text()))]
    assert len(rows) == len(rates) > 500
    assert Counter(tuple(row[name] for name in KEY) for row in rows).most_common(1)[0][1] == 1
    counted = Counter((rate["numerator"], rate["denominator"], rate["method"]) for rate in rates)
    assert counted == Counter((int(row["numerator"]), int(row["denominator"]), row["method"]) for row in rows)


def test_columns_say_what_a_rate_is_about(analysed):
    _, rows = analysed
    assert {row["clock"] for row in rows} == {"", "point", "interval"}
    assert {row["unit"] for row in rows} == {"share", "rounds per decision"}
    assert {row["ground_truth"] for row in rows} <= {"", "reference", "injected_truth", "own_oscillator"}
    assert {row["source"] for row in rows} <= {"", "system", "ntp", "chronotick"}
    assert not any("sources" in row["metric"] or "against" in row["metric"] for row in rows)
    proved = [row for row in rows if row["question"] == "causality" and row["metric"] == "proved"]
    assert {row["subject"] for row in proved} >= {"all"}


def test_the_summary_repeats_what_stands_in_the_statistics(analysed):
    statistics, _ = analysed
    summary = json.loads((statistics / rates_table.SUMMARY_FILE).read_text())
    causality = json.loads((statistics / "causality_stats.json").read_text())
    assert summary["received"] == causality["received"]
    for source, said in summary["sources"].items():
        assert said["proved"] == causality["sources"][source]["all"]["intervals"]["proved"]
        assert said["violated_as_points"] == causality["sources"][source]["all"]["points"]["violated"]
    hypotheses = json.loads((statistics / "hypotheses.json").read_text())["hypotheses"]
    assert [one["status"] for one in summary["hypotheses"]] == [one["status"] for one in hypotheses]


def test_a_rate_without_a_place_is_an_error_and_not_left_out():
    rate = rates.rate(1, 2).as_dict()
    (causality,) = (one for one in ANALYSES if one.name == "causality")
    with pytest.raises(AnalysisError, match=r"expected a place of the rate causality/odd/one, got none"):
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
