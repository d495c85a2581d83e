"""Every detector finds its trouble in a run that has it, and nothing in the same run without."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from run_folder import MS, START_NS, US, Clock, Folder, write, write_csv

from analysis.checks import validity
from analysis.checks.finding import DATA
from analysis.run import load
from node_agent.contract import records
from node_agent.lifecycle import checksum

S = 1_000_000_000
GAP_NS = 17 * MS  # events meet a window of any width at all its phases
RAW_NS = 10 * S  # what every raw clock shows at the first event

NOT_WRITTEN = {"missing-file", "agent-status", "manifest"}  # the folder holds what detectors read, and no more
TRUE_OF_MOST = {"one-ntp-server", "fed-by-source"}  # nothing is wrong; a reader should know


def find(path):
    return validity.find(load.load(path))


def of(path, code, node=None):
    return [one for one in find(path) if one.code == code and (node is None or one.node == node)]


def change(path, name, edit):
    """Apply ``edit(number, row)`` to every row of a file of the run."""
    with (path / name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    changed = [edit(number, row) or row for number, row in enumerate(rows)]
    write_csv(path / name, columns, [row for row in changed if row != "drop"])


def tell(path, edit):
    """Apply ``edit(manifest)`` to the manifest, as JSON data."""
    file = path / records.MANIFEST_FILE
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))


def samples(path, node, offsets_ns, *, source="chronotick", every_ns=S, same_instant=False, **claims):
    """Write a node's good samples with these offsets."""
    rows = []
    for number, offset in enumerate(offsets_ns):
        at = RAW_NS + (0 if same_instant else number * every_ns)
        rows.append(
            {
                "sample_id": f"ct{number}",
                "source": source,
                "outcome": records.OK,
                "raw_before_ns": RAW_NS + number * every_ns,
                "raw_at_ns": at,
                "wall_ns": START_NS + number * every_ns,
                "offset_ns": int(offset),
                "sigma_ns": 30_000,
                **claims,
            }
        )
    write_csv(path / records.RAW_DIR / node / records.SAMPLES_FILE, records.SAMPLES_COLUMNS, rows)


@pytest.fixture
def run(tmp_path):
    """Return a folder of 60 events at two workers in which no detector finds anything but one sample for all."""
    path = write(Folder({"a": Clock(), "b": Clock()}, events=60, spacing_ns=GAP_NS), tmp_path / "r")
    for name in ("coordinator.csv", "worker_a.csv", "worker_b.csv"):
        change(path, name, _own_samples)
    return path


def _own_samples(number, row):
    """Give every six rows a sample of their own, with a claim of its own."""
    sample = number // 6
    claims = {f"{prefix}_uncertainty_ms": 0.0123 + 0.0007 * sample for prefix in ("ntp", "ct")}
    return row | claims | {f"{prefix}_sample_id": f"{prefix}{sample}" for prefix in ("ntp", "ct")}


def test_a_run_in_order_has_no_finding(run):
    for folder in (run / records.RAW_DIR).iterdir():
        checksum(folder)
    assert {one.code for one in find(run)} == NOT_WRITTEN | TRUE_OF_MOST
    assert {one.code for one in find(run) if one.scope == DATA} == TRUE_OF_MOST


def test_an_event_with_two_payload_stamps_is_of_two_coordinators(run):
    change(
        run, "worker_b.csv", lambda number, row: row | {"coordinator_send_time_ns": START_NS} if number == 5 else None
    )
    (found,) = of(run, "several-coordinators")
    assert found.numbers == {"events": 1, "of": 60}


def test_datagrams_of_another_run_are_told_of_and_none_where_there_were_none(run):
    def strangers(data):
        data["nodes"]["a"]["status"] = {"counts": {"received": 60, "foreign": 3, "bad_tag": 4}}
        data["nodes"]["b"]["status"] = {"counts": {"received": 60, "foreign": 0, "bad_tag": 0}}

    tell(run, strangers)
    (found,) = of(run, "foreign-datagrams")
    assert (found.node, found.numbers) == ("a", {"foreign": 3, "bad_tag": 4})


