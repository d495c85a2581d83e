"""The importer keeps every cell as it is, invents none, and leaves nothing behind when it refuses."""

import csv
import hashlib

import pytest

from analysis.errors import AnalysisError, UsageError
from analysis.imported import comparison, older_format
from analysis.run import load
from node_agent.contract import records


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def source(older, tmp_path):
    return older.write(tmp_path / "older")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def test_every_cell_of_the_same_meaning_is_kept_character_by_character(source, results):
    """Offsets are not re-rounded on their way through the importer, nor are instants."""
    path = older_format.import_published(source, "x", results)
    for file in ("coordinator.csv", "worker_a1.csv", "worker_b2.csv"):
        before, after = rows_of(source / file), rows_of(path / file)
        shared = set(before[0]) & set(after[0])
        assert len(shared) >= 9
        assert [{column: row[column] for column in shared} for row in after] == [
            {column: row[column] for column in shared} for row in before
        ]


def test_columns_are_the_contracts_in_order(source, results):
    """Imported tables have the columns of a run of our own, so that one reader reads both."""
    path = older_format.import_published(source, "x", results)
    assert tuple(rows_of(path / "worker_a1.csv")[0]) == records.worker_columns(())
    assert tuple(rows_of(path / "coordinator.csv")[0]) == records.events_columns("coordinator")


def test_what_the_older_format_does_not_record_stays_empty(source, results):
    """No raw stamp, no origin, and no bound, kind or reference for NTP: it is a point."""
    row = rows_of(older_format.import_published(source, "x", results) / "worker_a1.csv")[0]
    empty = ["receive_raw_ns", "receive_raw_error_ns", "receive_origin", "ct_level", "ct_reference", "ct_sample_id"]
    empty += [f"ntp_{name}" for name in ("lower_bound_ns", "upper_bound_ns", "kind", "level", "reference", "age_ms")]
    assert {column: row[column] for column in empty} == dict.fromkeys(empty, "")
    assert (row["ntp_status"], row["ct_status"], row["ct_kind"]) == ("ok", "ok", "probabilistic")


def test_absent_readings_have_a_status_and_no_number(older, tmp_path, results):
    """A column that is empty throughout was not configured; a single empty cell was not recorded. Never a zero."""
    for row in older.coordinator:
        row["ct_timestamp_ns"] = row["ct_offset_ms"] = ""
    older.workers["a1"][3]["ntp_timestamp_ns"] = "nan"
    path = older_format.import_published(older.write(tmp_path / "older"), "x", results)
    coordinator, worker = rows_of(path / "coordinator.csv"), rows_of(path / "worker_a1.csv")
    assert {row["ct_status"] for row in coordinator} == {"not_configured"}
    assert {row[f"ct_{name}"] for row in coordinator for name in ("offset_ms", "timestamp_ns", "uncertainty_ms")} == {
        ""
    }
    assert [row["ntp_status"] for row in worker[2:5]] == ["ok", "not_recorded", "ok"]
    assert worker[3]["ntp_offset_ms"] == ""


def test_a_run_without_chronotick_imports(older, tmp_path, results):
    """The older agents left the ct columns out when they had no server."""
    for rows in (older.coordinator, *older.workers.values()):
        for row in rows:
            for column in [column for column in row if column.startswith("ct_")]:
                del row[column]
    run = load.load(older_format.import_published(older.write(tmp_path / "older"), "x", results))
    (one, _) = comparison.compare(run).workers
    assert one.chronotick_against_uncorrected.hits is None
    assert one.mean_abs_difference_ms is None
    assert "not evaluable" in older_format.comparison_parts(run)[0].markdown


def test_re_measured_uncertainties_are_kept(older, tmp_path, results):
    """Older agents with commit-wait wrote ct_uncertainty_30s_ms; the column keeps its name."""
    for row in older.workers["a1"]:
        row["ct_uncertainty_30s_ms"] = "0.25"
    path = older_format.import_published(older.write(tmp_path / "older"), "x", results)
    assert {row["ct_uncertainty_30s_ms"] for row in rows_of(path / "worker_a1.csv")} == {"0.25"}


def test_originals_are_kept_byte_by_byte_with_their_checksums(source, results):
    """raw/imported/ holds what was given, and the manifest says what it was."""
    (source / "README.md").write_text("what it is\n", encoding="utf-8")
    path = older_format.import_published(source, "x", results)
    manifest = records.Manifest.from_json((path / "manifest.json").read_text(encoding="utf-8"))
    names = {"coordinator.csv", "worker_a1.csv", "worker_b2.csv", "README.md"}
    assert set(manifest.imported["sha256"]) == names
    for name in names:
        copy = (path / "raw" / "imported" / name).read_bytes()
        assert copy == (source / name).read_bytes()
        assert manifest.imported["sha256"][name] == hashlib.sha256(copy).hexdigest()


def test_the_manifest_says_imported_and_what_is_missing(older, tmp_path, results):
    """Phase, source, format, and the list of what a reader must not expect."""
    for row in older.coordinator:
        row["ct_timestamp_ns"] = ""
    path = older_format.import_published(older.write(tmp_path / "older"), "x", results)
    manifest = records.Manifest.from_json((path / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest.phase, manifest.outcome, manifest.worker_ids) == ("imported", None, ["a1", "b2"])
    assert manifest.nodes["a1"].host == "host-a1"
    missing = " | ".join(manifest.imported["missing"])
    assert "samples" in missing
    assert "reference" in missing
    assert "chronotick readings in coordinator.csv" in missing
    assert all(node.status is None and node.virtual_clock is None for node in manifest.nodes.values())


def test_an_experiment_that_exists_is_left_as_it_is(source, results):
    """The second import of a name is refused with exit code 2 and changes nothing."""
    path = older_format.import_published(source, "x", results)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match="experiment x: expected a new name") as refused:
        older_format.import_published(source, "x", results)
    assert refused.value.exit_code == 2
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert [entry.name for entry in results.iterdir()] == ["x"]


