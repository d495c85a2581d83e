"""Whole runs on nodes that Slurm lends: allocated, in an allocation, submitted, preempted and begun again."""

from __future__ import annotations

import json
import re
import signal

import pytest
import yaml
from lent_runs import CLUSTER, NODES, LentRun, await_true
from project_folder import Project

from harness.localcluster.processes import descendants, kill_all

# How Slurm tracks processes matters to what ends, not to these.
ONE_FLAVOUR = pytest.mark.parametrize("slurm_testbed", ["linuxproc"], indirect=True)


@pytest.fixture
def name(request):
    return f"{request.node.originalname}.{request.node.callspec.id}"


@pytest.fixture
def lent(slurm_project, name):
    return LentRun(slurm_project, name)


def test_from_the_login_node(lent):
    """A job is allocated, used and released; the manifest says which; it is collected once more without a job."""
    fab, testbed = lent.project.fab, lent.testbed
    code, printed = fab(CLUSTER, "--direct", "experiment", "--experiment", lent.name)
    assert code == 0, printed
    assert "report: " in printed
    job = lent.manifest["job"]
    assert (job["state"], job["partition"], job["nodes"], job["restarts"]) == ("RUNNING", "compute", list(NODES), 0)
    assert job["allocated_by_us"]
    assert job["slurm_version"].count(".") == 2
    assert testbed.slurm.jobs().keys() <= {job["id"]}  # at most COMPLETING
    before = lent.manifest
    code, printed = fab("collect", "--experiment", lent.name)
    assert code == 0, printed
    assert lent.manifest["outcome"] == "ok", lent.manifest["problems"]
    assert lent.manifest["job"] == before["job"]
    for command in ("status", "logs", "stop"):
        code, printed = fab(command, "--experiment", lent.name)
        assert code == 0, printed
    code, printed = fab("clean", "--yes", "--experiment", lent.name)
    assert code == 0, printed
    assert not lent.on_node(NODES[0]).exists()
    assert testbed.slurm.jobs() == {}  # no other job was asked for


def test_in_an_allocation(lent):
    """The job that the user has is used, and is still there afterwards."""
    words = ["sh", "-c", f"fab {CLUSTER} experiment --experiment {lent.name}; code=$?; squeue -h -o %T; exit $code"]
    code, printed = lent.project.in_allocation_of(*words)
    assert code == 0, printed
    assert "RUNNING" in printed.splitlines()
    assert lent.manifest["outcome"] == "ok"
    assert not lent.manifest["job"]["allocated_by_us"]


def test_submitted(lent):
    """The terminal is free at once; the controller is in the job, and so is what it says."""
    code, printed = lent.project.fab(CLUSTER, "--direct", "submit", "--experiment", lent.name)
    assert code == 0, printed
    log = lent.project.path / f"results/{lent.name}.job.log"
    await_true(lambda: log.exists() and "report: " in log.read_text(), "report of the batch job")
    assert lent.manifest["outcome"] == "ok"
    assert f"submitted job={lent.job_id}" in printed
    code, again = lent.project.fab(CLUSTER, "--direct", "submit", "--experiment", lent.name)
    assert code == 2, again
    assert "expected a new name, got one that has results/" in again
    await_true(lambda: not lent.testbed.slurm.jobs(), "end of the job")


def test_preempted_and_begun_again(lent):
    """What there was is collected within the grace; the job begins again as an experiment that names the first."""
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"partition": "scavenge", "requeue": True})
    lent.long(1)
    code, printed = lent.project.fab(CLUSTER, "--direct", "submit", "--experiment", lent.name)
    assert code == 0, printed
    lent.await_middle()
    job_id = lent.job_id
    words = ["sbatch", "--parsable", "--nodes=3", "--exclusive", "--wrap", "sleep 5"]
    preempting = lent.testbed.slurm.run(*words).stdout
    await_true(lambda: lent.manifest["outcome"] is not None, "outcome of the preempted run")
    lent.demand_no_agents()
    assert lent.manifest["problems"][0] == f"job {job_id} PREEMPTED"
    assert lent.manifest["outcome"] == "failed"
    lent.demand_whole()
    await_true(lambda: preempting.strip() not in lent.testbed.slurm.jobs(), "end of the job that preempted")
    again = LentRun(lent.project, f"{lent.name}.a2")
    again.await_middle()
    assert again.manifest["predecessor"] == lent.name
    assert again.manifest["job"]["id"] == job_id
    assert again.manifest["job"]["restarts"] == 1


