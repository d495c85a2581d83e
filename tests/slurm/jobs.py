"""Jobs that tests begin on the testbed's Slurm, and waiting for what becomes of them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.testbed.namespace_host import NamespaceHost
    from harness.testbed.slurm.cluster import SlurmCluster

NODE = "ares-comp-11"
T = TypeVar("T")


def until(condition: Callable[[], T], timeout_s: float = 250) -> T:
    """Return what a condition gives as soon as it gives anything."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


def allocate(slurm: SlurmCluster, *options: str) -> str:
    """Return the id of a job that is nothing but an allocation, on one node unless told otherwise."""
    said = slurm.run("salloc", "--no-shell", f"--nodelist={NODE}", *options).stderr
    (job,) = re.findall(r"Granted job allocation (\d+)", said)
    return job


def submit(slurm: SlurmCluster, script: str, *options: str) -> str:
    """Return the id of a batch job, its output in job.out of the home."""
    said = slurm.run("sbatch", "--parsable", "--output=job.out", "--open-mode=append", *options, f"--wrap={script}")
    return said.stdout.strip()


def sleepers(host: NamespaceHost, seconds: str) -> list[int]:
    """Return the processes on a host that sleep so many seconds."""
    return [pid for pid, words in host.processes().items() if words[-2:] == ["sleep", seconds]]


def inside(pid: int) -> int:
    """Return the id that a process has on its own host."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:"))
    return int(line.split()[-1])
