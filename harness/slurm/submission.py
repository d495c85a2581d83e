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
from harness.slurm.commands import request, why_not

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
    nodes = config.node_count or [node.host for node in config.nodes]
    count = nodes if isinstance(nodes, int) else len(nodes)
    told = slurm.run(["sinfo", "--noheader", "--format=%P|%a|%l|%D|%T|%N"]).demand("sinfo", f"{slurm.front.place}: ")
    rows = [line.split("|") for line in told.decode("utf-8", "replace").splitlines()]
    ours = [row for row in rows if row[0] == job.partition or (job.partition is None and row[0].endswith("*"))]
    problems = []
    if job.partition is not None and not any(row[0].rstrip("*") == job.partition for row in rows):
        there = ", ".join(dict.fromkeys(row[0].rstrip("*") for row in rows))
        problems.append(f"slurm.partition: expected one of {there}, got {job.partition}")
    if wanted_s < least_s + job.margin_s:
        run = f"the {least_s:.0f} s of the run and {job.margin_s:.0f} s of margin"
        problems.append(f"slurm.time: expected {run}, got {wanted_s:.0f} s")
    for row in ours:
        most_s = math.inf if row[2] == "infinite" else seconds(row[2])
        if wanted_s > most_s:
            name = row[0].rstrip("*")
            problems.append(f"partition {name}: expected to get {wanted_s / 60:.0f} min, its limit is {row[2]}")
            break
    tested = slurm.run(["sbatch", "--test-only", *request(job, nodes, wanted_s), "--wrap", "true"])
    starts = _START.search(tested.stderr + tested.stdout)
    if starts is None:
        refused = (
            f"expected a time when {count} nodes of the kind that is asked for could be had, got: {why_not(tested)}"
        )
        problems.append(f"sbatch --test-only: {refused}")
    return Forecast(rows, starts[1] if starts else None, problems)


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
    nodes = config.node_count or [node.host for node in config.nodes]
    words = ["sbatch", "--parsable", f"--job-name={name}", f"--chdir={root}", f"--output={log}", "--open-mode=append"]
    words += [f"--signal=B:TERM@{math.ceil(job.margin_s)}", "--requeue" if job.requeue else "--no-requeue"]
    words += request(job, nodes, limit_s(config, needed_s))
    if tasks:
        words.append(f"--array={','.join(map(str, tasks))}%1")
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
