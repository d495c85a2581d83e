"""A wall clock that is set back while a run goes on is a warning at most: the order is the raw oscillator's."""

from __future__ import annotations

import csv
import hashlib
import json

import pytest

from analysis.checks import validate, validity
from analysis.run import csv_tables, load
from analysis.simulation import scenario
from analysis.simulation.scenario import Jump
from analysis.simulation.simulate import simulate
from node_agent.contract import records

YEARS_MS = 28 * 365 * 86_400_000.0


def stepped(tmp_path, *jumps, events=200):
    """Simulate an honest run in which wall clocks are set, node by node (0 is the coordinator)."""
    told = scenario.read("honest").model_copy(update={"wall_steps": jumps})
    return simulate(told, 3, events, rate_hz=20.0, seed=31, results=tmp_path)


def edit(run, names, change):
    """Change the rows of a run's tables, and make all checksums again."""
    for name in names:
        with (run / name).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            change(row)
        with (run / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    for folder in (run / records.RAW_DIR).iterdir():
        files = sorted(file for file in folder.iterdir() if file.name != records.CHECKSUMS_FILE)
        lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
        (folder / records.CHECKSUMS_FILE).write_text("".join(lines), encoding="ascii")
    manifest = json.loads((run / records.MANIFEST_FILE).read_text(encoding="utf-8"))
    for name in manifest["assembled"]:
        manifest["assembled"][name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / records.MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")


def tables(run, *nodes):
    own = [records.COORDINATOR_FILE if node == "comp18" else records.worker_file(node) for node in nodes]
    return [*own, *(f"{records.RAW_DIR}/{node}/{records.EVENTS_FILE}" for node in nodes)]


def caught_by_step(run, by_ns, *, kept_raw=True):
    """Let the first event after the coordinator's step have its payload and its planned instant from before it.

    So it is when the clock is set between the payload's stamp and the kernel's. Returns the event's id.
    """
    sent = csv_tables.read_table(run / records.COORDINATOR_FILE)
    offset = sent["send_time_ns"] - sent["send_raw_ns"]
    event = str(sent["event_id"][(offset.diff().abs() > abs(by_ns) // 2)].iloc[0])

    def payload(row):
        if row["event_id"] == event:
            row["coordinator_send_time_ns"] = int(row["coordinator_send_time_ns"]) - by_ns

    def planned(row):
        if row["event_id"] == event:
            row["planned_send_time_ns"] = int(row["planned_send_time_ns"]) - by_ns
            if not kept_raw:
                row["send_raw_ns"], row["send_raw_error_ns"] = "", 0

    edit(run, tables(run, "comp11", "comp12"), payload)
    edit(run, tables(run, "comp18"), planned)
    return event


def errors(run):
    found = [problem.line for problem in validate.validate(run) if problem.breaks_contract]
    return found + [one.message for one in validity.find(load.load(run)) if one.code == "foreign-events"]


@pytest.mark.parametrize("by_ms", [-0.4, -500.0, -2_000.0, -3_600_000.0, -YEARS_MS, 500.0])
@pytest.mark.parametrize("node", [0, 1])
def test_a_clock_that_was_set_is_no_error(tmp_path, node, by_ms):
    run = stepped(tmp_path, Jump(node=node, at=0.5, by_ms=by_ms))
    assert errors(run) == []


@pytest.mark.parametrize("by_ms", [-0.6, -500.0, -3_600_000.0, 5_000.0])
def test_a_clock_that_was_set_between_the_payload_and_its_send_is_no_error(tmp_path, by_ms):
    run = stepped(tmp_path, Jump(node=0, at=0.5, by_ms=by_ms))
    caught_by_step(run, round(by_ms * 1e6))
    assert errors(run) == []
    if by_ms < -1:
        warnings = [problem.line for problem in validate.validate(run)]
        assert any("1 payload stamps are after their own send" in line and "was set back" in line for line in warnings)
        assert any(one.code == "set-back-while-sending" for one in validity.find(load.load(run)))


def test_two_steps_there_and_back_are_no_error(tmp_path):
    run = stepped(tmp_path, Jump(node=0, at=0.5, by_ms=-700.0), Jump(node=0, at=0.6, by_ms=700.0))
    caught_by_step(run, -700_000_000)
    assert errors(run) == []


def test_a_clock_that_is_set_to_and_fro_more_often_than_it_is_looked_at_is_no_error(tmp_path):
    """Thirty steps a second, so that two clock pairs may show nothing of what was between them."""
    jumps = [Jump(node=0, at=0.2 + 0.003 * place, by_ms=-30.0 if place % 2 else 30.0) for place in range(200)]
    run = stepped(tmp_path, *jumps)
    assert errors(run) == []
    lines = [problem.line for problem in validate.validate(run)]
    assert any(
        "rows show a wall clock that clock_pairs.csv does not: it was set there and back" in line for line in lines
    )


def test_a_send_that_has_no_raw_instant_is_judged_by_those_around_it(tmp_path):
    """The kernel's stamp could not be carried over the step: the row has no raw instant, and its readings are gone."""
    run = stepped(tmp_path, Jump(node=0, at=0.5, by_ms=-500.0))
    caught_by_step(run, -500_000_000, kept_raw=False)
    assert [line for line in errors(run) if "cells are not what the journals say" not in line] == []


def test_a_payload_later_than_the_step_explains_is_an_error(tmp_path):
    run = stepped(tmp_path, Jump(node=0, at=0.5, by_ms=-500.0))
    caught_by_step(run, -600_000_000)
    assert any("1 payload stamps are after their own send" in line for line in errors(run))


def test_without_a_step_a_payload_after_its_send_is_an_error(tmp_path):
    run = stepped(tmp_path)

    def late(row):
        if row["event_id"] == "100":
            row["coordinator_send_time_ns"] = int(row["coordinator_send_time_ns"]) + 1_000_000

    edit(run, tables(run, "comp11", "comp12"), late)
    assert any("1 payload stamps are after their own send" in line for line in errors(run))


def test_planned_instants_out_of_order_on_the_raw_oscillator_are_an_error(tmp_path):
    run = stepped(tmp_path, Jump(node=0, at=0.5, by_ms=-500.0))

    def planned(row):
        if row["event_id"] == "50":
            row["planned_send_time_ns"] = int(row["planned_send_time_ns"]) - 300_000_000

    edit(run, tables(run, "comp18"), planned)
    assert any("planned_send_time_ns goes back 1 times" in line for line in errors(run))
