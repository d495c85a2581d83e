"""One job: what is known of it, whose it is, and when it is over."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from harness.allocation import Allocation
from harness.errors import AllocationError, HarnessError
from harness.slurm.commands import JobFacts

if TYPE_CHECKING:
    from harness.slurm.commands import Slurm

LOOK_EVERY_S: Final = 30.0
DOUBT_EVERY_S: Final = 3.0  # sooner where something of the job ended that should not have
NAMED_WITHIN_S: Final = 20.0  # while it is COMPLETING Slurm does not say of what it ended
ALIVE: Final = frozenset({"RUNNING", "SUSPENDED", "CONFIGURING", "SIGNALING", "STOPPED", "RESIZING"})
COMPLETING: Final = "COMPLETING"
SUSPENDED, PREEMPTED, TIMEOUT = "SUSPENDED", "PREEMPTED", "TIMEOUT"
SIGNAL_EARLY_S: Final = 75.0  # Slurm sends --signal up to a minute early
NEVER: Final = frozenset({"None", "Unknown", ""})
FORGOTTEN: Final = "no longer known to Slurm"


class Job(Allocation):
    """A job with nodes for a run. ``ours``: we allocated it, so we release it."""

    def __init__(
        self,
        slurm: Slurm,
        facts: JobFacts,
        version: str,
        *,
        ours: bool,
        margin_s: float,
        options: dict[str, Any],
        recorded: dict[str, Any] | None = None,
        inside: bool = False,
    ) -> None:
        """Take the job. ``recorded``: what a manifest keeps of it, where its run is looked at again."""
        self._recorded = recorded
        self.inside = inside  # whether this process is part of it
        self.slurm, self.facts, self.ours, self.margin_s = slurm, facts, ours, margin_s
        self.version = version
        # By node: whether the host with Slurm's commands sees its files.
        self.shared_files: dict[str, bool] = recorded["shared_files"] if recorded else {}
        self._options = options
        self._seen_s = time.monotonic()
        self._doubtful = False
        self._suspended = bool(recorded and recorded["suspended"])
        self._harmed = False
        self._over: str | None = None
        self._released = False
        self._one_at_a_time = threading.Lock()
        self._note(facts)

    @property
    def job_id(self) -> str:
        """Return Slurm's number of it."""
        return self.facts.job_id

    @property
    def name(self) -> str:
        """Return what a user calls it."""
        return f"job {self.job_id}"

    @property
    def over(self) -> bool:
        """Return whether it is known to be over: its nodes are not ours any more."""
        return self._over is not None

    @property
    def left_s(self) -> float | None:
        """Return the time until its limit, in s; None without one."""
        return None if self.facts.left_s is None else self.facts.left_s - (time.monotonic() - self._seen_s)

    def doubt(self) -> None:
        """Let the next look come soon: something of it ended."""
        self._doubtful = True

    def demand(self) -> None:
        """Raise AllocationError with the reason if it is over; Slurm is asked now and then."""
        every_s = DOUBT_EVERY_S if self._doubtful else LOOK_EVERY_S
        if not self.over and time.monotonic() - self._seen_s >= every_s:
            self.look()
        if self._over is not None:
            raise AllocationError(self.ending())

    def look(self) -> None:
        """Ask Slurm. What it does not answer changes nothing."""
        with self._one_at_a_time:
            self._seen_s, before_s = time.monotonic(), self._seen_s
            self._doubtful = False
            try:
                facts = self.slurm.job(self.job_id)
                forgotten = (self.slurm.accounted_state(self.job_id) or FORGOTTEN) if facts is None else ""
            except HarnessError:
                self._seen_s = before_s
                return
            if facts is None:
                self._over = forgotten if self._over in {None, COMPLETING} else self._over
            else:
                # while it ends Slurm names no node but those that have something of it left
                hosts = self.facts.hosts if set(facts.hosts) < set(self.facts.hosts) else facts.hosts
                self.facts = replace(facts, hosts=hosts)
                self._note(facts)

    def ending(self) -> str:
        """Return of what it ended, in words, once Slurm says so; "" while it lives.

        Until all that is part of it has ended Slurm says no more than COMPLETING; within it nobody can wait for that.
        """
        deadline = time.monotonic() + NAMED_WITHIN_S
        while self._over == COMPLETING and not self.inside and time.monotonic() < deadline:
            time.sleep(0.5)
            self.look()
        if self._over == COMPLETING and self.inside:
            self._over = self._seen_from_inside()
        if self._over is None or self._released:
            return ""
        reason = self.facts.reason
        why = f" ({reason})" if reason not in {"None", ""} and reason.upper() not in self._over else ""
        return f"job {self.job_id} {self._over}{why}"

    def remarks(self, *, run_over: bool) -> list[str]:
        """Return what happened to it that a run cannot have been unharmed by, asking Slurm once more."""
        self.look()
        ending = "" if run_over else self.ending()
        self._harmed = ending != ""
        self._suspended = self._suspended or self._details().get("SuspendTime", "None") not in NEVER
        return [*([ending] if ending else []), *([f"{self.name} was {SUSPENDED}"] if self._suspended else [])]

    def why_ending(self, *, signalled: bool) -> str | None:
        """Return why Slurm ends the job, if it does. Time is short only where it ``signalled`` that to a batch job."""
        self.look()
        details = self._details()
        if details.get("PreemptTime", "None") not in NEVER:
            return f"{self.name} {PREEMPTED}"
        if self._over is not None:
            return self.ending()
        soon = self.left_s is not None and self.left_s <= self.margin_s + SIGNAL_EARLY_S
        return f"{self.name} {TIMEOUT}" if signalled and soon and details.get("BatchFlag") == "1" else None

    def _seen_from_inside(self) -> str:
        """Return what must have ended the job: whoever needs its nodes, its limit, a node that failed, else a user."""
        if self._details().get("PreemptTime", "None") not in NEVER:
            return PREEMPTED
        if self.left_s is not None and self.left_s <= 0:
            return TIMEOUT
        return "NODE_FAIL" if self.slurm.down_among(self.facts.hosts) else "CANCELLED"

    def requeue(self) -> bool:
        """Put the job that we are in back into the queue if it was preempted and is to be; return whether it was.

        Slurm would do so only if we were still there at the end of the grace time. This process ends with it.
        """
        wanted = self._options.get("requeue") and not self.ours
        details = self._details()
        if not wanted or details.get("BatchFlag") != "1" or details.get("PreemptTime", "None") in NEVER:
            return False
        self.slurm.requeue(self.job_id)
        return True

    def release(self) -> bool:
        """End the job if we allocated it and it lives; return whether that was so."""
        if not self.ours or self.over:
            return False
        self._released = True
        self.slurm.cancel(self.job_id)
        return True

    def give_back(self) -> None:
        """End a job that a controller allocated which is no more: its run is over and at home."""
        if self._recorded is not None and self._recorded["allocated_by_us"] and not self.over:
            self._released = True
            self.slurm.cancel(self.job_id)

    def described(self) -> dict[str, Any]:
        """Return what the manifest keeps of it; of one that is recorded, what harmed its run since."""
        facts = self.facts
        if self._recorded is not None:
            now = {"state": self._over, "reason": facts.reason} if self._harmed else {}
            return self._recorded | now | {"suspended": self._suspended}
        return {
            "id": facts.job_id,
            "array_task": facts.array_task,
            "state": self._over or facts.state,
            "reason": facts.reason,
            "partition": facts.partition,
            "account": facts.account,
            "nodes": list(facts.hosts),
            "options": self._options,
            "submitted_utc": facts.submitted,
            "started_utc": facts.started,
            "ends_utc": facts.ends,
            "restarts": facts.restarts,
            "suspended": self._suspended,
            "allocated_by_us": self.ours,
            "shared_files": self.shared_files,
            "slurm_version": self.version,
        }

    def _details(self) -> dict[str, str]:
        """Return what scontrol says of it; nothing where Slurm does not answer."""
        try:
            return self.slurm.details(self.job_id)
        except HarnessError:
            return {}

    def _note(self, facts: JobFacts) -> None:
        self._suspended = self._suspended or facts.state == SUSPENDED
        if facts.state not in ALIVE and self._over in {None, COMPLETING}:
            self._over = facts.state


def finished(recorded: dict[str, Any]) -> JobFacts:
    """Return what the manifest kept of a job that Slurm has forgotten."""
    state = recorded["state"] if recorded["state"] not in ALIVE else FORGOTTEN
    times = (recorded["submitted_utc"], recorded["started_utc"], recorded["ends_utc"])
    who = (recorded["partition"], recorded["account"])
    return JobFacts(
        recorded["id"], state, recorded["reason"], 0.0, tuple(recorded["nodes"]), *who, *times, recorded["restarts"],
        recorded["array_task"],
    )  # fmt: skip
