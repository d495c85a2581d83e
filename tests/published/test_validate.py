"""`validate` accepts a whole run, names every damage in one line, and never crashes on what is left of one."""

import json
import shutil

import pytest

from analysis.checks.finding import CONTRACT
from analysis.checks.validate import validate
from analysis.errors import NoSuchRun
from analysis.imported import older_format

DAMAGES = {
    "gone": lambda _content: None,
    "emptied": lambda _content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "rubbish": lambda _content: b"\xff\xfe{rubbish\n,,,\x00\n",
}


def lines(problems):
    return "\n".join(problem.line for problem in problems)


def errors(problems):
    return [problem for problem in problems if problem.breaks_contract]


def test_a_clean_run_has_no_problem(native, tmp_path):
    """Counts, order, ranges, checksums, manifest and columns are in order."""
    assert validate(native.write(tmp_path)) == []


def test_a_clean_import_has_no_problem(older, tmp_path):
    """An imported folder is judged by what it can have."""
    assert validate(older_format.import_published(older.write(tmp_path / "older"), "x", tmp_path / "results")) == []


def test_the_published_run_is_whole_but_for_its_lost_events(published_data, tmp_path):
    """Five and four events are missing; nothing is an error."""
    problems = validate(older_format.import_published(published_data, "x", tmp_path))
    assert errors(problems) == []
    assert [problem.where for problem in problems if problem.scope == CONTRACT] == [
        "worker_comp11.csv",
        "worker_comp12.csv",
    ]


def test_a_folder_that_is_not_there_is_said_so(tmp_path):
    """Exit code 2: nothing to validate."""
    with pytest.raises(NoSuchRun) as missing:
        validate(tmp_path / "none")
    assert missing.value.exit_code == 2


def set_in(rows, place, **cells):
    rows[place] |= cells


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: run.workers["w1"].append(run.workers["w1"][3]), "worker_w1.csv: duplicate event_id: 1 come more"),
        (lambda run: set_in(run.workers["w1"], 3, receive_time_ns=""), "worker_w1.csv: 1 rows without receive_time_ns"),
        (lambda run: set_in(run.workers["w1"], 3, event_id=""), "worker_w1.csv: 1 rows without event_id"),
        (lambda run: set_in(run.coordinator, 3, send_time_ns=""), "coordinator.csv: 1 rows without send_time_ns"),
        (lambda run: set_in(run.workers["w1"], 3, event_id=9999), "1 events the coordinator did not send"),
        (lambda run: set_in(run.workers["w1"], 3, node_id="w2"), "worker_w1.csv: expected node_id 'w1'"),
        (lambda run: set_in(run.workers["w1"], 3, receive_origin="guess"), "receive_origin is none of"),
        (lambda run: set_in(run.workers["w1"], 3, receive_raw_error_ns=-1), "receive_raw_error_ns is negative in 1"),
        (lambda run: set_in(run.workers["w1"], 3, ntp_timestamp_ns=""), "ntp_status is ok and there is no ntp_"),
        (lambda run: set_in(run.workers["w1"], 3, ntp_status="stale"), "ntp_status is not ok and yet there"),
        (lambda run: set_in(run.workers["w1"], 3, ntp_status=""), "no ntp_status in 1 of 120 rows (event 4)"),
        (lambda run: set_in(run.workers["w1"], 3, ct_uncertainty_ms="-1"), "ct_uncertainty_ms is negative"),
        (lambda run: set_in(run.workers["w1"], 3, ct_level="1.5"), "ct_level is not in (0, 1]"),
        (lambda run: set_in(run.workers["w1"], 3, ct_kind="sure"), "ct_kind is none of"),
        (lambda run: set_in(run.workers["w1"], 3, ct_upper_bound_ns=""), "ct: one bound of two"),
        (lambda run: set_in(run.workers["w1"], 3, ct_lower_bound_ns=4 * 10**18), "ct: the estimate is outside its"),
        (lambda run: run.coordinator.reverse(), "coordinator.csv: sequence_number goes back 119 times"),
        (lambda run: set_in(run.coordinator, 9, planned_send_time_ns=run.coordinator[0]["planned_send_time_ns"]),
         "planned_send_time_ns goes back 1 times"),
        (lambda run: set_in(run.workers["w1"], 3, coordinator_send_time_ns=run.coordinator[3]["send_time_ns"] + 5),
         "1 payload stamps are after their own send (by up to 5 ns)"),
        (lambda run: run.sends.pop(), "raw/c0/sends.csv"),
        (lambda run: run.sends.append(run.sends[0]), "raw/c0/sends.csv: 1 rows repeat an event and worker"),
        (lambda run: set_in(run.sends, 0, worker_id="w7"), "a worker that is not in the manifest: w7"),
        (lambda run: run.coordinator.pop(), "1 events are not in coordinator.csv (120)"),
        (lambda run: setattr(run.manifest, "run_id", "x"), "run_id: expected 32 hex digits"),
        (lambda run: setattr(run.manifest, "phase", "asleep"), "phase: expected one of"),
        (lambda run: setattr(run.manifest, "outcome", "fine"), "outcome: expected ok, degraded, failed or null"),
    ],
)  # fmt: skip
def test_each_damage_is_an_error_in_one_line(native, tmp_path, spoil, message):
    """What is off, where, how often and in which event."""
    spoil(native)
    if message == "raw/c0/sends.csv":
        del native.sends[-1]  # both workers' rows of the last event
    problems = validate(native.write(tmp_path))
    assert message in lines(errors(problems))
    assert all("\n" not in problem.line for problem in problems)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: run.workers["w1"].pop(), "worker_w1.csv: 1 of 120 events are missing (120)"),
        (lambda run: run.workers["w1"].__delitem__(slice(0, 10)), "missing, less than the 98% wanted (1-10)"),
        (lambda run: set_in(run.workers["w1"], 3, receive_raw_ns=""), "worker_w1.csv: 1 rows without receive_raw_ns"),
        (lambda run: set_in(run.workers["w1"], 3, receive_time_ns=1_700_000_000), "not in ns since 1970"),
        (lambda run: set_in(run.workers["w1"], 9, receive_raw_ns=1), "receive_raw_ns goes back 1 times"),
        (lambda run: set_in(run.sends, 0, error="no route"), "1 of 240 sends failed: no route"),
        (lambda run: setattr(run.manifest, "outcome", "degraded"), "the run ended degraded"),
        (lambda run: setattr(run.manifest, "phase", "running"), "the run is running, not collected"),
        (lambda run: setattr(run.manifest, "experiment", "other"), "expected the folder's name 'native', got 'other'"),
    ],
)
def test_what_may_happen_in_a_good_run_is_a_warning(native, tmp_path, spoil, message):
    """Loss, steps and degraded ends are said, and are no errors of the folder (a failed send leaves a row too many)."""
    spoil(native)
    problems = validate(native.write(tmp_path))
    assert message in lines(problem for problem in problems if problem.severity == "warning")


