"""Run folders are read as they are: exact integers, duplicates kept apart, loss visible, errors in one clear line."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from run_folder import Clock, Folder, manifest, write

from analysis.by_event import merged, readings
from analysis.errors import AnalysisError, NoSuchRun
from analysis.run import load
from node_agent.contract import records


@pytest.fixture
def path(tmp_path):
    return write(Folder({"a": Clock(), "b": Clock()}, lost={"b": (2, 5)}), tmp_path / "r")


def test_instants_never_pass_through_a_float(path):
    file = path / records.worker_file("a")
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame.loc[0, "receive_time_ns"] = "1795465420000000001"
    frame.loc[1, "receive_time_ns"] = ""
    frame.to_csv(file, index=False)
    run = load.load(path)
    assert run.workers["a"]["receive_time_ns"].iloc[0] == 1795465420000000001
    assert run.workers["a"]["receive_time_ns"].isna().sum() == 1
    for table in (run.coordinator, *run.workers.values()):
        assert all(str(table[name].dtype) == "Int64" for name in table.columns if name.endswith("_ns"))


def test_a_duplicate_is_counted_and_its_first_copy_judged(path):
    file = path / records.worker_file("a")
    lines = file.read_text().splitlines()
    late = lines[3].split(",")
    late[4] = str(int(late[4]) + 999)
    file.write_text("\n".join([*lines, ",".join(late), ""]))
    table = readings.table(load.load(path))
    assert table.duplicates == {"boss": 0, "a": 1, "b": 0}
    assert table.received["a"].sum() == 10
    wide = merged.merge(table)
    assert len(wide) == 20
    row = wide[(wide["worker_id"] == "a") & (wide["event_id"] == 3)].iloc[0]
    assert row["received_copies"] == 2
    assert row["receive_time_ns"] == int(late[4]) - 999


def test_the_wide_table_has_a_row_for_every_event_and_worker_lost_ones_too(path):
    wide = merged.merge(readings.table(load.load(path)))
    assert len(wide) == 20
    lost = wide[wide["received_copies"] == 0]
    assert [(row.event_id, row.worker_id) for row in lost.itertuples()] == [(2, "b"), (5, "b")]
    assert lost["receive_time_ns"].isna().all()
    assert lost["send_time_ns"].notna().all()
    for name in ("send_ntp_timestamp_ns", "receive_ct_lower_bound_ns", "own_send_time_ns", "true_receive_ns"):
        assert name in wide.columns


def test_an_event_only_the_worker_knows_is_kept(path):
    file = path / records.COORDINATOR_FILE
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], ""]))
    table = readings.table(load.load(path))
    assert table.event_ids.tolist() == list(range(1, 11))
    assert not table.sent.known[-1]
    assert table.readings("boss", "system").status[-1] == "not_in_coordinator_csv"


def test_the_tidy_form_has_one_row_per_event_node_and_source(path):
    tidy = readings.tidy(readings.table(load.load(path)))
    assert len(tidy) == 10 * 3 * 3
    assert not tidy.duplicated(["event_id", "node_id", "source"]).any()
    lost = tidy[(tidy["node_id"] == "b") & (tidy["event_id"] == 2)]
    assert set(lost["status"]) == {"lost"}
    assert lost["est_ns"].isna().all()
    assert (tidy.loc[tidy["node_id"] == "a", "true_ns"] == tidy.loc[tidy["node_id"] == "a", "est_ns"]).all()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: (path / "coordinator.csv").unlink(), "coordinator.csv: expected the coordinator's events"),
        (lambda path: [(path / f"worker_{w}.csv").unlink() for w in "ab"], "found no worker file"),
        (
            lambda path: (path / "worker_a.csv").write_text("event_id,node_id\n1,a\n"),
            "expected the column 'receive_time_ns'",
        ),
        (lambda path: (path / "worker_a.csv").write_text(""), "worker_a.csv: expected a table"),
        (lambda path: (path / "manifest.json").write_text("{}"), "manifest.json: expected a manifest"),
        (lambda path: (path / "manifest.json").write_text("no"), "manifest.json: expected a manifest"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(path, spoil, says):
    spoil(path)
    with pytest.raises(AnalysisError, match=says) as caught:
        load.load(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 7


def test_a_manifest_without_a_coordinator_is_an_error(path):
    nodes = {name: node for name, node in manifest(Folder({"a": Clock()})).nodes.items() if name == "a"}
    (path / "manifest.json").write_text(manifest(Folder({"a": Clock()}), nodes=nodes).to_json())
    with pytest.raises(AnalysisError, match="role 'coordinator'"):
        load.load(path)


def test_text_where_a_number_belongs_is_an_error_and_not_an_empty_cell(path):
    file = path / records.worker_file("a")
    file.write_text(file.read_text().replace("1795465420000100000", "soon", 1))
    with pytest.raises(AnalysisError, match=r"worker_a\.csv"):
        load.load(path)


@pytest.mark.parametrize("name", ["a b", "", "-x", "x" * 101])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(NoSuchRun, match="experiment name"):
        load.resolve(name, tmp_path)


def test_an_experiment_is_found_by_name_by_path_and_as_the_latest(tmp_path):
    folder = write(Folder({"a": Clock()}), tmp_path / "results here" / "one")
    results = folder.parent
    (results / "latest").symlink_to("one")
    assert load.resolve("one", results) == load.resolve(folder, results) == load.resolve(None, results) == folder
    with pytest.raises(NoSuchRun, match=r"in .*results here/ are: one"):
        load.resolve("two", results)
    with pytest.raises(NoSuchRun, match="no latest run"):
        load.resolve(None, tmp_path)


@pytest.mark.parametrize(
    ("column", "cell", "wanted"),
    [("event_id", "12x4", "a whole number of 64 bits"), ("receive_time_ns", "99999999999999999999", "a whole number"),
     ("sequence_number", "1.5", "a whole number"), ("ntp_offset_ms", "fast", "a number")],
)  # fmt: skip
def test_a_cell_that_is_no_number_is_named_by_its_line_and_column(path, column, cell, wanted):
    file = path / records.worker_file("a")
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame.loc[2, column] = cell
    frame.to_csv(file, index=False)
    with pytest.raises(AnalysisError) as refused:
        load.load(path)
    assert str(refused.value).startswith(f"{file}: expected {wanted}")
    assert f" as {column} in line 4, got {cell!r}; collect the run again" in str(refused.value)


def test_what_to_do_without_a_file_is_what_can_be_done(path):
    """A simulated run cannot be collected: the command that makes it again is in the message."""
    made = records.Manifest.from_json((path / records.MANIFEST_FILE).read_text())
    (path / records.COORDINATOR_FILE).unlink()
    for cluster, argv, advice in (
        ("simulated", ["/bin/invoke", "simulate", "--events", "9"], "make it again: uv run invoke simulate --events 9"),
        ("ares", ["fab"], "bring it home: fab ares collect --experiment"),
    ):
        again = replace(made, cluster=cluster, argv=argv)
        (path / records.MANIFEST_FILE).write_text(again.to_json())
        with pytest.raises(AnalysisError, match=advice):
            load.load(path)
