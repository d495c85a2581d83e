"""An answer with scope ``server`` predicts the server's clock: the node's clock is not judged by it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from run_folder import MS, RAW_BEHIND_NS, START_NS, US, Clock, Folder, write, write_csv

from analysis import command, commit_wait, registry
from analysis.analyses import clock_quality as shown
from analysis.by_event import scopes
from analysis.checks import validate
from analysis.clocks import quality as clock_quality
from analysis.report import markdown, opening
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate
from node_agent.contract import records

PLAIN = Clock(ct_error_ns=9 * MS, ct_scope="server")  # the node is 9 ms off, and the server does not know of it


def simulated(results_dir, from_):
    told = scenario.read("honest").model_dump() | {"expected": []}
    told["timing"] |= {"ntp_query_interval": 1, "commit_wait_delays": [2]}
    told["chronotick"]["about_server_from"] = from_
    return simulate(scenario.Scenario.model_validate(told), 3, 400, rate_hz=20.0, results=results_dir)


def quality(path, flights=None):
    found = clock_quality.compute(command.table_of(path), flights and (lambda _part: flights))
    return {(one.source, one.node_id): one for one in found.clocks}


def findings(found):
    return [one for one in found.findings if one.code == "server-scope"]


def nothing_judged(one):
    return (
        one.coverage.contained.value is None
        and one.coverage.missed.value is None
        and one.kappa is None
        and one.skill is None
        and one.stability is None
        and one.abs_error_us.count == 0
        and all(bin_.coverage.contained.denominator == 0 for bin_ in one.by_age)
        and all(rung.coverage.contained.denominator == 0 for rung in one.reliability)
        and not one.less_error_than
        and (one.provable_misses is None or one.provable_misses.value is None)
    )


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    path = simulated(tmp_path_factory.mktemp("plain"), 0.0)
    return path, registry.compute(command.table_of(path))


def test_a_plain_servers_answers_judge_no_clock_and_the_reason_is_the_standard(plain_run):
    _, found = plain_run
    for one in found.done["clock_quality"].clocks:
        if one.source == "chronotick":
            assert nothing_judged(one), one.node_id
            assert one.standard.startswith(
                "none: all 400 readings that could be judged are about the server's own clock"
            )
            assert one.availability.value == 1.0
        elif one.source == "ntp":
            assert one.coverage.contained.value == 1.0
    truth = found.as_statistics()["clock_truth"]["sources"]["chronotick"]
    assert {node["contained"]["denominator"] for node in truth.values()} == {0}


def test_a_finding_per_node_says_what_it_means_with_counts(plain_run):
    _, found = plain_run
    told = findings(found)
    assert [one.node for one in told] == list(found.table.run.manifest.nodes)
    for one in told:
        assert (one.severity, one.source) == ("warning", "chronotick")
        assert one.numbers["answers"] == one.numbers["of"] > 0
        assert one.numbers["readings"] == one.numbers["of_readings"] == 400
        assert "predict the server's clock, not this node's" in one.message
        assert "releases too early are not evaluable" in one.message
        assert "\n" not in one.message
        assert one.message in markdown.render(opening.of(found, []))


def test_labels_stay_and_releases_are_not_judged(plain_run):
    _, found = plain_run
    assert found.done["causality"].at("chronotick", "interval", "all").evaluable == 800
    assert found.done["windows"].of(source="chronotick")[0].evaluable > 0
    waits = {one.source: one for one in found.done["commit_wait"].waits}
    assert waits["chronotick"].violations is None
    assert set(waits["chronotick"].left_out) == {scopes.ABOUT_THE_SERVER}
    assert waits["ntp"].violations.denominator > 0
    answers = found.done["commit_wait"].of(source="chronotick")
    assert answers
    assert not any("receive_interval_contains_truth" in answer.rates for answer in answers)


def test_validate_knows_it(plain_run):
    path, _ = plain_run
    told = [one for one in validate.validate(path) if "scope server" in one.message]
    assert [one.where for one in told] == [f"raw/{node}/samples.csv" for node in ("comp18", "comp11", "comp12")]
    assert {one.severity for one in told} == {"warning"}
    assert [one.line for one in validate.validate(path) if one.breaks_contract] == []


def test_a_scope_that_is_none_is_an_error_of_the_folder(plain_run, tmp_path):
    path = write(Folder({"w": Clock(ct_scope="cluster")}), tmp_path / "r")
    told = [one for one in validate.validate(path) if "scope:" in one.message]
    assert [(one.severity, one.where) for one in told] == [("error", "raw/w/samples.csv")]


def test_of_a_run_that_mixes_scopes_only_those_events_are_left_out(tmp_path):
    found = registry.compute(command.table_of(simulated(tmp_path, 0.5)))
    for one in found.done["clock_quality"].clocks:
        if one.source == "chronotick":
            left, judged = one.left_out[scopes.ABOUT_THE_SERVER], one.coverage.contained.denominator
            assert left + judged == 400
            assert 150 < left < 250
            assert one.coverage.contained.value == 1.0
            assert one.standard == "injected truth"
            assert one.as_dict()["not_judged"] == one.left_out
    assert len(findings(found)) == 3
    assert "Not judged: chronotick at comp18" in shown.texts(found.done)["clocks_in_words"]


@pytest.mark.parametrize("scope", ["node", ""])
def test_answers_about_the_node_and_older_ones_without_a_scope_are_judged(tmp_path, scope):
    path = write(Folder({"w": Clock(ct_error_ns=9 * MS, ct_scope=scope)}), tmp_path / "r")
    assert quality(path)["chronotick", "w"].coverage.missed.value == 1.0
    assert findings(registry.compute(command.table_of(path))) == []


@pytest.mark.parametrize("older", ["no column", "no file"])
def test_an_older_folder_without_scopes_is_read_and_judged(tmp_path, older):
    path = write(Folder({"w": PLAIN}, coordinator=PLAIN, samples=older != "no file"), tmp_path / "r")
    for file in path.glob("raw/*/samples.csv"):
        rows = list(csv.DictReader(file.read_text().splitlines()))
        columns = [name for name in records.SAMPLES_COLUMNS if name != "scope"]
        write_csv(file, columns, [{name: row[name] for name in columns} for row in rows])
    assert quality(path)["chronotick", "w"].coverage.missed.value == 1.0
    assert [one for one in validate.validate(path) if "scope server" in one.message] == []


@pytest.mark.parametrize("who", ["worker", "coordinator"])
def test_against_the_reference_neither_end_may_be_about_the_server(tmp_path, who):
    clocks = {"worker": Clock(), "coordinator": Clock()} | {who: PLAIN}
    folder = Folder({"w": clocks["worker"]}, coordinator=clocks["coordinator"], truth=False)
    lag = type("Lag", (), {})()
    lag.low = lag.high = np.full(10, 100 * US)
    lag.known = np.ones(10, dtype=bool)
    found = quality(write(folder, tmp_path / "r"), lambda _worker: lag)
    assert nothing_judged(found["chronotick", "w"])
    assert scopes.IN_WORDS in found["chronotick", "w"].standard
    assert found["ntp", "w"].coverage.contained.value == 1.0


@pytest.mark.parametrize("look", ["first", "last"])
def test_a_wait_with_any_look_at_the_servers_clock_is_not_judged(tmp_path, look):
    path = write(Folder({"w": PLAIN}), tmp_path / "r")
    file = path / "raw" / "w" / records.SAMPLES_FILE
    samples = list(csv.DictReader(file.read_text().splitlines()))
    write_csv(file, records.SAMPLES_COLUMNS, [*samples, {**samples[1], "sample_id": "ct2", "scope": "node"}])
    ids = {"first": ("ct1", "ct2"), "last": ("ct2", "ct1")}[look]
    rows = []
    for event, named in ((1, ids), (2, ("ct2", "ct2"))):
        raw = START_NS + event * 20 * MS - RAW_BEHIND_NS
        for sample, status in zip(named, ("waiting", records.OK), strict=True):
            rows.append(
                {"event_id": event, "source": "chronotick", "kind": records.COMMIT, "due_raw_ns": raw, "delay_s": 0,
                 "done_raw_ns": raw, "status": status, "uncertainty_ms": 0.05, "sample_id": sample,
                 "assigned_ns": raw + RAW_BEHIND_NS + MS}
            )  # fmt: skip
    write_csv(path / "raw" / "w" / records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS, rows)
    raw = START_NS - RAW_BEHIND_NS
    pair = {"raw_before_ns": raw, "wall_ns": START_NS, "raw_after_ns": raw}
    write_csv(path / "raw" / "w" / records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS, [pair])
    found = commit_wait.analyze(path)["commit_waits"]["chronotick"]
    assert found["released_too_early"]["denominator"] == 1
    assert found["releases_not_judged"] == {scopes.ABOUT_THE_SERVER: 1}
