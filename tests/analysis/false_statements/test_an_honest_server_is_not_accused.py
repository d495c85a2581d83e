"""A reading of one NTP server's time is judged to UTC only with the root distance that the server states."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from run_folder import MS, RAW_BEHIND_NS, START_NS, US, Clock, Folder, write, write_csv

from analysis import command, commit_wait, registry, window_assignment
from analysis.analyses import clock_quality
from analysis.analyses import clock_quality as clock_quality_tables
from analysis.by_event import utc
from analysis.clocks import quality
from analysis.run import load
from analysis.simulation import scenario
from analysis.simulation.simulate import simulate
from node_agent.contract import records

HONEST = Clock(ntp_error_ns=5 * MS, root_dispersion_ns=8 * MS)  # a reading 5 ms off, half-width 50 us
WINDOW_MS = 50
RATE_HZ = 37.0  # events fall everywhere in a window, not on a few of its phases


def judged(path):
    found = registry.compute(command.table_of(path))
    return found, {(one.source, one.node_id): one for one in found.done["clock_quality"].clocks}


def with_server(**ntp):
    honest = scenario.read("honest")
    told = {"timing": {"ntp_query_interval": 1, "commit_wait_delays": [2]}, "ntp": ntp, "expected": []}
    return scenario.Scenario.model_validate({**honest.model_dump(), **told})


@pytest.fixture(scope="module")
def honest_run(tmp_path_factory):
    told = with_server(error_ms=5.0, root_dispersion_ms=8.0)
    return judged(simulate(told, 3, 400, rate_hz=RATE_HZ, results=tmp_path_factory.mktemp("honest")))


def test_its_readings_contain_the_truth_with_what_it_says_of_itself(honest_run):
    found, clocks = honest_run
    for node in found.table.nodes:
        ntp = clocks["ntp", node]
        assert (ntp.coverage.contained.value, ntp.coverage.missed.value) == (1.0, 0.0)
        assert ntp.kappa.claims != "too narrow"
        assert ntp.kappa.value < 1
        assert 4.0 < ntp.abs_error_us.median / 1e3 < 6.0, "the estimate is a point and as wrong as it is"
        assert ntp.judged_width_us.median == pytest.approx(ntp.width_us.median + 2 * 8000, rel=0.05)
        assert ntp.width_us.median < 3000, "the half-width of the reading itself stays as it is"
        assert ntp.skill.baseline_us.least > 16000, "the last sample held is judged with the root distance as well"


def test_its_windows_are_not_wrong_and_its_releases_not_early(honest_run):
    found, _ = honest_run
    widths = found.as_statistics()["windows"]["sources"]["ntp"].values()
    assert [width["truth"]["wrong_certain"] for width in widths] == [0] * 4
    assert any(width["truth"].get("certain_left_open_by_root_distance") for width in widths)
    waits = next(one for one in found.done["commit_wait"].waits if one.source == "ntp")
    assert waits.violations.denominator > 0
    assert waits.violations.numerator == 0
    for answer in found.done["commit_wait"].of(source="ntp"):
        contained = answer.rates.get("receive_interval_contains_truth")
        assert contained is None or contained.value == 1.0
        if answer.subject.startswith("window"):
            violated = answer.rates.get("violated_after")
            assert violated is None or not violated.numerator


def test_the_report_says_what_was_judged(honest_run):
    found, clocks = honest_run
    said = clock_quality.texts(found.done)["clocks_in_words"]
    assert "For ntp, what was judged is the reading, with the server's root distance" in said
    assert clocks["ntp", "comp11"].as_dict()["judged"] == "reading, with the server's root distance"
    assert clocks["chronotick", "comp11"].as_dict()["judged"] == "reading"


def test_a_server_further_off_than_it_says_is_accused_all_the_same(tmp_path):
    told = with_server(error_ms=20.0, root_dispersion_ms=8.0)
    found, clocks = judged(simulate(told, 3, 400, rate_hz=RATE_HZ, results=tmp_path))
    for node in found.table.nodes:
        assert clocks["ntp", node].coverage.missed.value == 1.0
        assert clocks["ntp", node].kappa.claims == "too narrow"
    widths = found.as_statistics()["windows"]["sources"]["ntp"]
    assert min(widths[width]["truth"]["wrong_certain"] for width in ("50", "100")) > 0


@pytest.mark.parametrize("where", ["delay", "dispersion"])
@pytest.mark.parametrize(("short_ns", "verdict"), [(0, 1.0), (1, 0.0)])
def test_the_root_distance_counts_to_the_nanosecond_and_half_a_delay_is_rounded_up(tmp_path, where, short_ns, verdict):
    """5 ms off with a half-width of 50 us: 4.95 ms of root distance are enough, 1 ns less is not."""
    needed = 5 * MS - 50 * US - short_ns
    stated = {"dispersion": (0, needed), "delay": (2 * needed - 1, 0)}[where]
    clock = Clock(ntp_error_ns=5 * MS, root_delay_ns=stated[0], root_dispersion_ns=stated[1])
    _, clocks = judged(write(Folder({"w": clock}, coordinator=HONEST), tmp_path / "r"))
    assert clocks["ntp", "w"].coverage.contained.value == verdict


@pytest.mark.parametrize("silence", ["no samples", "no number", "one number", "no column", "negative"])
def test_without_the_root_distance_nothing_is_said_of_utc_and_the_reason_is(tmp_path, silence):
    changes = {"no number": {"root_delay_ns": None, "root_dispersion_ns": None}, "one number": {"root_delay_ns": None},
               "negative": {"root_delay_ns": -2}}.get(silence, {})  # fmt: skip
    clock = replace(HONEST, **changes)
    folder = Folder({"a": clock, "b": clock}, coordinator=clock, samples=silence != "no samples")
    path = write(folder, tmp_path / "r")
    if silence == "no column":
        for file in path.glob("raw/*/samples.csv"):
            rows = list(csv.DictReader(file.read_text().splitlines()))
            columns = [name for name in records.SAMPLES_COLUMNS if not name.startswith("root_")]
            write_csv(file, columns, [{name: row[name] for name in columns} for row in rows])
    found, clocks = judged(path)
    ntp = clocks["ntp", "a"]
    assert (ntp.coverage.contained.value, ntp.kappa, ntp.skill, ntp.reliability) == (None, None, None, ())
    assert ntp.left_out == {utc.NO_ROOT_DISTANCE: 10}
    assert ntp.abs_error_us.median == 5000.0
    assert "Not judged: " in clock_quality_tables.judged_against(found.done["clock_quality"])
    truth = found.as_statistics()["windows"]["sources"]["ntp"]["1000"]["truth"]
    assert truth["wrong_certain"] is None
    assert truth["wrong_certain_reason"] == utc.NO_ROOT_DISTANCE
    assert clocks["chronotick", "a"].coverage.contained.value == 1.0


def test_between_nodes_of_one_server_nothing_is_added(tmp_path):
    """No virtual clock: the difference of two readings, with the server's error in both, is as sharp as it was."""
    lag = type("Lag", (), {})()
    path = write(Folder({"w": HONEST}, coordinator=HONEST, truth=False), tmp_path / "r")
    table = command.table_of(path)
    lag.low = lag.high = np.full(10, 100 * US)
    lag.known = np.ones(10, dtype=bool)
    found = {(one.source, one.node_id): one for one in quality.compute(table, lambda _part: lambda _worker: lag).clocks}
    ntp = found["ntp", "w"]
    assert (ntp.coverage.contained.value, ntp.judged_width_us.median, ntp.judged_as) == (1.0, 200.0, "")


