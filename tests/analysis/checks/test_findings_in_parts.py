"""What is wrong with a run is found alike whether its tables are looked at whole or part by part."""

from __future__ import annotations

import csv
import shutil

import pytest

from analysis import reference
from analysis.by_event import open_run
from analysis.checks import validity
from analysis.simulation.simulate import simulate
from node_agent.contract import records

EVENTS, PARTS = 300, 7
A, B, C = (records.worker_file("comp11"), records.worker_file("comp12"), records.COORDINATOR_FILE)
SENDS = f"{records.RAW_DIR}/comp18/{records.SENDS_FILE}"
FAR = (5, 6, 120, 290)  # rows in different parts


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return simulate("honest", 3, EVENTS, experiment="r", results=tmp_path_factory.mktemp("results"))


def changing(file, column, change, rows=FAR):
    """Return a fault: other cells in some rows of a table."""

    def fault(table):
        for row in rows:
            table[file][row][column] = change(table[file][row][column])

    return fault


def copied(file, row, to, **changes):
    """Return a fault: a row that comes again, perhaps changed, at another place of the file."""

    def fault(table):
        table[file].insert(to, table[file][row] | changes)

    return fault


def swapped(file, first, second):
    def fault(table):
        rows = table[file]
        rows[first], rows[second] = rows[second], rows[first]

    return fault


def without(file, *rows):
    def fault(table):
        table[file] = [row for place, row in enumerate(table[file]) if place not in rows]

    return fault


def add(amount):
    return lambda cell: str(int(cell) + amount)


def be(cell):
    return lambda _: cell


FAULTS = {  # and what is found of each, among the rest
    ("a copy in another part", "duplicate-events"): [copied(A, 3, 290), copied(A, 200, 0)],
    ("numbers of the sequence twice", "duplicate-sequence-numbers"): [
        changing(A, "sequence_number", be("7"), (3, 200, 299))
    ],
    ("other payloads on one worker", "several-coordinators"): [changing(B, "coordinator_send_time_ns", add(-70_000))],
    ("payloads after their send, and long before it", "foreign-events"): [
        changing(A, "coordinator_send_time_ns", add(900_000), (10, 250)),
        changing(B, "coordinator_send_time_ns", add(-3_000_000_000), (11, 280)),
    ],
    ("another node's rows", "cells"): [
        changing(A, "node_id", be("zz"), (7, 250)),
        changing(A, "node_id", be("yy"), (290,)),
    ],
    ("the send log lacks some, has others, and errors", "send-log"): [
        without(SENDS, 4, 300, 301),
        copied(SENDS, 9, 500, event_id="9999"),
        copied(SENDS, 9, 400),
        changing(SENDS, "worker_id", be("stranger"), (20, 420)),
        changing(SENDS, "worker_id", be(""), (30,)),
        changing(SENDS, "error", be("refused"), (444, 555)),
        changing(SENDS, "send_time_ns", be(""), (200,)),
        changing(SENDS, "send_time_ns", add(5), (100, 101, 550, 551)),
    ],
    ("events that only one side knows", "missing-events"): [
        without(C, 0, 150, 299),
        without(A, 20, 21, 22, 280),
        without(B, 290),
    ],
    ("cells that cannot be", "disordered-bounds"): [
        changing(A, "receive_raw_error_ns", be("-1")),
        changing(A, "receive_origin", be("guess")),
        changing(B, "ntp_kind", be("nonsense")),
        changing(B, "ct_uncertainty_ms", be("-0.5")),
        changing(B, "ct_lower_bound_ns", be(""), (3, 222)),
        changing(C, "ct_status", be("stale")),
        changing(C, "ntp_upper_bound_ns", be("1")),
        changing(A, "receive_time_ns", be("5"), (9, 295)),
        changing(C, "sequence_number", be(""), (150,)),
    ],
    ("rows in another order", "order"): [swapped(A, 10, 250), swapped(C, 20, 21), swapped(C, 100, 280)],
    ("planned instants that go back", "order"): [
        changing(C, "planned_send_time_ns", add(-10_000_000_000), (75, 150, 299))
    ],
    ("no raw stamps for a while", "cells"): [
        changing(C, "send_raw_ns", be(""), range(60, 200)),
        changing(A, "receive_raw_ns", be(""), range(10, 90)),
    ],
    ("stamps of another wall clock", "other-run"): [
        changing(A, "receive_time_ns", add(40_000_000), (8, 140, 280)),
        changing(C, "send_raw_ns", add(60_000_000_000), (299,)),
    ],
    ("offsets that come back", "clamped-offset"): [
        changing(A, "ntp_offset_ms", be("4.25"), (*range(10, 20), *range(100, 110), *range(250, 260))),
        changing(A, "ntp_offset_ms", be("-4.25"), (*range(30, 40), *range(130, 140), *range(270, 280))),
    ],
    ("no readings at first, and none later", "warm-up-rows"): [
        changing(B, "ct_status", be("never_sampled"), range(50)),
        changing(B, "ntp_status", be(""), (60, 299)),
    ],
    ("received before it was sent", "other-run"): [changing(A, "receive_time_ns", add(-30_000_000), (8, 140, 280))],
}


def damaged(folder, faults):
    """Change the tables of a run."""
    tables = {}
    for name in (A, B, C, SENDS):
        with (folder / name).open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    columns = {name: list(rows[0]) for name, rows in tables.items()}
    for fault in faults:
        fault(tables)
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns[name], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def found(table):
    findings = validity.find(table.run, (50,), reference.build(table.run))
    return [finding.as_dict() for finding in findings]


@pytest.mark.parametrize(("name", "code"), FAULTS)
def test_findings_are_the_same(pristine, tmp_path, name, code):
    folder = tmp_path / "r"
    shutil.copytree(pristine, folder)
    damaged(folder, FAULTS[name, code])
    expected = found(open_run.table_of(folder))
    assert code in {finding["code"] for finding in expected}
    table = open_run.table_of(folder, -(-EVENTS // PARTS), jobs=1)
    assert table.number_of_parts >= PARTS
    assert found(table) == expected
