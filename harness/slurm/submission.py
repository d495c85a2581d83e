"""Batch jobs: the same command, with the controller in the job; and what Slurm says of one before it is asked for."""

from __future__ import annotations

import math
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.configuration.slurm import AUTO, seconds
from harness.errors import PreflightError, RunError
from harness.slurm.commands import minutes, request, why_not

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.configuration.cluster import ClusterConfig
    from harness.slurm.commands import Slurm

PARTITION_COLUMNS: Final = ("partition", "up", "time limit", "nodes", "state", "hosts")
_RESTARTS: Final = "SLURM_RESTART_COUNT"
_ARRAY_TASK: Final = "SLURM_ARRAY_TASK_ID"
_START: Final = re.compile(r"to start at (\S+)")


@dataclass(frozen=True)
class Forecast:
    """What Slurm says of a job that nobody asked for yet: its partitions (rows), and when it could start (UTC)."""

    partitions: list[list[str]]
    starts: str | None
    problems: list[str]


def limit_s(config: ClusterConfig, needed_s: float) -> float:
    """Return how long a job is asked for, in s."""
    return needed_s if config.job.time == AUTO else seconds(config.job.time)


def forecast(slurm: Slurm, config: ClusterConfig, needed_s: float, least_s: float) -> Forecast:
    """Ask Slurm when a job for a run that needs so long, and ``least_s`` at least, could start; nothing is queued.

    Raises RunError.
    """
    job, wanted_s = config.job, limit_s(config, needed_s)
    nodes = config.asked_for
    count = nodes if isinstance(nodes, int) else len(nodes)
    told = slurm.run(["sinfo", "--noheader", "--format=%P|%a|%l|%D|%T|%N"]).demand("sinfo", f"{slurm.front.place}: ")
    rows = [line.split("|") for line in told.decode("utf-8", "replace").splitlines()]
    limits_s = {row[0].rstrip("*"): math.inf if row[2] == "infinite" else seconds(row[2]) for row in rows}
    default = [row[0].rstrip("*") for row in rows if row[0].endswith("*")]
    ours = default if job.partition is None else job.partition.split(",")  # of several, Slurm takes what is free first
    problems = []
    if unknown := [name for name in ours if name not in limits_s]:
        problems.append(f"slurm.partition: expected one of {', '.join(limits_s)}, got {', '.join(unknown)}")
    if wanted_s < least_s + job.margin_s:
        run = f"the {least_s:.0f} s of the run and {job.margin_s:.0f} s of margin"
        problems.append(f"slurm.time: expected {run}, got {wanted_s:.0f} s")
    known = [name for name in ours if name in limits_s]
    if known and all(wanted_s > limits_s[name] for name in known):
        most = ", ".join(f"{name} gives {minutes(limits_s[name])}" for name in known)
        problems.append(f"slurm.time: expected to get {minutes(wanted_s)} min, partition {most} min at most")
    if problems:
        return Forecast(rows, None, problems)
    tested = slurm.run(["sbatch", "--test-only", *request(job, nodes, wanted_s), "--wrap", "true"])
    starts = _START.search(tested.stderr + tested.stdout)
    strange = [] if starts is not None or isinstance(nodes, int) else _unknown(slurm, nodes)
    if strange:
        there = ", ".join(dict.fromkeys(row[5] for row in rows if row[5]))
        problems.append(f"nodes: expected hosts among {there}, got {', '.join(strange)}")
    elif starts is None:
        refused = (
            f"expected a time when {count} nodes of the kind that is asked for could be had, got: {why_not(tested)}"
        )
        problems.append(f"sbatch --test-only: {refused}")
    return Forecast(rows, starts[1] if starts else None, problems)


def _unknown(slurm: Slurm, hosts: Sequence[str]) -> list[str]:
    """Return which of some hosts Slurm does not know. Raises RunError."""
    asked = ["sinfo", "--all", "--noheader", "--Node", f"--nodes={','.join(hosts)}", "--format=%N"]
    known = slurm.run(asked).demand("sinfo", f"{slurm.front.place}: ").decode("utf-8", "replace").split()
    return [host for host in hosts if host not in known]


def demand_fit(slurm: Slurm, config: ClusterConfig, needed_s: float, least_s: float) -> None:
    """Raise PreflightError for a job that would wait without end, or be too short for its run."""
    try:
        problems = forecast(slurm, config, needed_s, least_s).problems
    except RunError as error:
        raise PreflightError(str(error)) from error
    if problems:
        raise PreflightError("\n".join(problems))


def submit(
    slurm: Slurm,
    config: ClusterConfig,
    needed_s: float,
    name: str,
    log: Path,
    argv: Sequence[str],
    root: Path,
    tasks: Sequence[int] = (),
) -> str:
    """Put a batch job into the queue that runs ``argv`` in ``root``; return its id. Raises PreflightError.

    The job's shell becomes that program, so that the signal before the job's end is the program's. With ``tasks`` it is
    an array of them, one after the other: two at once would disturb each other at the time servers.
    """
    job = config.job
    words = ["sbatch", "--parsable", f"--job-name={name}", f"--chdir={root}", f"--output={log}", "--open-mode=append"]
    words += [f"--signal=B:TERM@{math.ceil(job.margin_s)}", "--requeue" if job.requeue else "--no-requeue"]
    words += request(job, config.asked_for, limit_s(config, needed_s))
    if tasks:
        # Another array of this sweep is waited for, too: it may be about to make the same runs.
        words += [f"--array={','.join(map(str, tasks))}%1", "--dependency=singleton"]
    script = f"#!/bin/sh\nexec {shlex.join(argv)}\n"
    try:
        result = slurm.run(words, stdin=script.encode())
    except RunError as error:
        raise PreflightError(f"sbatch: {error}") from error
    if result.exit_code != 0:
        raise PreflightError(
            f"sbatch: expected a job for {name}, got: {why_not(result)}; fab check says what would fit"
        )
    return result.stdout.strip().partition(";")[0]


def array_task() -> int | None:
    """Return the number of the array task that this process is part of, None outside one."""
    task = os.environ.get(_ARRAY_TASK, "")
    return int(task) if task.isdecimal() else None


def attempt(name: str) -> tuple[str, str | None]:
    """Return the name of an experiment, and the one that it repeats: a job that was requeued makes a new one."""
    restarts = int(os.environ.get(_RESTARTS) or 0)
    if restarts == 0:
        return name, None
    return f"{name}.a{restarts + 1}", name if restarts == 1 else f"{name}.a{restarts}"