@pytest.mark.parametrize("name", ["../x", "a b", "", "latest", ".hidden", "a/b"])
def test_a_name_that_is_none_is_refused(source, results, name):
    """Exit code 2, one line, nothing made."""
    with pytest.raises(AnalysisError, match="experiment name: expected") as refused:
        older_format.import_published(source, name, results)
    assert refused.value.exit_code == 2
    assert not results.exists()


def spoil_missing_column(run):
    for row in run.coordinator:
        del row["send_time_ns"]


def spoil_float_instant(run):
    run.workers["a1"][0]["receive_time_ns"] = "1.7e18"


def spoil_infinite(run):
    run.workers["a1"][0]["ntp_offset_ms"] = "inf"


def spoil_wrong_node(run):
    run.workers["a1"][5]["node_id"] = "b2"


def spoil_event_id(run):
    run.coordinator[2]["event_id"] = ""


def spoil_our_format(run):
    for row in run.workers["b2"]:
        row["ntp_status"] = "ok"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing_column, r"coordinator\.csv: expected the older format's column 'send_time_ns'"),
        (spoil_float_instant, r"worker_a1\.csv line 2: receive_time_ns: expected a whole number.*'1\.7e18'"),
        (spoil_infinite, r"worker_a1\.csv line 2: ntp_offset_ms: expected a finite number, got 'inf'"),
        (spoil_wrong_node, r"worker_a1\.csv line 7: node_id: expected 'a1', got 'b2'"),
        (spoil_event_id, r"coordinator\.csv line 4: event_id: expected a whole number, got nothing"),
        (spoil_our_format, r"worker_b2\.csv: expected the older format, got this version's columns"),
    ],
)
def test_a_bad_source_is_one_clear_line(older, tmp_path, results, spoil, message):
    """File, line, column, expected, got; exit code 2; nothing made."""
    spoil(older)
    with pytest.raises(older_format.UnusableSource, match=message) as refused:
        older_format.import_published(older.write(tmp_path / "older"), "x", results)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert not results.exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "expected a folder"),
        ([], "expected coordinator.csv, found no such file"),
        (["coordinator.csv"], "expected at least one worker_"),
    ],
)
def test_a_source_that_is_no_published_folder_is_one_clear_line(older, tmp_path, results, names, message):
    """Missing folder, missing coordinator, missing workers."""
    full = older.write(tmp_path / "full")
    folder = tmp_path / "part"
    if names is not None:
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((full / name).read_bytes())
    with pytest.raises(older_format.UnusableSource, match=message):
        older_format.import_published(folder, "x", results)
    assert not results.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the older format's column 'event_id', got an empty file"),
        (b"\xff\xfe\x00", "expected a CSV file in UTF-8"),
        (b"event_id,sequence_number,send_time_ns\n", "expected at least one event"),
        (b"event_id,sequence_number,send_time_ns\n1,0\n", "line 2: expected 3 cells, got 2"),
        (b"event_id,event_id,sequence_number,send_time_ns\n", "more than once"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_line(source, results, content, message):
    """Whatever stands in coordinator.csv, the answer is one line."""
    (source / "coordinator.csv").write_bytes(content)
    with pytest.raises(older_format.UnusableSource, match=message):
        older_format.import_published(source, "x", results)
    assert not results.exists()


def test_the_comparison_counts_by_hand(older, tmp_path, results):
    """Receipts moved before their send are counted as that, each comparison for itself; loss is no violation."""
    rows = older.workers["a1"]
    for row, coordinator in zip(rows[:3], older.coordinator[:3], strict=True):
        row["ct_timestamp_ns"] = coordinator["send_time_ns"] - 1
    rows[3]["ct_timestamp_ns"] = older.coordinator[3]["send_time_ns"]  # the same instant is not before
    rows[4]["receive_time_ns"] = older.coordinator[4]["send_time_ns"] - 1
    for row, coordinator in zip(rows[5:7], older.coordinator[5:7], strict=True):
        row["ntp_timestamp_ns"] = coordinator["ntp_timestamp_ns"] - 1
    for row, coordinator in zip(rows[7:], older.coordinator[7:], strict=True):
        row["ct_timestamp_ns"] = coordinator["send_time_ns"] + 10
        row["ntp_timestamp_ns"] = coordinator["ntp_timestamp_ns"] + 10
    rows[4]["ct_timestamp_ns"] = older.coordinator[4]["send_time_ns"]
    for row in rows[:5]:
        row["ntp_timestamp_ns"] = 2**62
    for row in rows[5:7]:
        row["ct_timestamp_ns"] = 2**62
    del rows[-1]
    run = load.load(older_format.import_published(older.write(tmp_path / "older"), "x", results))
    one = next(worker for worker in comparison.compare(run).workers if worker.node_id == "a1")
    assert (one.sent, one.received) == (60, 59)
    assert (one.chronotick_against_uncorrected.hits, one.chronotick_against_uncorrected.of) == (3, 59)
    assert (one.system.hits, one.ntp.hits, one.ntp.of) == (1, 2, 59)


def test_a_run_of_our_own_has_no_published_comparison(native, tmp_path):
    """The section belongs to imported runs."""
    run = native.load(tmp_path)
    assert older_format.comparison(run) is None
    assert older_format.comparison_parts(run) == []
