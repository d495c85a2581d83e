"""Long runs: the merged table in Parquet holds what CSV holds, and where memory ends one line says so."""

from __future__ import annotations

import json
import os

import pandas as pd
import pytest
from run_folder import Clock, Folder, write

from analysis import __main__ as command
from analysis import pipeline
from analysis.by_event import merged, open_run, readings
from analysis.errors import AnalysisError
from analysis.run import csv_tables, load, memory, stored
from analysis.run.hashing import Seen
from analysis.run.stored import partition
from analysis.simulation.simulate import simulate


@pytest.fixture
def path(tmp_path):
    workers = {"a": Clock(), "b": Clock(ct_gone="stale")}
    return write(Folder(workers, lost={"b": (2, 5)}, own_send_ns={"a": 0}, no_file=()), tmp_path / "r")


def test_parquet_holds_the_same_cells_as_csv_and_only_one_of_them_is_there(path):
    table = readings.table(load.load(path))
    as_csv = merged.write(table, path)
    assert as_csv.suffix == ".csv"
    read = pd.read_csv(as_csv, dtype=str, keep_default_na=False)
    as_parquet = merged.write(table, path, merged.PARQUET)
    assert [file.name for file in as_parquet.parent.iterdir()] == ["merged_analysis.parquet"]
    typed = pd.read_parquet(as_parquet)
    assert list(typed.columns) == list(read.columns)
    assert typed["event_id"].tolist() == [int(cell) for cell in read["event_id"]]
    for column in ("receive_time_ns", "send_ntp_timestamp_ns", "own_send_time_ns", "true_receive_ns"):
        assert ["" if pd.isna(cell) else str(cell) for cell in typed[column]] == read[column].tolist()
    assert typed["receive_ct_status"].isna().sum() == 2


def test_a_table_in_pieces_is_the_whole_table(path):
    table = readings.table(load.load(path))
    pieces = pd.concat([csv_tables.frame(piece) for piece in merged.pieces(table, 3)], ignore_index=True)
    pd.testing.assert_frame_equal(pieces, merged.merge(table))
    assert pieces[["event_id", "worker_id"]].iloc[:4].to_numpy().tolist() == [[1, "a"], [1, "b"], [2, "a"], [2, "b"]]


def test_a_run_beyond_the_memory_is_refused_in_one_line_before_anything_is_written(path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    before = sorted(path.rglob("*"))
    assert command.main(["--experiment", str(path)]) == 7
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "GB of free memory" in said
    assert sorted(path.rglob("*")) == before


def test_a_run_that_does_not_fit_as_a_whole_is_judged_in_parts(tmp_path, monkeypatch, capsys):
    """Its tables are cut once: the next analysis goes on with what is there, and anew where a table changed."""
    path = simulate("honest", 3, 300, seed=7, results=tmp_path)
    monkeypatch.setattr(pipeline, "_drawings", lambda _results: {})
    monkeypatch.setattr(open_run, "FEWEST_AT_ONCE", 120)
    monkeypatch.setattr(open_run, "PART_BYTES", 1)
    assert command.main(["--experiment", str(path), "--jobs", "1"]) == 0
    whole = {file: file.read_bytes() for file in sorted((path / "statistics").iterdir())}
    assert not (path / "parts").exists()
    manifest = load.read_manifest(path)
    needed = memory.needed_in_parts_bytes(path, manifest)
    monkeypatch.setattr(memory, "available_bytes", lambda: int(needed) + 1)
    made = []
    for _ in range(2):
        assert command.main(["--experiment", str(path)]) == 0
        assert {file: file.read_bytes() for file in sorted((path / "statistics").iterdir())} == whole
        pieces = sorted((path / "parts" / "worker_comp11").iterdir())
        made.append([(piece.name, piece.stat().st_mtime_ns) for piece in pieces])
    assert len(made[0]) == 3
    assert made[0] == made[1]
    os.utime(path / "worker_comp11.csv")
    assert command.main(["--experiment", str(path)]) == 0
    assert [piece.stat().st_mtime_ns for piece in pieces] != [changed for _, changed in made[0]]
    assert "error" not in capsys.readouterr().err


@pytest.fixture
def in_parts(tmp_path, monkeypatch):
    """Return a run of 300 events, how to open it in parts, and the pieces of a worker's table, three of them."""
    path = simulate("honest", 3, 300, seed=7, results=tmp_path)
    open_run.table_of(path, 120)
    pieces = sorted((path / "parts" / "worker_comp11").iterdir())
    assert len(pieces) == 3
    return path, pieces


def changed(pieces):
    return [piece.stat().st_mtime_ns for piece in pieces]


@pytest.mark.parametrize(("at_once", "parts"), [(100, 3), (150, 3), (180, 3), (60, 5), (200, 2)])
def test_parts_of_nearly_the_size_that_is_wanted_are_taken_as_they_are(in_parts, at_once, parts):
    """What is wanted follows the free memory, which is never twice the same."""
    path, pieces = in_parts
    before = changed(pieces)
    assert open_run.table_of(path, at_once).number_of_parts == parts
    assert (changed(sorted(pieces[0].parent.iterdir())) == before) is (parts == 3)


@pytest.mark.parametrize(
    "index", ["", "no JSON", "[]", "3", "{}", '{"version": 1}',
              '{"version": 1, "at_once": 120, "tables": [], "borders": []}',
              '{"version": 1, "at_once": 120, "tables": {"coordinator.csv": {"words": {}}}, "borders": []}',
              '{"version": 1, "at_once": "120", "tables": {}, "borders": []}', '{"version": 0}'],
)  # fmt: skip
def test_an_index_that_is_not_ours_is_made_anew(in_parts, index):
    path, _pieces = in_parts
    file = path / "parts" / "index.json"
    whole = file.read_text()
    file.write_text(index)
    assert open_run.table_of(path, 120).number_of_parts == 3
    told, expected = json.loads(file.read_text()), json.loads(whole)
    assert (told["borders"], list(told["tables"])) == (expected["borders"], list(expected["tables"]))


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "another"])
def test_a_damaged_part_is_one_line(in_parts, monkeypatch, capsys, damage):
    path, pieces = in_parts
    content = pieces[1].read_bytes()
    if damage == "gone":
        pieces[1].unlink()
    else:
        pieces[1].write_bytes({"cut": content[:-20], "empty": b"", "another": b"PAR1 and no more"}[damage])
    monkeypatch.setattr(open_run, "FEWEST_AT_ONCE", 120)
    monkeypatch.setattr(open_run, "PART_BYTES", 1)
    needed = memory.needed_in_parts_bytes(path, load.read_manifest(path))
    monkeypatch.setattr(memory, "available_bytes", lambda: int(needed) + 1)
    assert command.main(["--experiment", str(path)]) == 7
    said = capsys.readouterr().err
    assert said.startswith(f"error: {pieces[1]}: expected a part of worker_comp11.csv as it was written, got ")
    assert said.endswith(f"; remove {path / 'parts'} and analyse the run again\n")
    assert said.count("\n") == 1


