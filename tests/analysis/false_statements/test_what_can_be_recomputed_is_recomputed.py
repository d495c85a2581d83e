"""What the journals tell twice is recomputed, also once the checksums are made again: too much is as wrong."""

from __future__ import annotations

import csv
import hashlib
import shutil

import pytest

from analysis.checks import replay, validate
from analysis.simulation.simulate import simulate
from node_agent.contract import records
from node_agent.contract.records import CHRONOTICK, COMMIT, NTP, OK, REMEASURE

NODE = "comp11"
RAW = f"{records.RAW_DIR}/{NODE}"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulate a run with re-measurements at 30 and 60 s, and with commit-waits."""
    return simulate("honest", 3, 300, rate_hz=20.0, seed=41, results=tmp_path_factory.mktemp("results"))


@pytest.fixture
def run(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / simulated.name)


def edit(run, name, wanted, change, most=None):
    """Change those rows of a table that are wanted (or the first ``most`` of them), and make the checksums again."""
    with (run / name).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [row for row in rows if wanted(row)][:most]
    assert chosen
    for row in chosen:
        change(row)
    with (run / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    folder = run / RAW
    files = sorted(file for file in folder.iterdir() if file.name != records.CHECKSUMS_FILE)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / records.CHECKSUMS_FILE).write_text("".join(lines), encoding="ascii")


def columns(run):
    """Return the columns of which a replay says something, having seen that `validate` says something as well."""
    found = replay.replay(run).differences
    errors = [problem.line for problem in validate.validate(run) if problem.breaks_contract]
    assert bool(found) == bool(errors), errors
    return {column for one in found for column in one.column.split(", ")}


def add(column, by_ns):
    def change(row):
        row[column] = str(int(row[column]) + by_ns)

    return change


def scale(column, factor):
    def change(row):
        row[column] = f"{float(row[column]) * factor:.6f}"

    return change


def is_a(kind, source, **cells):
    return lambda row: (
        row["kind"] == kind and row["source"] == source and all(row[name] == text for name, text in cells.items())
    )


def ended(row):
    return is_a(COMMIT, NTP, status=OK)(row)


def test_what_the_agent_wrote_is_no_difference(run):
    assert columns(run) == set()


@pytest.mark.parametrize("factor", [100, 1.2, 0.99])
@pytest.mark.parametrize("source", [NTP, CHRONOTICK])
@pytest.mark.parametrize("most", [1, None])
@pytest.mark.parametrize("kind", [REMEASURE, COMMIT])
def test_a_claim_made_larger_or_smaller_is_found(run, factor, source, most, kind):
    name = f"{RAW}/{records.COMMIT_WAIT_FILE}"
    edit(
        run, name, lambda row: is_a(kind, source)(row) and row["uncertainty_ms"], scale("uncertainty_ms", factor), most
    )
    assert "uncertainty_ms" in columns(run)


@pytest.mark.parametrize("by_ns", [-1_000_000, -5_000, 5_000, 1_000_000])
@pytest.mark.parametrize("column", ["assigned_ns", "released_ns"])
@pytest.mark.parametrize("source", [NTP, CHRONOTICK])
def test_a_shifted_end_of_a_commit_wait_is_found(run, by_ns, column, source):
    edit(run, f"{RAW}/{records.COMMIT_WAIT_FILE}", is_a(COMMIT, source, status=OK), add(column, by_ns))
    assert column in columns(run)


@pytest.mark.parametrize("by_ns", [-5_000, 5_000, 1_000_000])
def test_a_wait_whose_instants_are_all_shifted_alike_is_found(run, by_ns):
    """Every look of every wait, so that they still agree with each other, but not with what the samples say."""

    def change(row):
        for column in ("assigned_ns", "released_ns"):
            if row[column]:
                add(column, by_ns)(row)

    edit(run, f"{RAW}/{records.COMMIT_WAIT_FILE}", lambda row: row["kind"] == COMMIT, change)
    assert {"assigned_ns", "released_ns"} <= columns(run)


@pytest.mark.parametrize("by_ns", [-20_000_000, -100, 100, 1_000_000])
@pytest.mark.parametrize("column", ["due_raw_ns", "done_raw_ns"])
@pytest.mark.parametrize("most", [1, None])
def test_a_shifted_look_of_a_commit_wait_is_found(run, by_ns, column, most):
    """A look after the first is due when the one before it says, and as long after the first as its row says."""
    edit(run, f"{RAW}/{records.COMMIT_WAIT_FILE}", ended, add(column, by_ns), most)
    assert columns(run) & {column, "delay_s", "assigned_ns", "released_ns", "uncertainty_ms"}


@pytest.mark.parametrize("by_ns", [-20_000_000, -100, 100, 1_000_000])
@pytest.mark.parametrize("column", ["due_raw_ns", "done_raw_ns"])
@pytest.mark.parametrize("most", [1, None])
def test_a_shifted_instant_of_a_re_measurement_is_found(run, by_ns, column, most):
    edit(run, f"{RAW}/{records.COMMIT_WAIT_FILE}", is_a(REMEASURE, NTP), add(column, by_ns), most)
    assert column in columns(run)


@pytest.mark.parametrize(
    ("column", "value"),
    [("spins", "7"), ("status", "waiting"), ("status", "gave_up"), ("released_ns", ""), ("delay_s", "0.100000000")],
)
def test_an_outcome_that_the_looks_do_not_give_is_found(run, column, value):
    edit(run, f"{RAW}/{records.COMMIT_WAIT_FILE}", ended, lambda row: row.update({column: value}), 1)
    assert column in columns(run)


@pytest.mark.parametrize("kind", [REMEASURE, COMMIT])
def test_an_offset_that_another_row_of_the_same_look_contradicts_is_found(run, kind):
    edit(run, f"{RAW}/{records.COMMIT_WAIT_FILE}", is_a(kind, NTP, status=OK), scale("offset_ms", 1.01))
    assert "offset_ms" in columns(run)


@pytest.mark.parametrize("delay_s", [30.0, 60.0])
@pytest.mark.parametrize("most", [1, None])
def test_an_edited_delay_column_of_a_workers_table_is_found(run, delay_s, most):
    column = records.delay_column(delay_s)
    edit(run, records.worker_file(NODE), lambda row: row[column], scale(column, 100), most)
    assert columns(run) == {column}


def test_an_emptied_or_invented_delay_cell_is_found(run):
    column = records.delay_column(30.0)
    edit(run, records.worker_file(NODE), lambda row: row[column], lambda row: row.update({column: ""}), 1)
    assert columns(run) == {column}


@pytest.mark.parametrize("table", [records.worker_file(NODE), records.COORDINATOR_FILE])
def test_a_row_taken_from_an_assembled_table_is_found(run, table):
    lines = (run / table).read_text(encoding="utf-8").splitlines(keepends=True)
    (run / table).write_text("".join(lines[:-1]), encoding="utf-8")
    assert any(table in one.event_id for one in replay.replay(run).differences)
