"""What a run takes beside its events, by steps of a job and over SSH in the same kind of job."""

from __future__ import annotations

import re
import statistics

from lent_runs import CLUSTER

RUNS = 2
MOST = 1.5


def overhead_s(project, name, launch):
    project.edit(f"configs/clusters/{CLUSTER}.yaml", slurm={"launch": launch}, host_key_policy="accept-new")
    code, printed = project.fab(CLUSTER, "--direct", "run", "--experiment", name)
    assert code == 0, printed
    return float(re.search(r"overhead=([\d.]+)s", printed)[1])


def test_steps_cost_little_more_than_ssh(slurm_project):
    """Runs take turns, so that what else this machine does falls on both; the ratio is of medians, and printed."""
    slurm_project.edit("configs/coordinator_config.yaml", probes={"lead_s": 0.5, "trail_s": 0.5})
    seconds = {"ssh": [], "step": []}
    for number in range(RUNS):
        for launch, taken in seconds.items():
            taken.append(overhead_s(slurm_project, f"{launch}.{number}", launch))
    ratio = statistics.median(seconds["step"]) / statistics.median(seconds["ssh"])
    print(f"overhead of a run in s: {seconds}; steps / SSH: {ratio:.2f}")  # noqa: T201 - asked for
    assert ratio <= MOST