def test_what_is_labelled_utc_has_it_inside_already(tmp_path):
    path = write(Folder({"w": HONEST}, coordinator=HONEST, reference="utc"), tmp_path / "r")
    _, clocks = judged(path)
    assert clocks["ntp", "w"].coverage.missed.value == 1.0
    assert clocks["ntp", "w"].judged_as == ""


def test_every_event_is_judged_with_the_root_distance_of_the_sample_that_served_it(tmp_path):
    path = write(Folder({"w": HONEST}, coordinator=HONEST), tmp_path / "r")
    file = path / "worker_w.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    for row in rows[5:]:
        row["ntp_sample_id"] = "ntp2"
    write_csv(file, list(rows[0]), rows)
    file = path / "raw" / "w" / records.SAMPLES_FILE
    samples = list(csv.DictReader(file.read_text().splitlines()))
    samples.append({**samples[0], "sample_id": "ntp2", "root_dispersion_ns": MS})
    write_csv(file, records.SAMPLES_COLUMNS, samples)
    _, clocks = judged(path)
    coverage = clocks["ntp", "w"].coverage
    assert (coverage.contained.numerator, coverage.missed.numerator) == (5, 5)


@pytest.mark.parametrize(
    ("dispersion_ms", "wrong", "open_"), [(8, 0, 10), (4, 10, 0), (0, 10, 0)], ids=["honest", "short", "none"]
)
def test_a_certain_window_is_wrong_only_if_the_root_distance_does_not_excuse_it(tmp_path, dispersion_ms, wrong, open_):
    """Received 3 ms into a window of 50 ms by a server that is 5 ms behind: certain of the window before."""
    clock = Clock(ntp_error_ns=-5 * MS, root_dispersion_ns=dispersion_ms * MS)
    folder = Folder({"a": clock, "b": clock}, spacing_ns=WINDOW_MS * MS, delays_ns={"a": 3 * MS, "b": 3 * MS})
    found = window_assignment.analyze(write(folder, tmp_path / "r"), (WINDOW_MS,))["sources"]["ntp"]["50"]
    assert found["truth"]["wrong_certain"] == wrong
    assert found["truth"].get("certain_left_open_by_root_distance", 0) == open_
    answers = window_assignment.compute(command.table_of(tmp_path / "r"), (WINDOW_MS,))
    rounds = answers.at("ntp", "interval", f"{WINDOW_MS}").rounds
    assert (rounds.at_least.numerator, rounds.at_most.numerator) == (wrong, wrong + open_)


