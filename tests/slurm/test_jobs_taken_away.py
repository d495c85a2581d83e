"""Jobs that end, stop or lose a node in mid-run: what was recorded is at home, the reason is named, nothing runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
from lent_runs import CLUSTER, NODES, LentRun, await_true


@pytest.fixture
def lent(slurm_project, request):
    return LentRun(slurm_project, request.node.originalname)  # the home outlives a test


def demand_taken_away(run: LentRun, reason: str) -> None:
    run.await_job_over()
    run.demand_no_agents()
    code, printed = run.end()
    assert code == 8, printed
    manifest = run.manifest
    assert manifest["outcome"] == "failed"
    assert manifest["problems"][0].startswith(f"job {run.job_id} {reason}")
    assert manifest["job"]["state"] == reason
    run.demand_whole()
    run.demand_healthy_next()


def test_cancelled(lent):
    lent.begin()
    lent.slurm("scancel", lent.job_id)
    demand_taken_away(lent, "CANCELLED")


def test_a_submitted_run_is_cancelled(lent):
    """The controller goes with the job, and has all at home before: Slurm gives it thirty seconds (KillWait)."""
    lent.long(1.0)
    code, printed = lent.project.fab(CLUSTER, "--direct", "submit", "--experiment", lent.name)
    assert code == 0, printed
    lent.await_middle()
    job_id = lent.job_id
    lent.slurm("scancel", job_id)
    lent.await_job_over()
    lent.demand_no_agents()
    await_true(lambda: not lent.testbed.slurm.jobs(), "end of the controller")
    assert lent.manifest["outcome"] == "failed", (lent.home.parent / f"{lent.name}.job.log").read_text()
    assert lent.manifest["problems"][0] == f"job {job_id} CANCELLED"
    lent.demand_whole()


def test_at_its_time_limit(lent):
    """The limit is shortened in mid-run, as an administrator may."""
    lent.begin(minutes=3.0)
    lent.slurm("scontrol", "update", f"jobid={lent.job_id}", "timelimit=1")
    demand_taken_away(lent, "TIMEOUT")


def test_a_node_fails(lent):
    lent.begin()
    lent.testbed.slurm.kill_daemon(NODES[2])
    lent.slurm("scontrol", "update", f"nodename={NODES[2]}", "state=down", "reason=test")
    demand_taken_away(lent, "NODE_FAIL")


def test_suspended(lent):
    """What stood still for a while is no measurement of what would have been: degraded, with the reason."""
    lent.begin(minutes=0.4)
    lent.slurm("scontrol", "suspend", lent.job_id)
    before = lent.received()
    await_true(lambda: lent.slurm("squeue", "-h", "-o", "%T").strip() == "SUSPENDED", "suspended")
    lent.slurm("scontrol", "resume", lent.job_id)
    code, printed = lent.end(120)
    assert lent.received() > before
    assert code == 5, printed
    manifest = lent.manifest
    assert manifest["outcome"] == "degraded"
    assert f"job {lent.job_id} was SUSPENDED" in manifest["problems"]
    lent.demand_whole()
    lent.demand_no_agents()
    lent.demand_healthy_next()


@pytest.mark.parametrize("slurm_testbed", ["cgroup"], indirect=True)
def test_a_lack_of_memory(lent):
    """What takes the memory that the job may use takes an agent with it: that is said, and the rows are whole."""
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"options": {"mem": "150M"}})
    lent.begin(minutes=0.4)
    host = lent.testbed.hosts[NODES[1]]
    for agent in host.agents():
        Path(f"/proc/{agent}/oom_score_adj").write_text("1000")  # the kernel is to choose it, not what is larger
    eater = "x = bytearray()\nwhile True: x += bytearray(10**6)"
    step = ["srun", f"--jobid={lent.job_id}", "--overlap", "-N1", "-n1", f"--nodelist={host.name}"]
    lent.testbed.gateway.run([*step, "/usr/bin/python3", "-c", eater], as_user=True, check=False)
    code, printed = lent.end(120)
    assert code == 5, printed
    assert "killed for want of memory" in lent.manifest["problems"][0]
    lent.demand_whole()
    lent.demand_no_agents()
    lent.demand_healthy_next()


@pytest.mark.parametrize("slurm_testbed", ["linuxproc"], indirect=True)
def test_cancelled_where_agents_were_started_over_ssh(lent):
    """Nothing of Slurm ends what was started over SSH there: over the connections that are open, it is stopped."""
    path = f"configs/clusters/{CLUSTER}.yaml"
    lent.project.edit(path, slurm={"launch": "ssh"}, host_key_policy="accept-new")
    lent.begin()
    lent.slurm("scancel", lent.job_id)
    code, printed = lent.end()
    assert code == 8, printed
    assert lent.manifest["problems"][0] == f"job {lent.job_id} CANCELLED"
    lent.demand_no_agents()
    lent.demand_whole()
