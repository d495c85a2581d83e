"""The controller is killed, or its line to the cluster is cut; agents go on, and are picked up again."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest
from broken_runs import HOSTS, WORKERS, BrokenRun, healthy, until

SILENCE_S = 3.0


def test_a_killed_controller_loses_nothing_and_is_picked_up(project, testbed):
    """After SIGKILL mid-run a new process sees the agents at work, waits for their end, and collects everything."""
    run = BrokenRun(project, testbed, lasting_s=20).start().await_rows()
    run.keep()
    run.process.kill()
    run.end()
    assert run.manifest["phase"] == "running"
    code, printed = project.fab("ares", "status", "--experiment", run.name, COLUMNS="220")
    assert code == 0, printed
    assert printed.count(" alive ") == 3, printed
    code, printed = project.fab("ares", "collect", "--experiment", run.name)
    assert code == 0, printed
    assert "still running nodes=" in printed
    assert run.manifest["phase"] == "collected"
    assert run.manifest["outcome"] == "ok"
    assert [len(run.collected(node)) for node in HOSTS] == [run.events] * 3
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


def test_agents_of_a_killed_controller_keep_others_out_until_they_are_stopped(project, testbed):
    """A leftover agent is found before a new run starts; ``fab stop`` ends it, ``fab collect`` brings home its rows."""
    run = BrokenRun(project, testbed, lasting_s=60).start().await_rows()
    run.process.kill()
    run.end()
    run.keep()
    code, printed = BrokenRun(project, testbed).start().end()
    assert code == 3, printed
    assert "UDP port 9000 on 172.20.101.11 is in use" in printed
    code, printed = project.fab("ares", "stop", "--experiment", run.name)
    assert code == 0, printed
    assert printed.count(": stopped") == 3, printed
    code, printed = project.fab("ares", "collect", "--experiment", run.name)
    assert code == 5, printed
    run.check_degraded("comp11: ended as stopped", "comp18: ended as stopped")
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()
    healthy(project, testbed)


@contextlib.contextmanager
def cut_off(testbed):
    """Cut the controller's line for a while and let every connection over it die meanwhile."""
    testbed.controller_line.cut()
    for pid, words in testbed.gateway.processes().items():
        if words[0].startswith("sshd: "):  # a session's; the server itself has its program's path
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    cut_s = time.monotonic()
    yield
    time.sleep(max(0.0, cut_s + SILENCE_S - time.monotonic()))
    testbed.controller_line.restore()


PHASES = {
    "check": lambda run: any("check" in words for words in run.hosts["comp11"].processes().values()),
    "deploy": lambda run: run.folder("comp11").exists(),
    "start": lambda run: (run.folder("comp11") / "plan.json").exists(),
    "broadcast": lambda run: run.rows("comp11") >= 10,
    "collect": lambda run: (run.folder("comp11") / "SHA256SUMS").exists(),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_line_that_is_cut_and_restored(project, testbed, phase):
    """Whatever the harness is doing when every SSH connection dies, it connects anew and nothing is lost."""
    run = BrokenRun(project, testbed).start()
    until(lambda: PHASES[phase](run), f"phase {phase}")
    with cut_off(testbed):
        run.keep()
    code, printed = run.end()
    assert code == 0, printed
    assert run.manifest["outcome"] == "ok"
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()
