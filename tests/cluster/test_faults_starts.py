"""What is in a run's way when it starts, clocks that step while it goes on, and agents that nobody comes back for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import yaml
from broken_runs import HOSTS, WORKERS, BrokenRun, healthy, until


def test_a_port_that_is_taken_is_named_before_anything_starts(project, testbed):
    """Nothing is started and nothing left; once the port is free the same command works."""
    with testbed.hosts["ares-comp-12"].socket() as sock:
        sock.bind(("172.20.101.12", 9000))
        run = BrokenRun(project, testbed)
        code, printed = run.start().end()
    assert code == 3, printed
    assert "UDP port 9000 on 172.20.101.12 is in use" in printed
    assert not run.results.exists()
    assert not run.folder("comp11").exists()
    healthy(project, testbed)


def test_a_port_that_is_taken_between_check_and_start_fails_the_run(project, testbed):
    """The agents that did start are stopped, what they have is collected, and the reason is in the manifest."""
    with testbed.hosts["ares-comp-12"].socket() as sock:
        run = BrokenRun(project, testbed).start()
        until(run.folder("comp12").exists, "the run folders are made")
        sock.bind(("172.20.101.12", 9000))
        code, printed = run.end()
    assert code == 4, printed
    assert run.manifest["outcome"] == "failed"
    run.check_says("UDP port 9000 on 172.20.101.12 is in use")
    run.check_nothing_left()


def test_a_second_run_is_kept_out_and_the_first_does_not_notice(project, testbed):
    """The port says that somebody is there."""
    run = BrokenRun(project, testbed, lasting_s=20).start().await_rows()
    other = BrokenRun(project, testbed)
    code, printed = other.start().end()
    assert code == 3, printed
    assert "UDP port 9000 on 172.20.101.11 is in use" in printed
    assert run.process.poll() is None
    code, printed = run.end()
    assert code == 0, printed
    assert run.manifest["outcome"] == "ok"
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    run.check_nothing_invented()
    run.check_nothing_left()


SHORT_LEASE = """
import sys
from fabric.main import program
from harness.planning import RunSpec
RunSpec.lease_s = property(lambda self: 12.0)
program.run([sys.argv[0], *sys.argv[1:]])
"""


def test_agents_that_nobody_comes_back_for_end_with_their_lease(project, testbed):
    """With the controller gone each agent ends by itself, everything journaled; the lease is 12 s for this once."""
    run = BrokenRun(project, testbed, lasting_s=60)
    command = [sys.executable, "-c", SHORT_LEASE, "-S", project.ssh_config, "ares", "run", "--experiment", run.name]
    run.process = subprocess.Popen(
        command, cwd=project.path, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        run.await_rows()
    finally:
        run.process.kill()
        run.end()
    run.keep()
    until(lambda: not any(run.hosts[node].agents() for node in HOSTS), "the agents have ended", 30)
    code, printed = project.fab("ares", "collect", "--experiment", run.name)
    assert code == 5, printed
    run.check_degraded(*(f"{node}: ended as lease_expired: the lease of 12 s is over" for node in HOSTS))
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


CLOCKS = {
    "stepped": lambda at_s: {"steps": [{"at_s": at_s + 2 * i, "by_ms": 1000.0 * (-1) ** i} for i in range(20)]},
    "slewed": lambda at_s: {"slews": [{"at_s": at_s, "over_s": 40.0, "by_ms": 20.0}]},
}


@pytest.mark.parametrize("how", CLOCKS)
def test_a_wall_clock_that_is_stepped_or_slewed(project, testbed, how):
    """Readings walk on the raw oscillator: a slew costs none, a step only those whose stamp it falls into."""
    testbed.services["chronotick"].start()  # one that has never seen this clock stepped
    path = project.path / "configs/clusters/testbed.yaml"
    content = yaml.safe_load(path.read_text())
    (node,) = (node for node in content["nodes"] if node["id"] == "comp11")
    node["virtual_clock"] |= CLOCKS[how]((time.time_ns() - testbed.started_ns) / 1e9 + 5)
    path.write_text(yaml.safe_dump(content))
    run = BrokenRun(project, testbed, lasting_s=6, goes_stale=how == "stepped").start("testbed", "run").await_rows()
    run.keep()
    code, printed = run.end()
    rows = run.collected("comp11")
    missing = [row for row in rows if row["ntp_status"] != "ok"]
    offsets = [float(row["ntp_offset_ms"]) for row in rows if row["ntp_status"] == "ok"]
    if how == "stepped":
        assert code == 5, printed
        run.check_degraded("comp11: ntp: ", "comp11: chronotick: ")
        assert {row["ntp_status"] for row in missing} <= {"clock_step", "stamp_gap"}
        assert 0 < len(missing) < len(rows) / 4
        assert max(offsets) - min(offsets) > 900
    else:
        assert code == 0, printed
        assert {row["ntp_status"] for row in missing} <= {"stamp_gap"}  # this machine's own pauses, not the slew's
        assert 1 < max(offsets) - min(offsets) < 20
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()
