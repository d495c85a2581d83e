"""`validate` looks at every node's probes, and names each damage in one line."""

from __future__ import annotations

import pytest

from analysis.checks import probes
from analysis.checks.subject import Subject
from node_agent.contract import records

NOW = 1_700_000_000_000_000_000
ROWS = [
    f"b,0,tx,{NOW},5000,80,kernel_tx",
    f"b,0,rx,{NOW + 10},5010,90,kernel_rx",
    f"b,1,tx,{NOW + 20},5020,80,user",
    f"c,0,rx,{NOW + 30},,0,kernel_rx",
]
HEADER = ",".join(records.PROBES_COLUMNS)
PLAN = {"probes": {"peers": [{"node_id": "b"}, {"node_id": "c"}]}}


def found(tmp_path, rows, header=HEADER, plan=None, counts=None, outcome="ok"):
    folder = tmp_path / "raw" / "a"
    folder.mkdir(parents=True)
    if rows is not None:
        (folder / "probes.csv").write_text("\n".join([header, *rows]) + "\n")
    status = {"outcome": outcome, "counts": counts or {"probe_sent": 2, "probe_received": 2}}
    node = records.NodeManifest("a", "worker", "h", plan=PLAN if plan is None else plan, status=status)
    manifest = records.Manifest("", "", "", "", None, "", {}, [], {}, {"a": node})
    return [problem.line for problem in probes.find(Subject(tmp_path, manifest, None, {"a": "worker"}, whole=True))]


def test_whole_probes_are_no_problem(tmp_path):
    """A stamp without a raw instant and a probe sent with a user stamp belong to a good run."""
    assert found(tmp_path, ROWS) == []


def test_a_run_without_probes_needs_none(tmp_path):
    assert found(tmp_path, None, plan={"probes": None}) == []


def test_a_node_that_never_ended_may_have_rows_its_status_does_not_count(tmp_path):
    assert found(tmp_path, ROWS, counts={"probe_sent": 1, "probe_received": 0}, outcome="") == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "expected the file, found none"),
        ([*ROWS[:3], ROWS[1]], "1 rows come more than once"),
        ([*ROWS[:3], ROWS[3].replace("c,", "z,")], "1 rows of a peer that is not in the node's plan"),
        (
            [*ROWS[:3], ROWS[3].replace("kernel_rx", "kernel_tx")],
            "1 rows whose origin does not go with their direction",
        ),
        ([*ROWS[:3], ROWS[3].replace("rx,", "up,", 1)], "1 rows whose origin does not go with their direction"),
        ([*ROWS[:3], ROWS[3].replace(str(NOW + 30), "1700000000")], "wall_ns of 1 rows is no instant"),
        ([*ROWS[:3], ROWS[3].replace(str(NOW + 30), "")], "wall_ns of 1 rows is no instant"),
        ([*ROWS[:3], ROWS[3].replace(",0,kernel", ",-1,kernel")], "raw_error_ns is negative in 1 rows"),
        (ROWS[:3], "expected 2 rx rows as the agent counted (probe_received), got 1"),
    ],
)
def test_each_damage_is_an_error_in_one_line(tmp_path, rows, message):
    lines = found(tmp_path, rows)
    assert any(line.startswith("error: raw/a/probes.csv: ") and message in line for line in lines), lines


def test_a_missing_column_is_named(tmp_path):
    lines = found(tmp_path, [row.rpartition(",")[0] for row in ROWS], HEADER.rpartition(",")[0])
    assert lines == ["error: raw/a/probes.csv: expected the columns origin, which are not there"]
