"""An agent that the out-of-memory killer took is said to be, and no other: on a real control group, as root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node_agent import lifecycle
from node_agent.contract.records import STATUS_FILE
from node_agent.local import cgroup
from node_agent.local.cgroup import MemoryGroup, memory_group

ROOT = Path(__file__).parents[2]
LIMIT_BYTES = 48 << 20
PATIENT_S = 20.0
AGENT = """
import sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text("0")  # this process
from node_agent import lifecycle
lifecycle.claim(Path(sys.argv[2]))
print("claimed", flush=True)
sys.stdin.readline()
kept = []
while sys.argv[3] == "greedy":
    kept.append(bytearray(1 << 20))
"""


@pytest.fixture
def limited():
    """Make a control group with a limit, and remove it."""
    own = memory_group()
    if own is None:
        pytest.skip("no memory controller to be seen")
    folder = own.top / f"harness-test-{os.getpid()}"
    name = "memory.max" if own.version == cgroup.V2 else "memory.limit_in_bytes"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        if not (folder / name).exists():
            pytest.skip("groups made here have no memory controller")
        (folder / name).write_text(str(LIMIT_BYTES))
        yield MemoryGroup(own.version, folder, own.top)
    finally:
        deadline_s = time.monotonic() + PATIENT_S
        while (folder / "cgroup.procs").read_text():  # one that has just ended is still in it
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        folder.rmdir()


def start(group: MemoryGroup, run_dir: Path, kind: str) -> subprocess.Popen[str]:
    """Start an agent in a group; it has claimed its folder and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(group.folder), str(run_dir), kind],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "claimed\n"
    return process


def end(process: subprocess.Popen[str]) -> int:
    """Let the agent go on, and wait for its end."""
    process.communicate("\n", timeout=PATIENT_S)
    return process.returncode


def test_one_that_was_killed_for_memory_is_said_to_be(limited, tmp_path):
    assert end(start(limited, tmp_path, "greedy")) == -9
    told = f"killed by the out-of-memory killer (cgroup limit {LIMIT_BYTES / 1e6:.0f} MB)"
    assert lifecycle.status(tmp_path)["death"] == told
    assert lifecycle.stop(tmp_path, 1.0)["death"] == told


def test_one_that_was_killed_otherwise_is_not_said_to_be(limited, tmp_path):
    process = start(limited, tmp_path, "modest")
    process.kill()
    process.communicate(timeout=PATIENT_S)
    assert lifecycle.status(tmp_path)["death"] is None


def test_what_was_killed_before_the_start_does_not_count(limited, tmp_path):
    assert end(start(limited, tmp_path / "first", "greedy")) == -9
    process = start(limited, tmp_path / "second", "modest")
    process.kill()
    process.communicate(timeout=PATIENT_S)
    assert lifecycle.status(tmp_path / "first")["death"] is not None
    assert lifecycle.status(tmp_path / "second")["death"] is None


def test_a_group_of_the_same_name_that_was_made_anew_tells_nothing(tmp_path):
    """A job's group goes with the job; the next one's kills are not this agent's."""
    (tmp_path / "memory.events").write_text("oom_kill 5\n")
    watch = {"version": 2, "folder": str(tmp_path), "top": str(tmp_path), "inode": tmp_path.stat().st_ino, "kills": 4}
    assert cgroup.oom_death(watch) == "killed by the out-of-memory killer (no cgroup limit: the node itself ran out)"
    assert cgroup.oom_death({**watch, "kills": 5}) is None
    assert cgroup.oom_death({**watch, "inode": 1}) is None
    assert cgroup.oom_death({**watch, "folder": str(tmp_path / "gone")}) is None


def test_one_that_ended_in_order_has_no_death(monkeypatch, tmp_path):
    (tmp_path / lifecycle.PID_FILE).write_text('{"pid": 1, "start_ticks": -1, "oom_watch": {}}')
    monkeypatch.setattr(cgroup, "oom_death", lambda _watch: "killed")
    monkeypatch.setattr("node_agent.contract.records.NodeStatus.from_json", lambda _text: None)
    for outcome, death in ((None, "killed"), ("ok", None)):
        (tmp_path / STATUS_FILE).write_text(json.dumps({"outcome": outcome}))
        assert lifecycle.status(tmp_path)["death"] == death
