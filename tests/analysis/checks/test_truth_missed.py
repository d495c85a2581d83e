"""A source whose intervals miss the truth more than it claims is named in the report's head: how often, how far."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from analysis import pipeline
from analysis.checks import readings
from analysis.checks.clocks import drift, truth_missed
from analysis.checks.validate import validate
from analysis.run import load
from analysis.simulation.simulate import simulate
from node_agent.contract import records


def play(scenario, results):
    return simulate(scenario, 3, 300, seed=7, results=results)


def missed(run):
    codes = {truth_missed.GUARANTEED_CODE, truth_missed.LEVEL_CODE}
    return [finding for finding in validate(run) if finding.code in codes]


@pytest.mark.parametrize(
    ("scenario", "code", "severity", "source"),
    [
        ("lying-server-alone", "guarantee-missed", "error", "ntp"),
        ("overconfident", "level-missed", "warning", "chronotick"),
    ],
)
def test_each_node_whose_intervals_miss_is_named_once_in_the_head(
    tmp_path, monkeypatch, scenario, code, severity, source
):
    run = play(scenario, tmp_path)
    found = missed(run)
    told = {(finding.code, finding.severity, finding.node, finding.source) for finding in found}
    assert told == {(code, severity, node, source) for node in ("comp18", "comp11", "comp12")}
    assert len(found) == 3
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})
    report = pipeline.run_all(run).report.read_text(encoding="utf-8")
    quality = json.loads((run / "statistics/clock_quality_stats.json").read_text())
    for finding in found:
        assert report[: report.index("| hypothesis |")].count(finding.message) == 1
        rate = quality[source][finding.node]["coverage_rates"]["missed"]
        assert (finding.numbers["missed"], finding.numbers["of"]) == (rate["numerator"], rate["denominator"])
        half_us = quality[source][finding.node]["judged_width_us"]["median"] / 2
        most_us = quality[source][finding.node]["abs_error_us"]["max"]
        assert most_us - half_us * 2 <= finding.numbers["worst_us"] <= most_us


@pytest.mark.parametrize("scenario", ["honest", "claims", "lossy", "switching-path"])
def test_honest_clocks_are_not_accused(tmp_path, scenario):
    assert missed(play(scenario, tmp_path)) == []


def test_without_injected_truth_the_reference_finds_it_where_it_is_conclusive(tmp_path):
    run = play("overconfident", tmp_path)
    file = run / records.MANIFEST_FILE
    manifest = json.loads(file.read_text())
    for node in manifest["nodes"].values():
        node["virtual_clock"] = None
    file.write_text(json.dumps(manifest))
    found = missed(run)
    assert {finding.node for finding in found} == {"comp11", "comp12"}
    assert all("differences to the coordinator's readings" in finding.message for finding in found)
    assert all("by the probe reference, one of the two nodes being to blame" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("required", "severity"), [(["ntp"], "warning"), (["ntp", "chronotick"], "error"), (None, "error")]
)
def test_only_a_source_that_the_run_needs_is_an_error_where_it_was_never_ready(tmp_path, required, severity):
    run = load.load(play("honest", tmp_path))
    frame = run.workers["comp11"].copy()
    for column in (name for name in frame.columns if name.startswith("ct_")):
        frame[column] = frame[column].where([False] * len(frame))
    frame["ct_status"] = "never_sampled"
    if required is None:
        del run.manifest.config["worker"]["clocks"]["required"]
    else:
        run.manifest.config["worker"]["clocks"]["required"] = required
    run = replace(run, workers={**run.workers, "comp11": frame})
    (finding,) = [finding for finding in readings.find(run) if finding.code == "never-ready"]
    assert (finding.severity, finding.node, finding.source) == (severity, "comp11", "chronotick")


@pytest.mark.parametrize(
    ("ppm", "sigma_ppm", "count"),
    [(50.0, 1.0, 0), (-150.0, 1.0, 1), (150.0, None, 1), (105.0, 40.0, 0), (-150.0, 17.0, 0), (150.0, 16.0, 1)],
)
def test_a_claimed_drift_beyond_the_limit_is_found(tmp_path, ppm, sigma_ppm, count):
    """By three of its own sigma: a young predictor that hardly knows the drift contradicts no limit."""
    run = load.load(play("claims", tmp_path))
    frame = run.samples["comp11"].copy()
    frame.loc[frame["source"] == records.CHRONOTICK, "drift_fs_per_s"] = round(ppm * 1e9)
    frame["drift_sigma_fs_per_s"] = None if sigma_ppm is None else round(sigma_ppm * 1e9)
    run = replace(run, samples={**run.samples, "comp11": frame})
    found = [finding for finding in drift.find(run) if finding.code == drift.CLAIMED_CODE]
    assert len(found) == count
    for finding in found:
        assert (finding.severity, finding.node, finding.source) == ("warning", "comp11", "chronotick")
        assert finding.numbers["worst_ppm"] == abs(ppm)
