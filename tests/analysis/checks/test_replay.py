"""A replay recomputes every reading from the journals, and finds whatever was changed in them."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from run_folder import RAW_BEHIND_NS

from analysis.checks import replay
from analysis.checks.subject import of_folder
from analysis.errors import AnalysisError
from node_agent.clocks.base import evaluate
from node_agent.clocks.holdover import drift_bound_ns
from node_agent.clocks.sources import configured
from node_agent.contract import plan as plans
from node_agent.contract import records
from node_agent.contract.cells import reading_cells, remeasured_cells, sample_row
from node_agent.contract.records import CHRONOTICK, COLUMN_PREFIX, NTP, OK, USER, Sample, Stamp

ROOT = Path(__file__).resolve().parents[3]
MS, S = 1_000_000, 1_000_000_000
SERVER, TICK = "10.0.0.1:123", "http://10.0.0.1:8124"
CLOCKS = plans.ClocksPlan(plans.NtpPlan((SERVER,), query_interval_s=1.0), plans.ChronoTickPlan(TICK))
WORKER = plans.NodePlan(
    "r", "0" * 32, "w", plans.WORKER, "/nowhere", "127.0.0.1", clocks=CLOCKS, commit_wait_delays_s=(0.5,)
)


def ntp(number, raw_ns):
    """Return the sample of an exchange that took 200 us, 100 us each way, by a clock that is right."""
    wall = raw_ns + RAW_BEHIND_NS
    t2, t3, after = wall + 100_000, wall + 100_000, raw_ns + 200_000
    drift = drift_bound_ns(200_000, CLOCKS.max_drift_ppm)
    return Sample(
        f"ntp{number}", NTP, SERVER, SERVER, OK, raw_ns, after, wall + 200_000, after + 50_000, wall, t2, t3,
        wall + 200_000, raw_ns + 100_000, wall + 100_000, 0, 200_000, 100_000 + 61 + drift + 20 + 1, 100_000, 61, drift,
        20, 0, 0, 1,
    )  # fmt: skip


def tick(number, raw_ns):
    """Return the sample of an answer; the first claims no drift, the others do."""
    wall = raw_ns + RAW_BEHIND_NS
    answer = {"offset_ms": 0.01, "uncertainty_ms": 0.02, "node_id": "w", "prediction_time_ns": wall}
    claims = {}
    if number > 1:
        answer |= {
            "drift_ppm": 12.5,
            "drift_uncertainty_ppm": 30,
            "asymmetry_ms": 0.004,
            "valid_until_ns": wall + 9 * S,
        }
        claims = {
            "asymmetry_ns": 4_000, "drift_fs_per_s": 12_500_000_000, "drift_sigma_fs_per_s": 30_000_000_000,
            "valid_until_raw_ns": raw_ns + 9 * S,
        }  # fmt: skip
    return Sample(
        f"ct{number}", CHRONOTICK, TICK, "", OK, raw_ns, raw_ns + MS, wall, raw_ns + MS + 10, raw_at_ns=raw_ns,
        reference_at_ns=wall + 10_000, offset_ns=10_000, delay_ns=MS, bound_stamp_ns=40, sigma_ns=20_000, **claims,
        scope="node", payload=json.dumps(answer),
    )  # fmt: skip


SAMPLES = [
    sample for second in range(3) for sample in (ntp(2 * second, second * S), tick(2 * second + 1, second * S + MS))
]


def stamps():
    return [
        (event, Stamp(RAW_BEHIND_NS + raw, raw, 100, USER)) for event, raw in enumerate(range(MS // 2, 3 * S, S // 5))
    ]


def without_claims(sample):
    return replace(sample, **dict.fromkeys(records.LATER_SAMPLES_COLUMNS))


def write(path, samples, claimed=SAMPLES):
    """Write a run of one worker; ``samples`` are what the files say, ``claimed`` what the readings rest on."""
    coordinator = replace(
        WORKER, node_id="c", role=plans.COORDINATOR, clocks=plans.ClocksPlan(),
        broadcast=plans.BroadcastPlan((plans.WorkerAddress("w", "127.0.0.1", 9000),), 1, (1.0,)),
    )  # fmt: skip
    nodes = {
        plan.node_id: records.NodeManifest(plan.node_id, plan.role, "h", plan=json.loads(plans.to_json(plan)))
        for plan in (coordinator, WORKER)
    }
    manifest = records.Manifest("0" * 32, "r", "local", records.COLLECTED, records.RUN_OK, "", {}, [], {}, nodes)
    for node_id in nodes:
        (path / records.RAW_DIR / node_id).mkdir(parents=True)
    (path / records.MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    empty = path / records.RAW_DIR / "c"
    for name, columns in (
        (records.EVENTS_FILE, records.events_columns("coordinator")),
        (records.SAMPLES_FILE, records.SAMPLES_COLUMNS),
        (records.COMMIT_WAIT_FILE, records.COMMIT_WAIT_COLUMNS),
    ):
        (empty / name).write_text(",".join(columns) + "\n", encoding="utf-8")
    raw = path / records.RAW_DIR / "w"
    lines = [",".join(records.SAMPLES_COLUMNS), *map(sample_row, samples)]
    (raw / records.SAMPLES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    sources = configured(CLOCKS)
    events, later = [",".join(records.events_columns("worker"))], [",".join(records.COMMIT_WAIT_COLUMNS)]
    for event, stamp in stamps():
        readings = {
            name: evaluate(source, [one for one in claimed if one.source == name], stamp)
            for name, source in sources.items()
        }
        cells = ",".join(reading_cells(readings[name], stamp.wall_ns) for name in COLUMN_PREFIX if name in readings)
        events.append(f"{event},w,{event},{stamp.wall_ns},{stamp.wall_ns},{stamp.raw_ns},100,{USER},{cells}")
        due = stamp.raw_ns + S // 2
        said = evaluate(
            sources[CHRONOTICK], [one for one in claimed if one.source == CHRONOTICK], Stamp(0, due, 0, USER)
        )
        numbers = remeasured_cells(said, RAW_BEHIND_NS + due)
        later.append(f"{event},{CHRONOTICK},{records.REMEASURE},{due},{due},0.5,{numbers},,,")
    (raw / records.EVENTS_FILE).write_text("\n".join(events) + "\n", encoding="utf-8")
    (raw / records.COMMIT_WAIT_FILE).write_text("\n".join(later) + "\n", encoding="utf-8")
    for folder in (empty, raw):
        seal(folder)
    return path


def seal(folder):
    """Write the checksums of a node's files as they are now."""
    files = sorted(folder.glob("*.csv"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / records.CHECKSUMS_FILE).write_text("".join(lines), encoding="ascii")


def test_an_unaltered_run_replays_without_a_difference(tmp_path):
    found = replay.replay(write(tmp_path / "r", SAMPLES))
    assert found.differences == ()
    assert found.readings == 3 * len(stamps())  # two sources per event, and one re-measurement


def test_both_laws_of_holdover_are_in_the_rows(tmp_path):
    """The first answer claims no drift, so the drift limit holds; what claims one is held over by that."""
    path = write(tmp_path / "r", SAMPLES)
    with (path / records.RAW_DIR / "w" / records.EVENTS_FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["ct_sample_id"], row["ct_law"], row["ct_asymmetry_ms"]) for row in rows if row["ct_status"] == OK} == {
        ("ct1", records.DRIFT_LIMIT, ""),
        *((name, records.AS_CLAIMED, "0.004000") for name in ("ct3", "ct5")),
    }  # fmt: skip
    assert {row["ntp_law"] for row in rows if row["ntp_status"] == OK} == {records.DRIFT_LIMIT}


