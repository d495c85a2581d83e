"""What is asked of Slurm, by its commands on the host where they are (the login node, or a node of the job)."""

from __future__ import annotations

import math
import re
import secrets
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.configuration.slurm import hosts_in, seconds
from harness.errors import AllocationError, HarnessError, PreflightError, RemoteCommandError, RunError, last_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.configuration.slurm import SlurmConfig
    from harness.remote import Remote, Result

ASK_TIMEOUT_S: Final = 30.0
GRANT_SLACK_S: Final = 30.0  # beyond the wait itself: salloc sets the nodes up before it returns
NO_END: Final = ("UNLIMITED", "NOT_SET", "INVALID", "N/A")
_PLAIN: Final = "env TZ=UTC0 SLURM_TIME_FORMAT=standard LC_ALL=C"  # of dates, and of words that are looked for
_FIELDS: Final = (
    "JobID", "State", "Reason", "TimeLeft", "NodeList", "Partition", "Account", "SubmitTime", "StartTime", "EndTime",
    "RestartCnt", "ArrayTaskID", "Feature", "UserName",
)  # fmt: skip
_WIDTH: Final = 2000  # of each, in letters
_GRANTED: Final = re.compile(r"Granted job allocation (\d+)")
_SAID_BY: Final = re.compile(r"^((salloc|sbatch|srun): (error: )?|allocation failure: )")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_KEY_VALUE: Final = re.compile(r"(\w[\w/:]*)=(\S*)")


@dataclass(frozen=True)
class JobFacts:
    """What Slurm says of a job now: its state, the time left (s, None: no limit), times as the manifest tells them."""

    job_id: str
    state: str
    reason: str
    left_s: float | None
    hosts: tuple[str, ...]
    partition: str
    account: str
    submitted: str
    started: str
    ends: str
    restarts: int
    array_task: str | None


def _utc(text: str) -> str:
    """Return a time that Slurm told in UTC as the manifest tells times; where there is none its word for that."""
    return f"{text}Z" if _TIME.fullmatch(text) else text


