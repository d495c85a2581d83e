"""The testbed's Slurm itself: what a cluster lets its users do, in both ways of tracking their processes."""

from __future__ import annotations

import subprocess

from jobs import NODE, allocate, inside, sleepers, until


def log_in(testbed, command):
    """Go to the node from the controller's side, as ``fab -S`` does."""
    argv = ["ssh", "-F", str(testbed.ssh_config), NODE, command]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=250, stdin=subprocess.DEVNULL)


def test_three_nodes_are_idle_and_run_a_step(slurm_testbed):
    """All nodes are idle, in both partitions, and a step runs on each of them."""
    slurm = slurm_testbed.slurm
    assert slurm.states() == dict.fromkeys(slurm.nodes, "idle")
    rows = slurm.run("sinfo", "--noheader", "--format=%P %l %D %t").stdout.splitlines()
    assert rows == ["compute* 2:00:00 3 idle", "scavenge 2:00:00 3 idle"]
    assert sorted(slurm.run("srun", "--nodes=3", "hostname").stdout.split()) == sorted(slurm.nodes)


def test_a_batch_job_is_awaited(slurm_testbed, output):
    """``sbatch --wait`` ends with the job and its exit code; its output is in the one home."""
    slurm = slurm_testbed.slurm
    options = ["--wait", f"--nodelist={NODE}", "--output=job.out"]
    done = slurm.run("sbatch", *options, "--wrap=hostname; pwd; exit 3", check=False)
    assert done.returncode == 3, done.stderr
    assert output.read_text().split() == [NODE, "/home/experimenter"]


def test_a_step_in_an_allocation_without_a_shell(slurm_testbed):
    """``srun --jobid --overlap`` begins steps beside each other; they are the agents of their node alone."""
    slurm, node = slurm_testbed.slurm, slurm_testbed.hosts[NODE]
    program = slurm_testbed.gateway.home / "agent.pyz"
    program.write_text("import time; time.sleep(60)")
    job = allocate(slurm)
    step = ["srun", f"--jobid={job}", "--overlap"]
    running = slurm_testbed.gateway.start([*step, "python3", "agent.pyz", "worker"], as_user=True)
    try:
        (agent,) = until(node.agents)
        assert slurm.run(*step, "hostname").stdout == f"{NODE}\n"
        assert node.agents() == [agent]
        assert slurm_testbed.gateway.agents() == []
        slurm.run("scancel", job)
        until(lambda: not node.agents())
        assert running.wait(100) != 0
    finally:
        running.kill()
        running.communicate()
        program.unlink()


def test_a_node_lets_in_who_has_a_job_there(slurm_testbed):
    """A node refuses in PAM's words, admits as long as there is a job, and refuses again."""
    slurm, node = slurm_testbed.slurm, slurm_testbed.hosts[NODE]
    refused = log_in(slurm_testbed, "hostname")
    assert refused.returncode == 255
    assert "Access denied by pam_slurm_adopt: you have no active jobs on this node" in refused.stderr
    job = allocate(slurm)
    assert log_in(slurm_testbed, "hostname").stdout == f"{NODE}\n"
    hop = slurm.run("ssh", NODE, "hostname")
    assert hop.stdout == f"{NODE}\n"  # from the login node, with what is in the home
    log_in(slurm_testbed, "setsid sleep 4711 > /dev/null 2>&1 < /dev/null & exit")
    until(lambda: sleepers(node, "4711"))
    slurm.run("scancel", job)
    until(lambda: not slurm.jobs())
    assert log_in(slurm_testbed, "hostname").returncode == 255
    if slurm.flavour == "cgroup":
        until(lambda: not sleepers(node, "4711"))
    else:
        (left,) = sleepers(node, "4711")
        node.run(["kill", "-KILL", str(inside(left))])
