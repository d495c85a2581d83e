"""Every clock that the harness knows, in one run on real hosts: rows, live display, replay, report."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import page_text
from segments import chronotick_now, clockbound_now, daemon

from analysis.checks.replay import replay
from node_agent.clocks.sources import KINDS
from node_agent.contract import records
from tests.stamped_rows import stamped

NAMES = [kind.name for kind in KINDS]


def test_six_clocks_in_one_run(project, testbed):
    """The daemons are found by `check`; the kernel has a bound, or a reason, as this machine's clock is disciplined."""
    project.edit("configs/worker_config.yaml", clocks={
        "chronotick_shm": "auto", "clockbound": "auto", "kernel": {}, "chrony": {},
        "required": ["ntp", "chronotick", "chronotick_shm", "clockbound"],
    })  # fmt: skip
    project.edit("configs/coordinator_config.yaml", probes={"trail_s": 0.5})
    with contextlib.ExitStack() as daemons:
        for host in testbed.nodes:
            root = Path(f"/proc/{host.pid}/root")
            segment = root / "run/clockbound/shm0"
            segment.parent.mkdir(exist_ok=True)
            daemons.enter_context(daemon(root / "dev/shm/chronotick_shm", chronotick_now))
            daemons.enter_context(daemon(segment, clockbound_now))
        code, printed = project.fab("ares", "check", "run", "--experiment", "six", COLUMNS="240")
    assert code == 0, printed
    for title in ("the nodes' own ChronoTick daemon", "the nodes' own ClockBound"):
        assert title in printed
    assert re.search(r"cts=\+0\.\d+±0\.\d+ms", printed), printed
    folder = project.path / "results/six"
    for name in (records.COORDINATOR_FILE, records.worker_file("comp11"), records.worker_file("comp12")):
        with (folder / name).open(newline="") as table:
            whole = list(csv.DictReader(table))
        rows = stamped(whole)
        assert all(row[f"{prefix}_status"] == "ok" for row in rows for prefix in ("ntp", "cts", "clockbound"))
        assert {row["cts_law"] for row in rows} == {row["clockbound_law"] for row in rows} == {records.AS_CLAIMED}
        assert all(abs(float(row["cts_offset_ms"]) - 0.25) < 0.1 for row in rows)
        assert {row["kernel_status"] for row in rows} <= {"ok", "never_sampled"}
        assert {row["chrony_status"] for row in rows} <= {"ok", "never_sampled"}
    found = replay(folder)
    assert (found.differences, found.readings > 6 * 3 * len(whole) - 1) == ((), True)
    subprocess.run(
        [Path(sys.executable).parent / "analyze", "--experiment", folder], check=True, stdout=subprocess.DEVNULL
    )
    report = page_text.of(folder)
    for name in NAMES:
        assert re.search(rf"^\| {name} \|", report, re.MULTILINE), name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["outcome"] == "ok"
