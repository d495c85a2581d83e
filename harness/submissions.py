"""What a user asks of Slurm beside a run: when could it start, and start it when you can."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import results
from harness.errors import ConfigError, ExperimentExistsError, PreflightError
from harness.planning import RunSpec
from harness.slurm import submission
from harness.slurm.commands import minutes
from harness.slurm.submission import PARTITION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.configuration.cluster import ClusterConfig
    from harness.session import Configs, Session


def forecast(session: Session) -> None:
    """Show the partitions, and when a job for the run could start. Raises PreflightError if none can."""
    config = session.cluster_config()
    session.bundle()
    slurm, _, notes, shared = session.slurm()
    with shared:
        version = slurm.version()
        told = submission.forecast(slurm, config, session.job_s, session.least_s)
    for note in notes:
        session.console.say(f"note: {note}")
    session.console.table(f"{session.cluster_name}: Slurm {version}", PARTITION_COLUMNS, told.partitions)
    asked = minutes(submission.limit_s(config, session.job_s))
    if told.starts is not None:
        session.console.say(f"slurm: a job of {asked} min could start at {told.starts} UTC; this check asked for none")
    session.console.say("nodes and services are checked in the job, before the run starts")
    if told.problems:
        raise PreflightError("\n".join(told.problems))


def submit(session: Session, configs: Configs, name: str | None, options: Sequence[str]) -> None:
    """Queue a batch job that does the whole experiment. Raises ConfigError where it cannot, PreflightError."""
    config = _demand_slurm(session, "experiment")
    name = results.new_name() if name is None else results.valid_name(name)
    if (session.results / name).exists():
        told = f"expected a new name, got one that has {session.results / name}"
        raise ExperimentExistsError(f"experiment {name}: {told}")
    needed_s = RunSpec(name, "", config, configs.coordinator, configs.worker).job_s
    argv = ["experiment", f"--experiment={name}", *map(_absolute, options)]
    job_id = _queue(session, needed_s, name, f"{name}.job.log", argv)
    once = f"fab {session.cluster_name} --direct status --experiment {shlex.quote(name)}"
    session.console.say(f"squeue -j {job_id} says when it runs; from then on: {once}")


def submit_sweep(session: Session, name: str, blocks: Mapping[int, float]) -> None:
    """Queue an array of batch jobs, one for each block of the sweep; ``blocks`` is how long each is to last, in s."""
    _demand_slurm(session, "sweep")
    if not blocks:
        session.console.say(f"sweep {name}: nothing is left to do")
        return
    job_id = _queue(session, max(blocks.values()), name, f"{name}.%a.job.log", ["sweep", name], list(blocks))
    session.console.say(f"squeue -j {job_id}; fab {session.cluster_name} --direct sweep {name} --plan")


def _demand_slurm(session: Session, task: str) -> ClusterConfig:
    """Return the cluster's configuration. Raises ConfigError where no batch job can be made for it here."""
    config, name = session.cluster_config(), session.cluster_name
    if config.scheduler is None:
        told = f"expected a cluster file with scheduler: slurm, got {name}"
        raise ConfigError(f"submit: {told}; fab {name} {task} runs it")
    if config.gateway is not None:
        told = (
            f"expected to be called where Slurm is, got the gateway {config.gateway.host}: the controller is in the job"
        )
        raise ConfigError(f"submit: {told}; log in there and use --direct after the cluster's name")
    results.demand_writable(session.results)
    return config


def _queue(
    session: Session, needed_s: float, name: str, log: str, argv: Sequence[str], tasks: Sequence[int] = ()
) -> str:
    root = session.root.absolute()
    folder = root / results.RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(Path(sys.argv[0]).absolute()), session.cluster_name, "--direct", *argv]
    slurm, _, _, shared = session.slurm()
    with shared, contextlib.ExitStack() as undo:
        config = session.cluster_config()
        slurm.version()
        submission.demand_fit(slurm, config, needed_s, session.least_s)
        if not tasks:  # two jobs of one name would write into each other's log
            undo.callback(_reserved(folder / log, name).unlink)
        job_id = submission.submit(slurm, config, needed_s, name, folder / log, words, root, tasks)
        undo.pop_all()
    session.console.say(f"submitted job={job_id} name={name} log={folder / log}")
    return job_id


def _reserved(log: Path, name: str) -> Path:
    """Return a job's log, made now. Raises ExperimentExistsError where there is one: the experiment was submitted."""
    try:
        log.touch(exist_ok=False)
    except FileExistsError:
        told = f"expected a new name, got one that was submitted already ({log}); squeue --name={name} says what became"
        raise ExperimentExistsError(f"experiment {name}: {told} of it") from None
    return log


def _absolute(option: str) -> str:
    name, _, value = option.partition("=")
    return f"{name}={os.path.abspath(value)}"  # noqa: PTH100 - of a file as it was named, links and all