def test_there_are_no_more_processes_than_there_is_memory_for(path, monkeypatch):
    manifest = load.read_manifest(path)
    needed = memory.needed_bytes(path, manifest)
    for free, processors, expected in ((1.0, 64, 2), (1.81, 64, 4), (100.0, 64, 64), (0.5, 64, 2), (1.0, 1, 1)):
        monkeypatch.setattr(memory, "available_bytes", lambda free=free: int(free * needed))
        assert memory.processes(path, manifest, processors, in_parts=False) == expected
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert memory.processes(path, manifest, 64, in_parts=True) == 64


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", "9999"])
def test_a_number_of_processes_is_one(path, capsys, jobs):
    with pytest.raises(SystemExit) as ended:
        command.main(["--experiment", str(path), f"--jobs={jobs}"])
    assert ended.value.code == 2
    wanted = f"error: argument --jobs: expected a number of processes from 1 to 1024, got '{jobs}'\n"
    assert capsys.readouterr().err == wanted


def test_a_torn_last_line_is_read_as_far_as_it_goes_and_text_for_a_number_is_refused(path):
    file = path / "worker_a.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], ",".join(lines[-1].split(",")[:6])]))
    torn = load.load(path).workers["a"]
    assert len(torn) == 10
    assert torn["receive_time_ns"].notna().all()
    assert str(torn["receive_time_ns"].dtype) == "Int64"
    assert torn["ntp_timestamp_ns"].isna().tolist() == [False] * 9 + [True]
    file.write_text(file.read_text().replace("1795465420000100000", "soon", 1))
    with pytest.raises(AnalysisError, match=r"worker_a\.csv"):
        load.load(path)


def test_parts_that_are_come_back_to_have_all_their_rows(tmp_path, monkeypatch):
    """Few of their files are open at a time; rows that come later are added, in the file's order."""
    path = simulate("honest", 3, 300, seed=7, results=tmp_path)
    names = open_run.long_tables(path, load.read_manifest(path))
    monkeypatch.setattr(partition, "OPEN_AT_ONCE", 2)
    monkeypatch.setattr(partition, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(partition, "BLOCKS_TOGETHER", 1)
    store = stored.opened(path, names, 20, Seen())
    assert store.number_of_parts == 15
    for name in names:
        frame = stored.StoredFrame(store, name)
        pd.testing.assert_frame_equal(
            stored.in_memory(frame), csv_tables.read_table(path / name), check_categorical=False
        )


def test_the_merged_table_is_the_same_in_parts(path):
    file = path / "worker_a.csv"
    rows = [line.split(",") for line in file.read_text().splitlines()]
    rows[4][rows[0].index("ntp_offset_ms")] = "nan"  # which counts as absent
    rows += [rows[3]]
    file.write_text("\n".join(map(",".join, rows)) + "\n")
    whole = merged.write(open_run.table_of(path), path).read_bytes()
    cut = open_run.table_of(path, 4, jobs=1)
    assert cut.number_of_parts == 3
    assert merged.write(cut, path).read_bytes() == whole
