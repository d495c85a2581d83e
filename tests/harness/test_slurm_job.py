"""A job as its run sees it: over or not, why, and what can still be done; with Slurm's commands as small programs."""

from __future__ import annotations

import os

import fake_slurm
import pytest

from harness.errors import AllocationError, LostError, PreflightError, UnreachableError
from harness.planning import within


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give the folder of the commands; the node's home is ``home`` beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "front").mkdir()
    fake_slurm.make(tmp_path / "bin", tmp_path / "home")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "bin"


@pytest.fixture
def node(folder):
    return fake_slurm.remote("n1", folder.parent / "home")


@pytest.mark.parametrize("state", ["CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "PENDING", "COMPLETED"])
def test_a_job_that_is_over_is_named(node, folder, state):
    """PENDING is one that was put back into the queue: its nodes are gone as well."""
    node._job.demand()
    fake_slurm.set_state(folder, state)
    node._job.demand()  # not asked again so soon
    node._job.look()
    with pytest.raises(AllocationError, match=f"^job 7 {state}$"):
        node._job.demand()
    assert node._job.remarks(run_over=False) == [f"job 7 {state}"]
    assert node._job.remarks(run_over=True) == []


def test_the_manifest_tells_times_of_a_job_as_its_own_which_are_utc(node, folder):
    described = node._job.described()
    assert described["submitted_utc"] == described["started_utc"] == "2026-01-01T00:00:00Z"
    assert described["ends_utc"] == "2026-01-01T01:00:00Z"
    squeue = folder / "squeue"
    squeue.write_text(squeue.read_text().replace("2026-01-01T01:00:00", "NONE"))
    node._job.look()
    assert node._job.described()["ends_utc"] == "NONE"


def test_a_job_that_ends_keeps_the_nodes_that_it_had(node, folder):
    """While it ends, Slurm names only those that have something of it left."""
    squeue = folder / "squeue"
    squeue.write_text(squeue.read_text().replace("|n1|", "|n[1-3]|"))
    node._job.look()
    assert node._job.described()["nodes"] == ["n1", "n2", "n3"]
    squeue.write_text(squeue.read_text().replace("|n[1-3]|", "|n2|").replace("RUNNING", "COMPLETING"))
    node._job.look()
    assert node._job.described()["nodes"] == ["n1", "n2", "n3"]


@pytest.mark.parametrize("state", ["RUNNING", "CONFIGURING", "SIGNALING"])
def test_a_job_that_goes_on(node, folder, state):
    fake_slurm.set_state(folder, state)
    node._job.look()
    node._job.demand()
    assert node._job.remarks(run_over=False) == []


def test_a_suspended_job_goes_on_and_is_remembered(node, folder):
    fake_slurm.set_state(folder, "SUSPENDED")
    node._job.look()
    node._job.demand()
    fake_slurm.set_state(folder, "RUNNING")
    assert node._job.remarks(run_over=True) == ["job 7 was SUSPENDED"]
    assert node._job.described()["suspended"]


def test_a_job_that_slurm_has_forgotten(node, folder):
    """Where accounts are kept they say how it ended."""
    (folder / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n")
    node._job.look()
    assert node._job.ending() == "job 7 no longer known to Slurm"
    (folder / "sacct").write_text("#!/bin/sh\necho CANCELLED by 1000\n")
    assert node._job.slurm.accounted_state("7") == "CANCELLED"


def test_a_slurm_that_does_not_answer_changes_nothing(node, folder):
    (folder / "squeue").write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n"
    )
    node._job.look()
    node._job.demand()
    assert not node._job.over


def test_once_it_is_over_shared_files_are_seen_at_the_front(node, folder):
    node.write("~/file", b"x", 0o600)
    fake_slurm.set_state(folder, "CANCELLED")
    node._job.look()
    (folder / "srun").write_text("#!/bin/sh\nexit 1\n")
    assert node.read("~/file") == b"x"
    assert node.ask("cat file") == "x"


def test_once_it_is_over_a_node_s_own_files_are_out_of_reach(folder):
    node = fake_slurm.remote("n1", folder.parent / "front")
    node.write("~/file", b"x", 0o600)
    fake_slurm.set_state(folder, "CANCELLED")
    node._job.look()
    with pytest.raises(UnreachableError, match=r"^n1: its files are the node's own, and its job is over$"):
        node.read("~/file")


def test_a_step_that_cannot_be_started_is_told_with_slurm_s_words(node, folder):
    (folder / "srun").write_text("#!/bin/sh\necho 'srun: error: Unable to create step for job 7: no' >&2\nexit 1\n")
    with pytest.raises(
        UnreachableError, match=r"n1: expected a step on n1 \(job 7\), got: srun: error: Unable to create"
    ):
        node.ask("true")


def test_an_output_whose_end_is_lost_is_no_answer(node, folder):
    """Under load srun loses the end of what a step said, and may end with 0."""
    whole = (folder / "srun").read_text().replace('exec "$@"', '"$@" | head -c 60')
    (folder / "srun").write_text(whole)
    with pytest.raises(LostError, match="a step was cut off: srun lost the end of its output"):
        node.ask("seq 1000")


def test_leases_end_before_the_job(node):
    """``within`` is asked with no plan here: what it refuses is a run that is longer than the job."""

    class Spec:
        least_s = 500.0

    assert within(node._job, Spec(), {}) == {}
    Spec.least_s = 700.0
    with pytest.raises(
        PreflightError, match=r"^job 7 has 600 s left, 1 s of it margin: expected the 700 s of the run, got 599 s$"
    ):
        within(node._job, Spec(), {})
