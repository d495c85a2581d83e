"""`import` of a folder it does not know says, in one line, what is there, which formats there are, and what to do."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from analysis.checks.validate import validate
from analysis.imported import older_format

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = (older_format.FORMAT, "coordinator.csv", "worker_<node>.csv", "receive_time_ns", "manifest.json")
COORDINATOR = "event_id,sequence_number,send_time_ns\n1,0,5\n"


def refusal(source: Path, tmp_path: Path) -> str:
    with pytest.raises(older_format.UnusableSource) as caught:
        older_format.import_published(source, "x", tmp_path / "results")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "results").exists()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "found no such file but nothing at all"),
        ({"data.parquet": "x"}, "but data.parquet"),
        ({"client.log": "x", "server.log": "y"}, "but client.log, server.log"),
        ({f"{number}.csv": "a\n" for number in range(9)}, "but 0.csv, 1.csv, 2.csv, 3.csv and 5 more"),
        ({"worker_a.csv": "event_id\n"}, "expected coordinator.csv, found no such file but worker_a.csv"),
        ({"coordinator.csv": COORDINATOR}, "expected at least one worker_*.csv, found none but coordinator.csv"),
        (
            {"coordinator.csv": "time,value\n1,2\n", "worker_a.csv": ""},
            "the older format's column 'event_id', got time",
        ),
        ({"coordinator.csv": COORDINATOR, "worker_a.csv": ""}, "column 'event_id', got an empty file"),
        ({"coordinator.csv": COORDINATOR, "worker_a.csv": "x;y\n"}, "column 'event_id', got x;y"),
        (
            {"coordinator.csv": "event_id;sequence_number;send_time_ns\n", "worker_a.csv": ""},
            "(semicolons between columns instead of commas?)",
        ),
        ({"coordinator.csv": "event_id\tsend_time_ns\n", "worker_a.csv": ""}, "(tabs between columns instead"),
        ({"coordinator.csv": "event_id\tx\n", "worker_a.csv": ""}, r"got 'event_id\tx' (tabs"),
        (
            {"coordinator.csv": "event_id, sequence_number, send_time_ns\n", "worker_a.csv": ""},
            "(rename ' sequence_number'?)",
        ),
        ({"coordinator.csv": "EVENT_ID,SEQUENCE_NUMBER\n", "worker_a.csv": ""}, "(rename 'EVENT_ID'?)"),
        ({"two\nlines.txt": ""}, r"but 'two\nlines.txt'"),
    ],
)
def test_a_folder_of_another_kind_is_answered_with_the_formats(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_text(content)
    line = refusal(source, tmp_path)
    assert said in line
    assert all(part in line for part in FORMATS)


def test_no_folder_and_a_file_are_answered_with_the_formats(tmp_path: Path) -> None:
    (tmp_path / "run.zip").write_bytes(b"PK")
    for name, said in (("nowhere", "got none"), ("run.zip", "got a file")):
        line = refusal(tmp_path / name, tmp_path)
        assert said in line
        assert all(part in line for part in FORMATS)


def test_a_run_folder_is_said_to_need_no_import(tmp_path: Path) -> None:
    source = tmp_path / "run"
    source.mkdir()
    (source / "manifest.json").write_text("{}")
    assert "a run folder of this harness; analyse it as it is" in refusal(source, tmp_path)


def test_one_nodes_own_files_are_said_to_be_that(tmp_path: Path) -> None:
    source = tmp_path / "comp11"
    source.mkdir()
    (source / "events.csv").write_text("event_id\n")
    line = refusal(source, tmp_path)
    assert "one node's own files; fab collect makes a run folder of them" in line
    assert older_format.FORMAT in line


def test_a_folder_that_may_not_be_read_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)  # root, who runs some of these tests, may read everything
    assert "expected a folder that can be read, got: Permission denied" in refusal(tmp_path, tmp_path)


def test_the_task_ends_with_that_line_and_exit_2(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(tasks.Exit) as caught:
        tasks.import_.body(None, str(source), "never-made")
    assert caught.value.code == 2
    assert older_format.FORMAT in str(caught.value.message)


WORKER_COLUMNS = "event_id,node_id,sequence_number,receive_time_ns,coordinator_send_time_ns"
SECOND_NS = 1_700_000_000_000_000_000


def pair(tmp_path: Path, worker: str, send: object = SECOND_NS) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "coordinator.csv").write_text(f"event_id,sequence_number,send_time_ns\n1,0,{send}\n", encoding="utf-8")
    (source / "worker_a.csv").write_text(worker, encoding="utf-8")
    return source


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("ntp_offset_ms,ntp_uncertainty_ms", "beside ntp_offset_ms (a reading has an instant), got none; add it"),
        ("ntp_offset_ms,ntp_timestamp", "expected ntp_timestamp_ns, got ntp_timestamp; rename it"),
        ("ct_offset_ms,ct_time_stamp", "expected ct_timestamp_ns, got ct_time_stamp; rename it"),
        ("ntp_timestamp_ns,ntp_offset", "expected ntp_offset_ms, got ntp_offset; rename it"),
        ("ct_timestamp_ns,ct_lower_bound", "expected ct_lower_bound_ns, got ct_lower_bound; rename it"),
        ("ct_timestamp_ns,ct_uncertainity_ms", "expected ct_uncertainty_ms, got ct_uncertainity_ms; rename it"),
    ],
)  # fmt: skip
def test_no_part_of_a_reading_is_lost_for_want_of_its_name(tmp_path: Path, columns: str, said: str) -> None:
    cells = ",".join(str(SECOND_NS) if column.endswith("_ns") else "1.5" for column in columns.split(","))
    row = f"1,a,0,{SECOND_NS},{SECOND_NS},{cells}"
    assert said in refusal(pair(tmp_path, f"{WORKER_COLUMNS},{columns}\n{row}\n"), tmp_path)


@pytest.mark.parametrize(("scale", "unit"), [(10**3, "µs"), (10**6, "ms"), (10**9, "s")])
def test_instants_in_another_unit_are_refused(tmp_path: Path, scale: int, unit: str) -> None:
    instant = SECOND_NS // scale
    line = refusal(pair(tmp_path, f"{WORKER_COLUMNS}\n1,a,0,{instant},{instant}\n", instant), tmp_path)
    assert f"line 2: send_time_ns: expected ns since 1970, got {instant}, as of {unit}" in line


@pytest.mark.parametrize("cell", ["NaN", "", "None"])
def test_an_event_without_its_time_is_refused(tmp_path: Path, cell: str) -> None:
    line = refusal(pair(tmp_path, f"{WORKER_COLUMNS}\n1,a,0,{cell},{SECOND_NS}\n"), tmp_path)
    assert f"line 2: receive_time_ns: expected a whole number, got {cell or 'nothing'}" in line


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    source = pair(tmp_path, f"\ufeff{WORKER_COLUMNS}\n1,a,0,{SECOND_NS},{SECOND_NS}\n")
    folder = older_format.import_published(source, "x", tmp_path / "results")
    assert (folder / "worker_a.csv").read_text().startswith("event_id,")


@pytest.mark.parametrize(
    ("doubled", "said"),
    [
        (
            "worker_a.csv",
            "error: worker_a.csv: duplicate event_id: 1 come more than once, of which the first copy counts",
        ),
        ("coordinator.csv", "error: coordinator.csv: duplicate event_id: 1 come more than once"),
        ("", ""),
    ],
)
def test_a_row_that_comes_twice_is_named_as_validate_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], doubled: str, said: str
) -> None:
    """The copies are kept, for nothing is dropped silently; the first one counts."""
    source = tmp_path / "published"
    source.mkdir()
    at = 1_700_000_000_000_000_000
    tables = {
        "coordinator.csv": ["event_id,sequence_number,send_time_ns", f"1,0,{at}", f"2,1,{at + 5}"],
        "worker_a.csv": [
            "event_id,node_id,sequence_number,coordinator_send_time_ns,receive_time_ns",
            f"1,a,0,{at},{at + 3}",
            f"2,a,1,{at + 5},{at + 8}",
        ],
    }
    for name, lines in tables.items():
        (source / name).write_text("\n".join([*lines, *([lines[-1]] if name == doubled else [])]) + "\n")
    monkeypatch.chdir(tmp_path)
    code = 0
    try:
        tasks.import_(Context(), source=str(source), experiment="x")
    except Exit as ended:
        code = ended.code
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "results/x"
    assert [line.startswith(said) for line in printed[:-1] if "duplicate event_id" in line] == ([True] if said else [])
    assert code == (7 if said else 0)
    named = [finding.line for finding in validate(tmp_path / "results" / "x") if finding.code == "duplicate-events"]
    assert named == [line for line in printed if "duplicate event_id" in line]