@ONE_FLAVOUR
def test_check_without_a_job(slurm_project):
    """Slurm says when a job could start; what cannot fit is refused, both numbers named."""
    code, printed = slurm_project.fab(CLUSTER, "--direct", "check")
    assert code == 0, printed
    assert "compute" in printed
    assert "could start at" in printed
    slurm_project.edit("configs/coordinator_config.yaml", experiment={"num_events": 100, "duration_minutes": 600})
    code, printed = slurm_project.fab(CLUSTER, "--direct", "check")
    assert code == 3, printed
    assert re.search(r"slurm.time: expected to get \d+ min, partition compute gives 120 min at most", printed)
    slurm_project.edit("configs/coordinator_config.yaml", experiment={"num_events": 20, "duration_minutes": None})
    slurm_project.edit(f"configs/clusters/{CLUSTER}.yaml", nodes=4)
    code, printed = slurm_project.fab(CLUSTER, "--direct", "check")
    assert code == 3, printed
    assert "Requested node configuration is not available" in printed
    slurm_project.edit(f"configs/clusters/{CLUSTER}.yaml", nodes="ares-comp-[11-13]")
    code, printed = slurm_project.fab(CLUSTER, "--direct", "check")
    assert code == 3, printed
    assert "nodes: expected hosts among ares-comp-[11-12,18], got ares-comp-13" in printed


@ONE_FLAVOUR
def test_a_name_that_is_queued_already(lent):
    """Two jobs would write into one log; what Slurm refuses leaves no name behind."""
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"options": {"account": "x", "hold": True}})
    words = (CLUSTER, "--direct", "submit", "--experiment", lent.name)
    assert lent.project.fab(*words)[0] == 0
    code, printed = lent.project.fab(*words)
    assert code == 2, printed
    assert f"experiment {lent.name}: expected a new name, got one that was submitted already" in printed
    assert list(lent.testbed.slurm.jobs().values()) == ["PENDING"]


@ONE_FLAVOUR
def test_one_chain_with_two_jobs(lent):
    """After a look at an experiment whose job is over, a deployment has a job of its own."""
    assert lent.project.fab(CLUSTER, "--direct", "run", "--experiment", lent.name)[0] == 0
    second = f"{lent.name}.next"
    words = ("collect", "--experiment", lent.name, "deploy", "--experiment", second, "run", "--experiment", second)
    code, printed = lent.project.fab(CLUSTER, "--direct", *words)
    assert code == 0, printed
    next_run = LentRun(lent.project, second)
    assert next_run.manifest["outcome"] == "ok"
    assert next_run.job_id != lent.job_id
    await_true(lambda: not lent.testbed.slurm.jobs(), "release of both")


@ONE_FLAVOUR
def test_a_plan_that_is_longer_than_the_job(lent):
    """It is refused before anything is started, both numbers named."""
    lent.long(3)
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"margin_s": 20.0, "time": "2"})
    code, printed = lent.project.fab(CLUSTER, "--direct", "run", "--experiment", lent.name)
    assert code == 3, printed
    assert "slurm.time: expected the 182 s of the run and 20 s of margin, got 120 s" in printed
    code, printed = lent.project.in_allocation(CLUSTER, "run", "--experiment", lent.name, salloc=("-N3", "--time=2"))
    assert code == 3, printed
    assert re.search(r"job \d+ has \d+ s left, 20 s of it margin: expected the 182 s of the run, got \d+ s", printed)
    assert not lent.home.exists()
    await_true(lambda: not lent.testbed.slurm.jobs(), "release of the job")


@ONE_FLAVOUR
def test_a_killed_controller(lent):
    """Its agents go on; the next process waits for their end, collects, and gives the job back that nobody has now."""
    lent.begin(minutes=1.5)
    lent.kill_controller()
    code, printed = lent.project.fab("status", "--experiment", lent.name)
    assert code == 0, printed
    assert "alive" in printed
    assert lent.testbed.slurm.jobs() == {lent.job_id: "RUNNING"}
    code, printed = lent.project.fab("collect", "--experiment", lent.name)
    assert code == 0, printed
    assert "still running nodes=" in printed
    assert lent.manifest["outcome"] == "ok", lent.manifest["problems"]
    await_true(lambda: not lent.testbed.slurm.jobs(), "release of the job")


@ONE_FLAVOUR
def test_a_terminal_that_ends(lent):
    """SIGHUP is Ctrl-C where nodes are lent: the agents are stopped, all is collected, the job given back."""
    lent.begin()
    kill_all(descendants(lent.process.pid), signal.SIGHUP)
    code, printed = lent.end()
    assert code == 130, printed
    assert lent.manifest["problems"][0] == "interrupted"
    lent.demand_whole()
    lent.demand_no_agents()
    await_true(lambda: not lent.testbed.slurm.jobs(), "release of the job")


@ONE_FLAVOUR
def test_no_nodes_in_time(lent):
    """Nobody waits without end, and nothing is left in the queue."""
    lent.testbed.slurm.run("sbatch", "--nodes=3", "--exclusive", "--time=5", "--wrap", "sleep 60")
    await_true(lambda: "RUNNING" in lent.testbed.slurm.jobs().values(), "another's job")
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"wait_s": 2.0})
    code, printed = lent.project.fab(CLUSTER, "--direct", "run", "--experiment", lent.name)
    assert code == 8, printed
    assert "within 2 s" in printed
    assert list(lent.testbed.slurm.jobs().values()) == ["RUNNING"]