class Slurm:
    """The commands of Slurm on one host."""

    def __init__(self, front: Remote) -> None:
        self.front = front

    def version(self) -> str:
        """Return Slurm's version, as ``22.05.8``. Raises PreflightError where there is no Slurm, or no way to it."""
        try:
            result = self.run(["srun", "--version"])
        except RunError as error:
            raise PreflightError(str(error)) from error
        if result.exit_code != 0:
            why = last_line(result.stderr or result.stdout, "no message")
            advice = "name the login node as `gateway:` in the cluster file, or run fab there"
            raise PreflightError(f"slurm: expected its commands at {self.front.place}, got: {why}; {advice}")
        return result.stdout.split()[-1]

    def job(self, job_id: str) -> JobFacts | None:
        """Return what squeue says of a job, None if Slurm knows it no more. Raises RunError if it does not answer."""
        form = ",".join(f"{name}:{_WIDTH}|" for name in _FIELDS)
        words = ["squeue", "--noheader", "--states=all", f"--jobs={job_id}", f"--Format={form}"]
        result = self.run(words)
        if result.exit_code != 0 and "Invalid job id" in result.stderr:
            return None
        lines = result.demand("squeue", f"{self.front.place}: ").decode("utf-8", "replace").splitlines()
        rows = [dict(zip(_FIELDS, map(str.strip, line.split("|")), strict=False)) for line in lines]
        # An array has the id of one of its tasks, and its id means all of them.
        cells = next((row for row in rows if row["JobID"] == job_id), None)
        if cells is None:
            return None
        try:
            array_task = cells["ArrayTaskID"]
            return JobFacts(
                cells["JobID"],
                cells["State"],
                cells["Reason"],
                None if cells["TimeLeft"] in NO_END else seconds(cells["TimeLeft"]),
                tuple(hosts_in(cells["NodeList"])) if cells["NodeList"] else (),
                cells["Partition"],
                "" if cells["Account"] == "(null)" else cells["Account"],
                _utc(cells["SubmitTime"]),
                _utc(cells["StartTime"]),
                _utc(cells["EndTime"]),
                int(cells["RestartCnt"] or 0),
                None if array_task in NO_END else array_task,
            )
        except (KeyError, ValueError) as error:
            told = f"expected one line of {len(_FIELDS)} fields, got {lines[0][:200]!r} ({error})"
            raise RemoteCommandError(f"{self.front.place}: squeue: {told}") from error

    def accounted_state(self, job_id: str) -> str | None:
        """Return how a job that squeue has forgotten ended, where Slurm keeps accounts; else None."""
        words = ["sacct", "--noheader", "--allocations", f"--jobs={job_id}", "--format=State", "--parsable2"]
        result = self.run(words)
        said = result.stdout.split()  # "CANCELLED by 1000" is one state
        return said[0] if result.exit_code == 0 and said else None

    def details(self, job_id: str) -> dict[str, str]:
        """Return what ``scontrol show job`` says, by its own names; empty where it knows the job no more."""
        result = self.run(["scontrol", "--oneliner", "show", "job", job_id])
        return dict(_KEY_VALUE.findall(result.stdout)) if result.exit_code == 0 else {}

    def down_among(self, hosts: Sequence[str]) -> list[str]:
        """Return those of these hosts that are down, as sinfo sees it."""
        result = self.run(["sinfo", "--noheader", "--Node", f"--nodes={','.join(hosts)}", "--format=%N %T"])
        rows = [line.split() for line in result.stdout.splitlines()]
        return sorted({name for name, *state in rows if state and state[0].startswith("down")})

    def allocate(self, config: SlurmConfig, nodes: Sequence[str] | int, limit_s: float) -> str:
        """Return the id of a job that ``salloc`` was granted.

        Raises PreflightError where Slurm refuses it, AllocationError where it is not there within ``config.wait_s``.
        """
        name = f"chronotick-{secrets.token_hex(4)}"
        words = ["salloc", "--no-shell", f"--job-name={name}", f"--immediate={math.ceil(config.wait_s)}"]
        words += request(config, nodes, limit_s)
        begin = time.monotonic()
        granted = None
        try:
            result = self.run(words, config.wait_s + GRANT_SLACK_S)
            granted = _GRANTED.search(result.stderr + result.stdout)
            if result.exit_code == 0 and granted:
                return granted[1]
            granted = None
        except HarnessError as error:
            raise AllocationError(f"salloc: expected nodes within {config.wait_s:g} s, got: {error}") from error
        finally:
            if granted is None:  # pending, or granted to nobody
                self.run(["scancel", f"--jobname={name}"])
        why = why_not(result)
        wanted = f"salloc: expected {_in_words(nodes)} for {minutes(limit_s)} min"
        if time.monotonic() - begin < config.wait_s:
            raise PreflightError(f"{wanted}, got: {why}; sinfo shows what there is, fab check asks Slurm when")
        raise AllocationError(f"{wanted} within {config.wait_s:g} s, got: {why}; raise slurm.wait_s, or fab submit")

    def signal(self, target: str, signal_name: str) -> None:
        """Send a signal to a job, or one of its steps (``12.3``)."""
        self.run(["scancel", f"--signal={signal_name}", target])

    def cancel(self, job_id: str) -> None:
        """End a job."""
        self.run(["scancel", job_id])

    def requeue(self, job_id: str) -> None:
        """Put a batch job back into the queue. Raises RemoteCommandError where Slurm refuses."""
        self.run(["scontrol", "requeue", job_id]).demand("scontrol requeue", f"job {job_id}: ")

    def run(self, words: Sequence[str], timeout_s: float = ASK_TIMEOUT_S, stdin: bytes = b"") -> Result:
        """Run one of Slurm's commands. Raises RunError."""
        return self.front.run(f"{_PLAIN} {shlex.join(words)}", stdin=stdin, timeout_s=timeout_s)


def why_not(result: Result) -> str:
    """Return why one of Slurm's commands refused, in its own last words about it."""
    lines = [line for line in (result.stderr or result.stdout).splitlines() if not line.startswith('Try "')]
    why = last_line("\n".join(lines), "no message")
    return _SAID_BY.sub("", why)


def minutes(limit_s: float) -> int:
    """Return a time as Slurm counts it: in whole minutes, begun ones included."""
    return math.ceil(limit_s / 60)


def request(config: SlurmConfig, nodes: Sequence[str] | int, limit_s: float) -> list[str]:
    """Return the options of salloc and sbatch that ask for these nodes (hosts, or their number) for so long."""
    count = nodes if isinstance(nodes, int) else len(nodes)
    words = [f"--nodes={count}", f"--ntasks={count}", "--ntasks-per-node=1", f"--time={minutes(limit_s)}"]
    if not isinstance(nodes, int):
        words.append(f"--nodelist={','.join(nodes)}")
    if config.partition is not None:
        words.append(f"--partition={config.partition}")
    if config.exclusive:
        words.append("--exclusive")
    for name, value in config.options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words.append(f"--{name}={value}")
    return words


def _in_words(nodes: Sequence[str] | int) -> str:
    return f"{nodes} nodes" if isinstance(nodes, int) else ", ".join(nodes)