def test_a_run_of_an_earlier_version_replays_by_the_drift_limit(tmp_path):
    """What its answers claimed was not obeyed then, and its files have no column for it."""
    path = write(tmp_path / "r", SAMPLES, claimed=list(map(without_claims, SAMPLES)))
    raw = path / records.RAW_DIR / "w"
    for file in raw.glob("*.csv"):
        frame = pd.read_csv(file, dtype="string", keep_default_na=False)
        frame.drop(columns=[name for name in frame if records.is_later(name)]).to_csv(file, index=False)
    seal(raw)
    found = replay.replay(path)
    assert (found.differences, found.readings) == ((), 3 * len(stamps()))


@pytest.mark.parametrize(
    ("place", "column"),
    [(place, column) for place in (0, 2) for column in (
        "raw_before_ns", "raw_after_ns", "wall_ns", "t1_ns", "t2_ns", "t3_ns", "t4_ns", "raw_at_ns", "reference_at_ns",
        "offset_ns", "delay_ns", "bound_ns", "bound_delay_ns", "bound_precision_ns", "bound_drift_ns", "bound_stamp_ns",
    )]
    + [(1, column) for column in (
        "raw_before_ns", "raw_after_ns", "wall_ns", "raw_at_ns", "reference_at_ns", "offset_ns", "delay_ns", "sigma_ns",
    )]
    + [(3, column) for column in ("asymmetry_ns", "drift_fs_per_s", "drift_sigma_fs_per_s", "valid_until_raw_ns")],
)  # fmt: skip
def test_a_number_changed_by_100_ns_in_one_sample_is_found(tmp_path, place, column):
    changed = list(SAMPLES)
    changed[place] = replace(changed[place], **{column: getattr(changed[place], column) + 100})
    assert replay.replay(write(tmp_path / "r", changed)).differences