def test_an_event_the_coordinator_did_not_send_is_foreign(run):
    change(run, "coordinator.csv", lambda number, _row: "drop" if number == 7 else None)
    (one, two) = of(run, "foreign-events")
    assert {one.node, two.node} == {"a", "b"}
    assert "event 8" in one.message


def test_missing_and_doubled_events_are_counted_at_their_node(tmp_path):
    path = write(Folder({"a": Clock(), "b": Clock()}, events=20, lost={"a": (3, 4, 9)}), tmp_path / "r")
    change(path, "worker_b.csv", lambda number, row: row | {"event_id": 1} if number == 19 else None)
    (lost,) = of(path, "missing-events", "a")
    assert (lost.numbers["missing"], lost.numbers["of"]) == (3, 20)
    (twice,) = of(path, "duplicate-events")
    assert (twice.node, twice.numbers["rows"]) == ("b", 1)


def test_a_worker_whose_clock_is_behind_by_more_than_the_delay_shows_negative_delays(tmp_path):
    path = write(Folder({"a": Clock(wall_error_ns=-MS), "b": Clock()}), tmp_path / "r")
    (found,) = of(path, "negative-delay")
    assert (found.node, found.numbers["rows"], found.numbers["min_ns"]) == ("a", 10, -MS + 100 * US)


def test_a_source_without_a_single_reading_was_never_ready(tmp_path):
    path = write(Folder({"a": Clock(ct_gone="never_sampled"), "b": Clock()}), tmp_path / "r")
    (found,) = of(path, "never-ready")
    assert (found.node, found.source) == ("a", "chronotick")
    assert not of(path, "warm-up-rows")


def test_rows_before_the_first_answer_are_warm_up_and_later_gaps_are_not(run):
    empty = {f"ct_{name}": "" for name in records.SOURCE_FIELDS}
    gone = empty | {"ct_status": records.NEVER_SAMPLED}
    change(run, "worker_a.csv", lambda number, row: row | gone if number < 4 else None)
    change(run, "worker_b.csv", lambda number, row: row | empty | {"ct_status": "stale"} if number == 30 else None)
    (found,) = of(run, "warm-up-rows")
    assert (found.node, found.source, found.numbers) == ("a", "chronotick", {"rows": 4, "of": 60})


def test_readings_of_the_workers_alone_would_be_compared_across_domains(tmp_path):
    path = write(Folder({"a": Clock()}, coordinator=Clock(ct_gone="not_configured")), tmp_path / "r")
    (found,) = of(path, "mixed-domains")
    assert (found.source, found.severity) == ("chronotick", "error")


def test_an_uncertainty_that_never_changes_over_many_answers_is_a_constant(run):
    change(run, "worker_a.csv", lambda _number, row: row | {"ct_uncertainty_ms": 0.0123})
    (found,) = of(run, "constant-uncertainty")
    assert (found.node, found.source, found.numbers["answers"]) == ("a", "chronotick", 10)


@pytest.mark.parametrize(("claims", "found"), [({"drift_sigma_fs_per_s": 10**9}, 1), ({}, 0)])
def test_one_sigma_in_all_answers_is_a_constant_also_where_it_grows_with_age(run, claims, found):
    """In rows the sigma of an answer that claims a drift is one of its age, so its constancy shows in the samples."""
    samples(run, "a", range(0, 12_000_000, 1_000_000), **claims)
    assert len(of(run, "constant-uncertainty")) == found


def test_answers_held_at_a_limit_are_a_clamp_and_freely_moving_ones_are_not(run):
    dice = np.random.default_rng(2)
    free = (dice.normal(size=60) * 1_500_000).astype(int)
    samples(run, "a", np.clip(free, -MS, MS))
    samples(run, "b", free)
    (found,) = of(run, "clamped-offset")
    assert (found.node, found.numbers["limit_ms"], found.numbers["of"]) == ("a", 1.0, 60)
    assert found.numbers["answers_at_plus"] == int((free >= MS).sum())
    assert found.numbers["answers_at_minus"] == int((free <= -MS).sum())


