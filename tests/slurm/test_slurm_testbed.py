"""The testbed's Slurm itself: what a cluster does to its users, in both ways of tracking their processes."""

from __future__ import annotations


def test_three_nodes_are_idle_and_run_a_job(slurm_testbed):
    """All nodes are idle, and a step runs on each."""
    slurm = slurm_testbed.slurm
    assert slurm.states() == dict.fromkeys(slurm.nodes, "idle")
    assert sorted(slurm.run("srun", "--nodes=3", "hostname").stdout.split()) == sorted(slurm.nodes)


def test_fab_in_the_shared_home(slurm_project, slurm_testbed):
    """On the login node and on a node ``fab`` lists its tasks."""
    for host in (slurm_testbed.gateway, slurm_testbed.hosts["ares-comp-11"]):
        code, printed = slurm_project.on(host, "--list")
        assert code == 0, printed
        assert "testbed-up" in printed
    code, printed = slurm_project.in_allocation("--list")
    assert code == 0, printed