@pytest.mark.parametrize(
    ("dispersion_ns", "early"), [(None, None), (0, 2), (20 * US, 2), (20 * US + 1, 1), (60 * US + 1, 0)]
)
def test_a_release_is_too_early_only_beyond_the_root_distance(tmp_path, dispersion_ns, early):
    """Released 20 us and 60 us before the true time of their timestamps."""
    clock = Clock(root_dispersion_ns=dispersion_ns)
    path = write(Folder({"w": clock}), tmp_path / "r")
    rows = []
    for event, short_ns in ((1, 20 * US), (2, 60 * US)):
        begun = START_NS + event * 20 * MS
        for status, at in (("waiting", begun), (records.OK, begun + MS)):
            raw = at - RAW_BEHIND_NS
            rows.append(
                {"event_id": event, "source": "ntp", "kind": records.COMMIT, "due_raw_ns": raw, "done_raw_ns": raw,
                 "delay_s": 0.001, "status": status, "uncertainty_ms": 0.05, "sample_id": "ntp1",
                 "assigned_ns": begun + MS + short_ns}
            )  # fmt: skip
    write_csv(path / "raw" / "w" / records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS, rows)
    raw = START_NS - RAW_BEHIND_NS
    pair = {"raw_before_ns": raw, "wall_ns": START_NS, "raw_after_ns": raw}
    write_csv(path / "raw" / "w" / records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS, [pair])
    found = commit_wait.analyze(path)["commit_waits"]["ntp"]
    if early is None:
        assert found["released_too_early"] is None
        assert found["releases_not_judged"] == {utc.NO_ROOT_DISTANCE: 2}
    else:
        told = found["released_too_early"]
        assert (told["numerator"], told["denominator"], found["releases_not_judged"]) == (early, 2, {})


def test_re_measured_intervals_and_windows_know_it_too(tmp_path):
    clock = replace(HONEST, ntp_half_ns=6 * MS, ntp_error_ns=-5 * MS)
    folder = Folder({"w": clock}, spacing_ns=WINDOW_MS * MS, delays_ns={"w": 3 * MS}, remeasured={2.0: {"ntp": 0.05}})
    found = commit_wait.analyze(write(folder, tmp_path / "r"))["sources"]["ntp"]["window_50ms"]["2s"]
    assert found["certain_after"]["numerator"] == 10
    assert (found["proved_after"]["numerator"], found["violated_after"]["numerator"]) == (0, 0)
    contains = found["receive_interval_contains_truth"]
    assert (contains["numerator"], contains["denominator"]) == (10, 10)
    bare = replace(clock, root_dispersion_ns=None)
    found = commit_wait.analyze(write(replace(folder, workers={"w": bare}), tmp_path / "bare"))["sources"]["ntp"]
    assert found["window_50ms"]["2s"]["violated_after"] is None
    assert found["window_50ms"]["2s"]["receive_interval_contains_truth"] is None


def test_a_run_of_an_older_version_without_samples_is_still_analysed(tmp_path):
    path = write(Folder({"w": Clock()}, samples=False), tmp_path / "r")
    assert load.load(path).samples == {}
    found, _ = judged(path)
    assert json.dumps(found.as_statistics())
