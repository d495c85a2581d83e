"""What a cluster does to jobs: they give way, stand still, are killed, and lose their nodes."""

from __future__ import annotations

import re
import time

import pytest
from jobs import NODE, sleepers, submit, until

from harness.localcluster.processes import read_process
from harness.testbed.slurm.files import NODE_DOWN_S

only_cgroup = pytest.mark.parametrize("slurm_testbed", ["cgroup"], indirect=True)


def test_a_job_of_the_lower_partition_gives_way_and_comes_again(slurm_testbed, output):
    """A job in compute takes the nodes after the grace time; the one in scavenge is queued again and restarted."""
    slurm = slurm_testbed.slurm
    every = ["--nodes=3", "--exclusive"]
    script = "echo begun ${SLURM_RESTART_COUNT:-0}; sleep 300"
    first = submit(slurm, script, "--partition=scavenge", *every)
    until(lambda: output.exists() and output.read_text() == "begun 0\n")
    second = submit(slurm, "sleep 1", *every)
    until(lambda: slurm.jobs() == {first: "PENDING", second: "RUNNING"})
    until(lambda: slurm.jobs() == {first: "PENDING"})
    assert slurm.run("squeue", "--noheader", "--format=%r").stdout == "BeginTime\n"
    slurm.run("scontrol", "update", f"jobid={first}", "starttime=now", as_user=False)  # instead of in two minutes
    until(lambda: "begun 1\n" in output.read_text())
    assert slurm.jobs() == {first: "RUNNING"}


def test_a_suspended_job_stands_still(slurm_testbed, output):
    """``scontrol suspend`` stops a job's processes, ``resume`` lets them go on."""
    slurm, node = slurm_testbed.slurm, slurm_testbed.hosts[NODE]
    job = submit(slurm, "sleep 4712", f"--nodelist={NODE}")
    (sleeper,) = until(lambda: sleepers(node, "4712"))
    for order, state, process_states in (("suspend", "SUSPENDED", "TD"), ("resume", "RUNNING", "S")):
        slurm.run("scontrol", order, job, as_user=False)
        until(lambda state=state: slurm.jobs() == {job: state})
        until(lambda wanted=process_states: read_process(sleeper).state in wanted)
    slurm.run("scontrol", "suspend", job, as_user=False)  # the repair finds it so


@only_cgroup
def test_who_takes_more_memory_than_asked_for_is_killed(slurm_testbed):
    """A step with 50 MB dies of 200, and Slurm says why."""
    slurm = slurm_testbed.slurm
    greedy = "import time; held = bytearray(b'x' * 200_000_000); time.sleep(1)"
    killed = slurm.run("srun", "--mem=50", "python3", "-c", greedy, check=False)
    assert killed.returncode != 0
    assert re.search("oom-kill|Out Of Memory|OUT_OF_MEMORY|Killed", killed.stderr), killed.stderr
    assert slurm.run("srun", "--mem=400", "python3", "-c", greedy).returncode == 0


def test_a_node_whose_daemon_is_silent_is_down(slurm_testbed, output):
    """Its job is queued again while its processes go on; they end when the daemon, started again, hears of it."""
    slurm, node = slurm_testbed.slurm, slurm_testbed.hosts[NODE]
    job = submit(slurm, "sleep 4713", f"--nodelist={NODE}")
    until(lambda: sleepers(node, "4713"))
    slurm.kill_daemon(NODE)
    slurm.await_states("down", "down*", names=[NODE], timeout_s=4 * NODE_DOWN_S)
    assert slurm.jobs() == {job: "PENDING"}
    assert sleepers(node, "4713")
    slurm.start_daemon(NODE)
    slurm.await_idle()
    until(lambda: not sleepers(node, "4713"))


def test_jobs_outlive_their_controller(slurm_testbed, output):
    """While slurmctld is gone nobody answers and jobs go on; started again, it knows those that it had saved."""
    slurm, node = slurm_testbed.slurm, slurm_testbed.hosts[NODE]
    job = submit(slurm, "sleep 4714", f"--nodelist={NODE}")
    until(lambda: sleepers(node, "4714"))
    saved = slurm_testbed.gateway.folder / "slurm/state/job_state"
    now_ns = time.time_ns()
    slurm.run("scontrol", "update", f"jobid={job}", "comment=any")  # a change: it is saved within five seconds
    until(lambda: saved.exists() and saved.stat().st_mtime_ns > now_ns)
    slurm.kill_daemon("ares")
    assert slurm.states() == {}
    assert sleepers(node, "4714")
    slurm.start_daemon("ares")
    until(slurm.states)
    until(lambda: slurm.jobs() == {job: "RUNNING"})