def test_a_file_changed_after_it_left_the_node_is_found(native, tmp_path):
    """One byte is enough, in raw/ as in the assembled table."""
    path = native.write(tmp_path)
    with (path / "raw" / "w1" / "samples.csv").open("a", encoding="utf-8") as stream:
        stream.write("\n")
    text = (path / "worker_w2.csv").read_text(encoding="utf-8")
    (path / "worker_w2.csv").write_text(text.replace(",kernel_rx,", ",user,", 1), encoding="utf-8")
    found = lines(errors(validate(path)))
    assert "raw/w1/samples.csv: not what the node wrote: expected sha256" in found
    assert "worker_w2.csv: not what the node wrote: expected the rows of raw/w2/events.csv" in found


def test_a_changed_original_of_an_import_is_found(older, tmp_path):
    """The copies under raw/imported/ are checked against the manifest."""
    path = older_format.import_published(older.write(tmp_path / "older"), "x", tmp_path / "results")
    (path / "raw" / "imported" / "worker_a1.csv").write_text("", encoding="utf-8")
    (path / "raw" / "imported" / "worker_b2.csv").unlink()
    found = lines(errors(validate(path)))
    assert "raw/imported/worker_a1.csv: changed" in found
    assert "raw/imported/worker_b2.csv: not there" in found


def test_counts_of_the_agent_that_do_not_fit_its_table_are_found(native, tmp_path):
    """The agent counted what it received; the table must have it."""
    path = native.write(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["nodes"]["w1"]["status"] |= {"counts": {"received": 119, "ct_unavailable": 3}, "run_id": "f" * 32}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = lines(errors(validate(path)))
    assert "manifest.json w1: the agent counted 119 received, its table has 120 rows" in found
    assert "manifest.json w1: the agent counted 3 ct_unavailable, its table has 0" in found
    assert "manifest.json w1: status of another run" in found


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (lambda names: [name for name in names if name != "receive_raw_ns"], "expected the columns receive_raw_ns"),
        (lambda names: [*names, "mood"], "columns that nobody defined: mood"),
        (lambda names: [names[1], names[0], *names[2:]], "columns out of order: expected 'event_id', got 'node_id'"),
    ],
)
def test_columns_other_than_the_contracts_are_named(native, tmp_path, columns, message):
    """Missing, unknown, out of order."""
    path = native.write(tmp_path)
    file = path / "worker_w1.csv"
    rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = columns(rows[0])
    table = [",".join(dict(zip(rows[0], row, strict=True)).get(name, "") for name in wanted) for row in rows[1:]]
    file.write_text("\n".join([",".join(wanted), *table]) + "\n", encoding="utf-8")
    assert message in lines(validate(path))


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_incomplete_folder_is_described_and_never_crashes(native, tmp_path, damage):
    """Take each file away, empty it, tear it, fill it with rubbish: always a problem, never a traceback."""
    whole = native.write(tmp_path)
    names = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file()]
    assert len(names) > 15
    for name in names:
        content = (whole / name).read_bytes()
        damaged = DAMAGES[damage](content)
        if damaged == content:
            continue  # an empty file emptied is no damage
        if damaged is None:
            (whole / name).unlink()
        else:
            (whole / name).write_bytes(damaged)
        assert errors(validate(whole)), (name, damaged)
        (whole / name).write_bytes(content)
    assert validate(whole) == []


def test_an_empty_folder_and_a_deployed_one_are_described(native, tmp_path):
    """No manifest and no files; a manifest and no files yet."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "manifest.json: expected the run's manifest" in lines(validate(empty))
    path = native.write(tmp_path)
    for entry in path.iterdir():
        if entry.name != "manifest.json":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    found = lines(validate(path))
    assert "coordinator.csv: expected the file, found none" in found
    assert "raw/w1: expected the node's own files" in found
