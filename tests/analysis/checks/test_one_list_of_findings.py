"""What `validate` says of a run the report says too, and the other way round: both read one list."""

from __future__ import annotations

import json

import page_text
import pytest

from analysis import pipeline
from analysis import tables as cells
from analysis.checks import replay, validity
from analysis.checks.finding import CONTRACT
from analysis.checks.validate import validate
from analysis.run import load
from analysis.simulation.simulate import simulate
from node_agent.contract import records
from node_agent.contract.plan import PLAN_FILE


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(pipeline, "_drawings", lambda _found: {})


def lines(findings):
    return [finding.line for finding in findings]


def drop_a_row(run):
    file = run / records.worker_file("comp11")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def repeat_a_row(run):
    file = run / "raw" / "comp18" / records.SENDS_FILE
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*rows, rows[-1]]))


def lose_a_file(run):
    (run / "raw" / "comp12" / records.LOG_FILE).unlink()


@pytest.mark.parametrize("damage", [lambda _run: None, drop_a_row, repeat_a_row, lose_a_file])
@pytest.mark.parametrize("scenario", ["lossy", "frozen"])
def test_the_report_and_validate_say_the_same(tmp_path, scenario, damage):
    run = simulate(scenario, 3, 200, rate_hz=20.0, results=tmp_path)
    damage(run)
    pipeline.run_all(run)
    report = page_text.of(run)
    findings = [finding for finding in validate(run) if finding.code != "replay"]
    reread = [finding for finding in findings if "expected the rows of" in finding.message]  # their sum is wrong, too
    assert len(findings) > 3
    for finding in findings:
        if finding not in reread:
            row = (finding.severity, finding.code, finding.where, finding.message)
            assert cells.Grid.of(("severity", "finding", "where", "what"), [row]).markdown.splitlines()[-1] in report
    rows = report[report.index("| severity | finding |") :].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(findings) - len(reread)


def test_errors_of_the_files_come_first_in_the_report(tmp_path):
    run = simulate("honest", 3, 100, rate_hz=20.0, results=tmp_path)
    lose_a_file(run)
    report = pipeline.run_all(run).report.read_text(encoding="utf-8")
    first = report[: report.index("| hypothesis |")]
    (error,) = [finding for finding in validate(run) if finding.breaks_contract]
    assert f"`{error.code}` at {error.where}: {error.message}" in first


def test_a_check_that_damaged_files_do_not_allow_is_an_error_and_the_others_go_on(tmp_path, monkeypatch):
    run = load.load(simulate("honest", 3, 100, rate_hz=20.0, results=tmp_path))

    def broken(_subject):
        raise KeyError("ntp_offset_ms")

    before = validity.find(run)
    monkeypatch.setattr(validity, "CHECKS", (broken, *validity.CHECKS))
    (unfit,) = [finding for finding in validity.find(run) if finding not in before]
    assert (unfit.code, unfit.scope, unfit.severity) == ("unfit", CONTRACT, "error")
    assert unfit.line.endswith("nothing named 'ntp_offset_ms'")


def test_a_loaded_run_is_not_replayed(tmp_path, monkeypatch):
    run = load.load(simulate("honest", 3, 100, rate_hz=20.0, results=tmp_path))
    monkeypatch.setattr(replay, "replay", None)
    assert lines(validity.find(run)) == lines(validity.find(run))


def test_a_plan_that_is_not_the_manifests_is_named_with_what_differs(tmp_path):
    """Readings are recomputed by the manifest's plan; one beside the journals that says something else is an error."""
    run = simulate("honest", 3, 100, results=tmp_path)
    plan = json.loads((run / records.MANIFEST_FILE).read_text())["nodes"]["comp11"]["plan"]
    file = run / "raw" / "comp11" / PLAN_FILE
    file.write_text(json.dumps(plan))
    clean = validate(run)
    plan["clocks"]["max_drift_ppm"] = 1.0
    file.write_text(json.dumps(plan))
    new = [line for line in lines(validate(run)) if line not in lines(clean)]
    assert "raw/comp11/plan.json: of another run or agent: clocks.max_drift_ppm: expected 100.0, got 1.0" in new[0]