def test_an_answer_given_again_as_if_it_were_new_is_frozen_and_moving_ones_are_not(run):
    moving = (np.arange(40) * 1_237 + 17).tolist()
    samples(run, "a", moving[:20] + [moving[20]] * 20)
    samples(run, "b", moving)
    (found,) = of(run, "frozen-answers")
    assert (found.node, found.numbers["answers"], found.numbers["span_s"]) == ("a", 20, 19.0)


def test_a_limit_met_on_one_side_only_is_a_clamp_too_if_it_is_a_round_number(run):
    samples(run, "a", [number * 90_001 for number in range(11)] + [MS] * 20)
    samples(run, "b", [number * 90_001 for number in range(11)] + [MS + 1] * 20)
    (found,) = of(run, "clamped-offset")
    assert (found.node, found.numbers["limit_ms"]) == ("a", 1.0)


def test_offsets_at_two_levels_are_named_with_their_times_and_one_level_is_not(run):
    dice = np.random.default_rng(3)

    def levels(apart_ms):
        noise = [float(dice.normal()) / 100 for _ in range(60)]
        return lambda number, row: (
            row
            | {
                "ntp_offset_ms": noise[number] + (apart_ms if number >= 24 else 0.0),
                "ntp_sample_id": f"n{number}",
            }
        )

    change(run, "worker_a.csv", levels(20.0))
    change(run, "worker_b.csv", levels(0.0))
    (found,) = of(run, "offset-levels")
    assert (found.node, found.numbers["rows"]) == ("a", [24, 36])
    first, second = found.numbers["stretches"]
    assert second["from_ns"] - first["to_ns"] == GAP_NS  # one event apart
    assert second["from_ns"] == START_NS + 24 * GAP_NS + 100 * US


def pairs(path, node, walls):
    rows = [
        {"raw_before_ns": RAW_NS + number * S, "wall_ns": wall, "raw_after_ns": RAW_NS + number * S + 500}
        for number, wall in enumerate(walls)
    ]
    write_csv(path / records.RAW_DIR / node / records.CLOCK_PAIRS_FILE, records.CLOCK_PAIRS_COLUMNS, rows)


def test_a_stepped_wall_clock_is_named_with_time_and_size_and_a_slewed_one_is_not(tmp_path):
    path = write(Folder({"a": Clock(), "b": Clock()}, truth=False), tmp_path / "r")
    pairs(path, "a", [START_NS + number * S + (5 * MS if number >= 4 else 0) for number in range(10)])
    pairs(path, "b", [START_NS + number * S + number * 500 * US for number in range(10)])
    (found,) = of(path, "wall-step")
    assert (found.node, found.numbers["steps"]) == ("a", [{"wall_ns": START_NS + 4 * S + 5 * MS, "by_ms": 5.0}])


@pytest.mark.parametrize(("rows_each", "severity"), [(6, None), (20, "note"), (40, "warning")])
def test_a_sample_that_serves_a_large_share_of_the_rows_is_told_of(run, rows_each, severity):
    change(run, "worker_a.csv", lambda number, row: row | {"ntp_sample_id": f"n{number // rows_each}"})
    found = of(run, "overused-sample", "a")
    assert [one.severity for one in found] == ([] if severity is None else [severity])


def test_an_estimate_outside_its_own_interval_and_columns_of_two_readings_are_errors(run):
    change(
        run,
        "worker_a.csv",
        lambda number, row: row | {"ct_lower_bound_ns": row["ct_upper_bound_ns"]} if not number else None,
    )
    change(run, "worker_b.csv", lambda number, row: row | {"ct_offset_ms": 5} if number == 1 else None)
    assert [one.node for one in of(run, "disordered-bounds")] == ["a"]
    assert [one.node for one in of(run, "disagreeing-columns")] == ["b"]


def test_the_worst_findings_come_first(run):
    tell(run, lambda data: data["nodes"]["a"].update(status={"counts": {"received": 60, "foreign": 3}}))
    change(run, "worker_b.csv", lambda number, row: row | {"ct_offset_ms": 5} if number == 1 else None)
    severities = [one.severity for one in find(run)]
    assert severities == sorted(severities, key=validity.ORDER.__getitem__)
    assert {"error", "warning"} <= set(severities)
