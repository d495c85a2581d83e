"""The nodes of a cluster file that names Slurm: those of the job we are in, of a recorded one, or of a new one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from harness.cluster import Cluster
from harness.configuration.cluster import NodeConfig
from harness.configuration.slurm import nodes_of
from harness.errors import PreflightError, RunError
from harness.planning import remote_base
from harness.slurm.commands import minutes
from harness.slurm.job import Job, finished
from harness.slurm.remote import SlurmRemote
from harness.slurm.submission import demand_fit, limit_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.configuration.cluster import ClusterConfig
    from harness.remote import Remote
    from harness.slurm.commands import Slurm

JOB_VARIABLES = ("SLURM_JOB_ID", "SLURM_JOBID")


def job_we_are_in() -> str | None:
    """Return the id of the job that this process is part of, None outside one."""
    return next((value for name in JOB_VARIABLES if (value := os.environ.get(name))), None)


def find_job(
    config: ClusterConfig,
    slurm: Slurm,
    needed_s: float,
    least_s: float,
    recorded: dict[str, Any] | None,
    say: Callable[[str], None],
) -> Job:
    """Return the job to work with: the ``recorded`` one, the one we are in, else a new one that lasts ``needed_s``.

    A run in it takes ``least_s``.

    Raises PreflightError where there is no Slurm or it refuses, AllocationError where it gives no nodes in time.
    """
    wanted, inside, version = config.job, job_we_are_in(), slurm.version()
    if recorded is not None and recorded["id"] != inside:
        known = slurm.job(recorded["id"]) or finished(recorded)
        given = {"ours": False, "margin_s": wanted.margin_s, "options": recorded["options"], "recorded": recorded}
        return Job(slurm, known, version, **given)
    with ExitStack() as undo:
        if inside is None:
            demand_fit(slurm, config, needed_s, least_s)
            limit = limit_s(config, needed_s)
            say(f"slurm: asking for a job of {minutes(limit)} min; waiting up to {wanted.wait_s:g} s")
            job_id = slurm.allocate(wanted, config.asked_for, limit)
            undo.callback(slurm.cancel, job_id)
        else:
            job_id = inside
        try:
            facts = slurm.job(job_id)
        except RunError as error:
            raise PreflightError(str(error)) from error
        if facts is None:
            told = "expected Slurm to know it, it does not; is SLURM_JOB_ID of another cluster?"
            raise PreflightError(f"job {job_id}: {told}")
        undo.pop_all()
    given = {"ours": inside is None, "margin_s": wanted.margin_s, "options": wanted.model_dump(mode="json")}
    return Job(slurm, facts, version, **given, inside=inside is not None)


def on_nodes_of(config: ClusterConfig, job: Job) -> ClusterConfig:
    """Return the cluster with the job's nodes, all or those that its file names.

    Raises PreflightError if it lacks some.
    """
    hosts = list(job.facts.hosts)
    if config.node_count is not None and not config.nodes:
        if len(hosts) < config.node_count:
            there = ", ".join(hosts) or "none"
            raise PreflightError(f"{job.name}: expected {config.node_count} nodes (nodes:), got {len(hosts)}: {there}")
        told = nodes_of(hosts[: config.node_count], None, config.address)
        return config.model_copy(update={"nodes": [NodeConfig.model_validate(node) for node in told]})
    if missing := [node.host for node in config.nodes if node.host not in hosts]:
        there = ", ".join(hosts) or "none"
        advice = "name those, or their number, as `nodes:`; or allocate with --nodelist"
        raise PreflightError(f"{job.name}: expected it to have {', '.join(missing)}, got {there}; {advice}")
    return config


def connect(
    config: ClusterConfig, job: Job, fronts: Callable[[str], Remote], notes: Sequence[str], shared: ExitStack
) -> Cluster:
    """Return the cluster whose nodes are reached by steps of the job; each has a way of its own to the front."""
    remotes = [
        SlurmRemote(node.id, node.host, fronts(node.id), job, remote_base(config), config.setup)
        for node in config.nodes
    ]
    return Cluster(config, remotes, notes, shared, job)