def sweep_of(project, name, repeats):
    """Write a sweep of two cells."""
    vary = {"worker.timing.commit_wait_delays": [[0.2], [0.3]]}
    told = {"base": "configs", "vary": vary, "repeats": repeats, "seed": 7}
    (project.path / f"configs/sweeps/{name}.yaml").write_text(yaml.safe_dump(told))
    project.edit("configs/coordinator_config.yaml", probes={"lead_s": 1, "trail_s": 1})


def runs_of(project, name):
    return {
        path.parent.name: json.loads(path.read_text())
        for path in sorted((project.path / "results").glob(f"{name}.c*/manifest.json"))
    }


@ONE_FLAVOUR
def test_a_sweep_has_a_job_for_each_block(slurm_project):
    """All cells of a block have the same job, so the same nodes; interrupted, the same call goes on."""
    sweep_of(slurm_project, "blocks", 2)
    code, printed = slurm_project.fab(CLUSTER, "--direct", "sweep", "blocks")
    assert code == 0, printed
    runs = runs_of(slurm_project, "blocks")
    assert len(runs) == 4
    assert {manifest["outcome"] for manifest in runs.values()} == {"ok"}
    jobs = {repeat: {run["job"]["id"] for name, run in runs.items() if f".r0{repeat}" in name} for repeat in (1, 2)}
    assert [len(ids) for ids in jobs.values()] == [1, 1]
    assert jobs[1] != jobs[2]


@ONE_FLAVOUR
def test_a_sweep_as_an_array_of_jobs(slurm_project):
    """Each task is a block; they are one after the other."""
    sweep_of(slurm_project, "array", 2)
    code, printed = slurm_project.fab(CLUSTER, "--direct", "sweep", "array", "--submit")
    assert code == 0, printed
    await_true(lambda: not slurm_project.testbed.slurm.jobs(), "end of the array")
    runs = runs_of(slurm_project, "array")
    assert len(runs) == 4, (slurm_project.path / "results/array.1.job.log").read_text()
    assert {manifest["outcome"] for manifest in runs.values()} == {"ok"}
    assert {name[-3:]: run["job"]["array_task"] for name, run in runs.items()} == {"r01": "1", "r02": "2"}


@ONE_FLAVOUR
@pytest.mark.parametrize("base", ["/tmp/own", "$TMPDIR/own"], ids=["absolute", "variable"])  # noqa: S108 - the hosts' own
def test_run_folders_that_are_the_nodes_own(lent, base):
    """Where nobody else sees a node's files, what it says goes by its step, and all of it home before the release."""
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", remote_base=base)
    code, printed = lent.project.fab(CLUSTER, "--direct", "run", "--experiment", lent.name, TMPDIR="/var/tmp")  # noqa: S108
    assert code == 0, printed
    assert "ares-comp-11 phase=finished" in printed
    manifest = lent.manifest
    assert manifest["outcome"] == "ok"
    assert {node["collected_by"] for node in manifest["nodes"].values()} == {"steps"}
    assert manifest["job"]["shared_files"] == dict.fromkeys(NODES, False)
    code, printed = lent.project.fab("collect", "--experiment", lent.name)
    assert code == 0, printed
    assert lent.manifest["outcome"] == "ok"


@ONE_FLAVOUR
def test_over_ssh_in_the_job(lent):
    """Nodes that let in who has a job there may be reached by SSH."""
    hosts = {"host_key_policy": "accept-new", "remote_base": "~/chronotick-harness"}
    lent.project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"launch": "ssh"}, **hosts)
    code, printed = lent.project.fab(CLUSTER, "--direct", "run", "--experiment", lent.name)
    assert code == 0, printed
    assert "by=rsync" in printed
    assert lent.manifest["job"]["nodes"] == list(NODES)


@ONE_FLAVOUR
def test_from_a_laptop(slurm_testbed, tmp_path):
    """Through the gateway by SSH alone: the job is asked for there, and its nodes need no login."""
    project = Project(tmp_path / "a project", slurm_testbed.ssh_config)
    try:
        code, printed = project.fab(CLUSTER, "check")
        assert code == 0, printed
        assert "could start at" in printed
        code, printed = project.fab(CLUSTER, "run", "--experiment", "laptop")
        assert code == 0, printed
        manifest = json.loads((project.path / "results/laptop/manifest.json").read_text())
        assert manifest["outcome"] == "ok"
        assert {node["collected_by"] for node in manifest["nodes"].values()} == {"rsync"}
        await_true(lambda: not slurm_testbed.slurm.jobs(), "release of the job")
        code, printed = project.fab(CLUSTER, "submit")
        assert code == 2, printed
        assert "submit: expected to be called where Slurm is, got the gateway ares" in printed
    finally:
        project.end()
