"""Files of another run among a run's own are errors of `validate`, and differences of `replay` where it reads them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil

import pytest

from analysis.checks import replay, validate
from analysis.simulation.simulate import simulate
from node_agent.contract import records

NODE = "comp11"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Simulate two runs of one experiment: same name, nodes and schedule, hence the same event ids."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        simulate("honest", 3, 200, rate_hz=20.0, seed=seed, experiment="run", results=folder / str(seed))
        for seed in (21, 22)
    ]


@pytest.fixture
def mixed(runs, tmp_path):
    """Return a copy of the first run, and the second, whose files a test puts among the first's."""
    return shutil.copytree(runs[0], tmp_path / "run"), runs[1]


def seal(folder):
    """Make the checksums again, as whoever mixes files up can."""
    files = sorted(file for file in folder.iterdir() if file.name != records.CHECKSUMS_FILE)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / records.CHECKSUMS_FILE).write_text("".join(lines), encoding="ascii")


def put(run, other, *names):
    """Put files of another run in the place of a run's own."""
    for name in names:
        shutil.copyfile(other / name, run / name)
    for folder in (run / records.RAW_DIR).iterdir():
        seal(folder)


def errors(run):
    return [problem.line for problem in validate.validate(run) if problem.breaks_contract]


def raw(name, node=NODE):
    return f"{records.RAW_DIR}/{node}/{name}"


RAW_FILES = [
    records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.CLOCK_PAIRS_FILE, records.PROBES_FILE,
    records.LOG_FILE, records.STATUS_FILE,
]  # fmt: skip


def test_the_runs_own_files_are_no_problem(mixed):
    assert errors(mixed[0]) == []
    assert replay.replay(mixed[0]).differences == ()


@pytest.mark.parametrize("node", [NODE, "comp18"])
def test_a_whole_folder_with_its_table_is_found(mixed, node):
    run, other = mixed
    table = records.COORDINATOR_FILE if node == "comp18" else records.worker_file(node)
    names = [raw(file.name, node) for file in (other / records.RAW_DIR / node).iterdir()]
    put(run, other, table, *names)
    found = errors(run)
    assert any("status.json: of another run or agent: run_id: expected" in line for line in found), found
    assert any(one.column == "run_id" for one in replay.replay(run).differences)


@pytest.mark.parametrize("kept", [[records.STATUS_FILE, records.LOG_FILE]])
def test_a_whole_folder_is_found_by_its_stamps_where_what_names_the_run_was_kept(mixed, kept):
    run, other = mixed
    put(run, other, records.worker_file(NODE), *(raw(name) for name in RAW_FILES if name not in kept))
    found = errors(run)
    assert any("carry different payload stamps on different workers" in line for line in found), found
    assert any("took, there and back, less than no time" in line for line in found), found


@pytest.mark.parametrize("name", RAW_FILES)
def test_one_file_alone_is_found(mixed, name):
    run, other = mixed
    put(run, other, raw(name))
    assert errors(run)
    if name in {records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.STATUS_FILE}:
        assert replay.replay(run).differences


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (records.SAMPLES_FILE, "rows are of a time at which clock_pairs.csv has nothing: the two are of different"),
        (records.PROBES_FILE, "rows are of a time at which clock_pairs.csv has nothing: the two are of different"),
        (records.CLOCK_PAIRS_FILE, "rows are of a time at which clock_pairs.csv has nothing: the two are of different"),
        (records.STATUS_FILE, "of another run or agent: run_id"),
        (records.LOG_FILE, "of another run or agent: run_id"),
    ],
)
def test_what_ties_a_file_to_its_node_is_said(mixed, name, message):
    run, other = mixed
    put(run, other, raw(name))
    assert any(message in line for line in errors(run)), errors(run)


def test_a_send_log_alone_is_found(mixed):
    run, other = mixed
    put(run, other, raw(records.SENDS_FILE, "comp18"))
    assert any("have a send stamp in coordinator.csv that is none of theirs" in line for line in errors(run))


@pytest.mark.parametrize("table", [records.worker_file(NODE), records.COORDINATOR_FILE])
def test_the_assembled_table_alone_is_found(mixed, table):
    run, other = mixed
    put(run, other, table)
    assert any("not what the node wrote: expected the rows of" in line for line in errors(run))
    assert any(table in str(one) for one in replay.replay(run).differences)


def shift(run, name, **by_ns):
    """Move the instants in some columns of a node's file, and make its checksums again."""
    file = run / raw(name)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row.update({column: int(row[column]) + by for column, by in by_ns.items() if row[column]})
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    seal(file.parent)


def test_a_run_a_minute_before_on_the_same_oscillator_is_found(mixed):
    shift(mixed[0], records.PROBES_FILE, wall_ns=-60_000_000_000, raw_ns=-60_000_000_000)
    assert any("rows are of a time at which clock_pairs.csv has nothing" in line for line in errors(mixed[0]))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (records.PROBES_FILE, ["wall_ns"]),
        (records.SAMPLES_FILE, ["raw_before_ns", "raw_after_ns"]),
        (records.EVENTS_FILE, ["receive_time_ns"]),
    ],
)
def test_a_wall_clock_that_the_pairs_never_showed_is_found(mixed, name, columns):
    """The same raw instants, with a wall clock 5 ms away from this node's."""
    shift(mixed[0], name, **dict.fromkeys(columns, 5_000_000))
    assert any("rows show a wall clock that clock_pairs.csv does not: the two are" in line for line in errors(mixed[0]))


@pytest.mark.parametrize(
    ("key", "value"), [("boot_id", "another"), ("agent_sha256", "ab" * 32), ("node_id", "comp12"), ("pid", 4)]
)
def test_a_status_of_another_boot_or_agent_is_found(mixed, key, value):
    run, _other = mixed
    file = run / raw(records.STATUS_FILE)
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}), encoding="utf-8")
    seal(file.parent)
    assert any(f"of another run or agent: {key}: expected" in line for line in errors(run))
    assert [one.column for one in replay.replay(run).differences] == [key]


def test_a_plan_of_another_run_is_found(mixed):
    run, other = mixed
    manifests = [json.loads((path / records.MANIFEST_FILE).read_text()) for path in (run, other)]
    manifests[0]["nodes"][NODE]["plan"] = manifests[1]["nodes"][NODE]["plan"]
    (run / records.MANIFEST_FILE).write_text(json.dumps(manifests[0]), encoding="utf-8")
    assert any(f"manifest.json {NODE}: of another run or agent: run_id" in line for line in errors(run))
    assert any(one.column == "run_id" for one in replay.replay(run).differences)


def test_a_long_runs_foreign_samples_are_found_though_not_all_is_replayed(mixed, monkeypatch):
    run, other = mixed
    monkeypatch.setattr(replay, "REPLAY_LIMIT", 100)
    put(run, other, raw(records.SAMPLES_FILE))
    assert any("cells are not what the journals say" in line for line in errors(run))
