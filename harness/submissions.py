"""What a user asks of Slurm beside a run: when could it start, and start it when you can."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import results
from harness.errors import ConfigError, ExperimentExistsError, PreflightError
from harness.planning import RunSpec
from harness.slurm import submission
from harness.slurm.submission import PARTITION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.session import Configs, Session


def forecast(session: Session) -> None:
    """Show the partitions, and when a job for the run could start. Raises PreflightError if none can."""
    config = session.cluster_config()
    slurm, _, notes, shared = session.slurm()
    with shared:
        version = slurm.version()
        told = submission.forecast(slurm, config, session.job_s)
    for note in notes:
        session.console.say(f"note: {note}")
    session.console.table(f"{session.cluster_name}: Slurm {version}", PARTITION_COLUMNS, told.partitions)
    minutes = submission.limit_s(config, session.job_s) / 60
    if told.starts is not None:
        session.console.say(f"slurm: a job of {minutes:.0f} min could start at {told.starts} UTC; nothing was queued")
    session.console.say("nodes and services are checked in the job, before the run starts")
    if told.problems:
        raise PreflightError("\n".join(told.problems))


def submit(session: Session, configs: Configs, name: str | None, options: Sequence[str]) -> None:
    """Queue a batch job that does the whole experiment. Raises ConfigError where it cannot, PreflightError."""
    config = session.cluster_config()
    if config.scheduler is None:
        told = "expected a cluster file with scheduler: slurm"
        raise ConfigError(f"submit: {told}, got {session.cluster_name}; fab {session.cluster_name} experiment runs it")
    if config.gateway is not None:
        where = (
            f"expected to be called where Slurm is, got a gateway ({config.gateway.host}): the controller is in the job"
        )
        raise ConfigError(f"submit: {where}; log in there, or there use --direct after the cluster's name")
    name = results.new_name() if name is None else results.valid_name(name)
    if (session.results / name).exists():
        raise ExperimentExistsError(
            f"experiment {name}: expected a new name, got one that has {session.results / name}"
        )
    results.demand_writable(session.results)
    needed_s = RunSpec(name, "", config, configs.coordinator, configs.worker).job_s
    folder = session.root.absolute() / results.RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.job.log"
    fab = str(Path(sys.argv[0]).absolute())
    absolute = [_absolute(option) for option in options]
    argv = [fab, session.cluster_name, "--direct", "experiment", f"--experiment={name}", *absolute]
    slurm, _, _, shared = session.slurm()
    with shared:
        job_id = submission.submit(slurm, config, needed_s, name, log, argv, session.root.absolute())
    session.console.say(f"submitted job={job_id} experiment={name} log={log}")
    session.console.say(f"squeue -j {job_id}; fab {session.cluster_name} status --experiment {shlex.quote(name)}")


def _absolute(option: str) -> str:
    name, _, value = option.partition("=")
    return f"{name}={os.path.abspath(value)}"  # noqa: PTH100 - of a file as it was named, links and all
