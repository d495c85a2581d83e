"""Agents are killed or stopped, nodes lose their network or their disk; the rest goes on and says what is missing."""

from __future__ import annotations

import os
import signal
import time

from broken_runs import FLUSHED_S, ITS_LAST_WORDS, WORKERS, BrokenRun, healthy


def test_a_killed_worker_is_data(project, testbed):
    """All but the last half second of a killed worker is collected; the others lose nothing."""
    run = BrokenRun(project, testbed).start().await_rows()
    killed_ns = run.keep()
    os.kill(run.agent("comp11"), signal.SIGKILL)
    code, printed = run.end()
    assert code == 5, printed
    run.check_degraded("comp11: died in phase running")
    run.check_kept()
    assert run.lost("comp11", until_ns=killed_ns - int(FLUSHED_S * 1e9)) == []
    assert len(run.collected("comp18")) == run.events
    assert run.lost("comp12") == []
    run.check_nothing_invented(*ITS_LAST_WORDS)
    run.check_nothing_left()


def test_a_killed_coordinator_leaves_what_was_sent(project, testbed):
    """All but the last half second of a killed coordinator is collected, and everything the workers received."""
    run = BrokenRun(project, testbed).start().await_rows()
    killed_ns = run.keep()
    os.kill(run.agent("comp18"), signal.SIGKILL)
    code, printed = run.end()
    assert code == 5, printed
    run.check_degraded("comp18: died in phase broadcasting")
    run.check_kept()
    for worker in WORKERS:
        assert run.lost(worker) == []
        sent = {row["event_id"] for row in run.collected("comp18")}
        early = killed_ns - int(FLUSHED_S * 1e9)
        got = [row["event_id"] for row in run.collected(worker) if int(row["receive_time_ns"]) < early]
        assert set(got) <= sent
    run.check_nothing_invented(*ITS_LAST_WORDS)
    run.check_nothing_left()


def test_a_worker_stopped_for_five_seconds_misses_no_event(project, testbed):
    """The kernel keeps and stamps what arrives meanwhile; readings that have grown stale say so and have no number."""
    run = BrokenRun(project, testbed, lasting_s=7, goes_stale=True).start().await_rows()
    run.keep()
    pid = run.agent("comp11")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(5)
    os.kill(pid, signal.SIGCONT)
    code, printed = run.end()
    assert code == 5, printed
    run.check_degraded("comp11: ntp: ", "comp11: chronotick: ", "readings unavailable")
    assert [run.lost(worker) for worker in WORKERS] == [[], []]
    statuses = {row["ntp_status"] for row in run.collected("comp11")}
    assert {"ok", "stamp_gap"} <= statuses <= {"ok", "stamp_gap", "stale"}
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


def test_a_node_without_network_for_ten_seconds_misses_only_what_was_sent_then(project, testbed):
    """Its agent goes on by itself; what reached it before and after is collected, and the loss is counted."""
    run = BrokenRun(project, testbed, lasting_s=13).start().await_rows()
    run.keep()
    line = testbed.hosts["ares-comp-11"].line
    cut_ns = time.time_ns()
    line.cut()
    time.sleep(10)
    line.restore()
    back_ns = time.time_ns()
    code, printed = run.end()
    assert code == 5, printed
    run.check_degraded("comp11: received ")
    assert run.lost("comp12") == []
    assert run.lost("comp11", until_ns=cut_ns - 50_000_000) == []
    assert len(run.lost("comp11", cut_ns, back_ns)) > 100
    assert run.lost("comp11", back_ns + 3_000_000_000) == []
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


def test_a_node_that_is_gone_for_good_is_given_up(project, testbed):
    """The others' results are complete; what the node had is collected if it ever comes back."""
    run = BrokenRun(project, testbed).start().await_rows()
    gone_ns = run.keep()
    testbed.hosts["ares-comp-12"].line.cut()
    code, printed = run.end(115)
    assert code == 6, printed
    run.check_degraded("comp12: was last seen in phase r", "comp12: stop: ", "collect: comp12: ")  # ready or running
    assert run.lost("comp11") == []
    run.check_kept("comp18", "comp11")
    testbed.hosts["ares-comp-12"].line.restore()
    code, printed = project.fab("ares", "collect", "--experiment", run.name)
    assert code == 5, printed
    assert run.lost("comp12", until_ns=gone_ns) == []
    run.check_degraded("comp12: ended as stopped")
    run.check_kept()
    run.check_nothing_invented()
    run.check_nothing_left()


def test_afterwards_a_healthy_run_works(project, testbed):
    """Nothing of all this is in the way of the next run."""
    healthy(project, testbed)