def test_an_answer_changed_in_one_sample_is_found(tmp_path):
    changed = list(SAMPLES)
    changed[1] = replace(changed[1], payload=changed[1].payload.replace("0.02", "0.03"))
    assert [one.column for one in replay.replay(write(tmp_path / "r", changed)).differences] == ["sigma_ns"]


@pytest.mark.parametrize("by_ns", [-200_000, S // 2, 3 * S])
def test_a_publication_moved_to_before_its_exchange_or_past_a_stamp_is_found(tmp_path, by_ns):
    changed = list(SAMPLES)
    changed[2] = replace(changed[2], published_raw_ns=changed[2].published_raw_ns + by_ns)
    assert replay.replay(write(tmp_path / "r", changed)).differences


def test_a_sample_that_is_there_twice_is_found(tmp_path):
    assert replay.replay(write(tmp_path / "r", [*SAMPLES, SAMPLES[-1]])).differences


def test_a_re_measurement_that_names_another_sample_is_found(tmp_path):
    path = write(tmp_path / "r", SAMPLES)
    file = path / records.RAW_DIR / "w" / records.COMMIT_WAIT_FILE
    file.write_text(file.read_text(encoding="utf-8").replace("ct3", "ct5", 1), encoding="utf-8")
    seal(file.parent)
    (difference,) = replay.replay(path).differences
    assert difference.column == "sample_id"


def test_a_file_that_is_not_what_left_the_node_is_found_whatever_was_changed(tmp_path):
    """A publication moved by 1 ns changes no reading; the checksum taken on the node tells."""
    path = write(tmp_path / "r", SAMPLES)
    raw = path / records.RAW_DIR / "w"
    file = raw / records.SAMPLES_FILE
    assert replay.replay(path).differences == ()
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    place = rows[0].index("published_raw_ns")
    file.write_text(file.read_text(encoding="utf-8").replace(rows[1][place], str(int(rows[1][place]) + 1), 1), "utf-8")
    (difference,) = replay.replay(path).differences
    assert (difference.event_id, difference.column) == (records.SAMPLES_FILE, "sha256")


def test_files_that_nothing_vouches_for_are_found(tmp_path):
    path = write(tmp_path / "r", SAMPLES)
    (path / records.RAW_DIR / "w" / records.CHECKSUMS_FILE).unlink()
    found = replay.replay(path).differences
    names = {records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE}
    assert {one.event_id for one in found} == names
    assert {one.replayed for one in found} == {"none in SHA256SUMS"}


@pytest.mark.parametrize("column", ["due_raw_ns", "delay_s"])
def test_a_re_measurement_that_was_due_at_another_time_is_found(tmp_path, column):
    path = write(tmp_path / "r", SAMPLES)
    file = path / records.RAW_DIR / "w" / records.COMMIT_WAIT_FILE
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    place = rows[0].index(column)
    rows[1][place] = rows[1][place][:-1] + "9"
    file.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    seal(file.parent)
    assert [one.column for one in replay.replay(path).differences] == [column]


def test_a_journal_that_no_agent_wrote_is_refused_in_one_line(tmp_path):
    path = write(tmp_path / "r", SAMPLES)
    file = path / records.RAW_DIR / "w" / records.SAMPLES_FILE
    file.write_text(file.read_text().replace(str(SAMPLES[0].bound_ns), "zebra"))
    with pytest.raises(AnalysisError, match="expected the plan and journals of an agent, got ValueError") as refused:
        replay.replay(path)
    assert "\n" not in str(refused.value)


def test_a_run_without_any_reading_is_no_run_without_a_difference(tmp_path):
    """Nothing recomputed proves nothing: the task says so in one line and ends with 7."""
    path = write(tmp_path / "r", [])
    manifest = json.loads((path / records.MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["nodes"]["w"]["plan"]["clocks"] |= {"ntp": None, "chronotick": None}
    (path / records.MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")
    (path / records.RAW_DIR / "w" / records.COMMIT_WAIT_FILE).write_text(
        ",".join(records.COMMIT_WAIT_COLUMNS) + "\n", encoding="utf-8"
    )
    assert replay.replay(path).readings == 0
    command = [sys.executable, "-m", "invoke", "replay", "--experiment", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("error: expected readings to recompute, got none")
    assert done.stderr.count("\n") == 1


def test_validate_says_when_a_run_is_too_long_to_be_replayed_in_passing(tmp_path, monkeypatch):
    subject = replace(
        of_folder(write(tmp_path / "r", SAMPLES)), _tables={"worker_w.csv": pd.DataFrame({"event_id": range(20)})}
    )
    assert list(replay.check(subject)) == []
    monkeypatch.setattr(replay, "REPLAY_LIMIT", 19)
    (problem,) = replay.check(subject)
    assert problem.severity == "warning"
    assert "not recomputed here, 20 rows being more than 19; invoke replay does it" in problem.line
