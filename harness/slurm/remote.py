"""One node of a job: commands are steps of it, and so is the agent, in the foreground of one.

Slurm bounds, accounts and ends what runs as a step. Files lie on the shared file system, where the host with Slurm's
commands sees them; where a node's ``remote_base`` is its own, they go by steps, too, as long as the job lasts.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from harness import interrupts, shell, shell_files
from harness.agent import LISTEN, START_TIMEOUT_S, STOP_TIMEOUT_S, read_status
from harness.errors import DeadlineError, LostError, RemoteCommandError, UnreachableError, last_line
from harness.remote import COMMAND_TIMEOUT_S, AgentState, Remote, Result, Stopped
from harness.script import Script, prepared
from harness.shell import MARK
from node_agent.contract.plan import KEY_FILE, PLAN_FILE, to_json
from node_agent.contract.records import STATUS_FILE, STATUS_MARK, STEP_LOG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from harness.slurm.job import Job
    from node_agent.contract.plan import NodePlan
    from node_agent.contract.records import NodeStatus

OWN_LOGS: Final = "~/.cache/chronotick-harness/steps"  # on the front, where the run folders are the nodes' own
POLL_S: Final = 0.1
LONGEST_STATUS: Final = 65_536  # bytes, twice that of one
STILL_AFTER_S: Final = 3.0  # an agent writes its status twice a second
STILL_WITHIN_S: Final = 30.0
# A line a second to the agent, until its step is over. Without them it ends: where a node's slurmd is gone, nothing
# else tells it that its job is (tried: not even its standard input ends with srun).
_BEATS: Final = "while echo 2>/dev/null; do sleep 1; done"
# After all that a command says: under load srun loses the end of what a step said, sometimes without a word.
_WHOLE: Final = f"whole-{secrets.token_hex(8)}"
_NUMBER: Final = "chronotick: step "
_ENDED: Final = "chronotick: step ended with "
_NUMBER_LINE: Final = re.compile(rf"^{_NUMBER}(\d+)$", re.MULTILINE)
_ENDED_LINE: Final = re.compile(rf"^{_ENDED}(\d+)$", re.MULTILINE)
_OUT_OF_MEMORY: Final = re.compile(r"oom.kill|out.of.memory", re.IGNORECASE)


class SlurmRemote(Remote):
    """A node of a job, reached through the ``front``, a host with Slurm's commands."""

    def __init__(self, node_id: str, host: str, front: Remote, job: Job, base: str, setup: Sequence[str] = ()) -> None:
        """Bind a node to its job; ``base`` is the folder that all of ours is below."""
        self.id, self.place = node_id, f"{host} (job {job.job_id})"
        self.host = host
        self._front, self._job, self._base, self._setup = front, job, base, setup

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run a command as a step; where the job is over, all that is left to do is with shared files: at the front."""
        if self._job.over:
            if not self._job.shared_files.get(self.id):
                raise UnreachableError(f"{self.id}: its files are the node's own, and its job is over")
            return self._front.run(f"{prepared(self._setup)}{command}", stdin=stdin, timeout_s=timeout_s)
        script = Script(f"cd; ({command}\n) && status=0 || status=$?; printf {_WHOLE}; exit $status", self._setup)
        try:
            done = self._front.run(shlex.join([*self._step(), *script.argv]), stdin=stdin, timeout_s=timeout_s)
        except DeadlineError:
            self._job.doubt()
            raise DeadlineError(f"{self.id}: expected an end within {timeout_s:g} s of: {command}") from None
        try:
            result = script.result(done.exit_code, done.output, done.stderr.encode())
        except RemoteCommandError as error:
            raise RemoteCommandError(f"{self.id}: {error}") from None
        if result is None:
            if self._is_over_now():
                return self.run(command, stdin=stdin, timeout_s=timeout_s)
            why = last_line(done.stderr, f"exit {done.exit_code}")
            raise UnreachableError(f"{self.id}: expected a step on {self.place}, got: {why}")
        if not result.output.endswith(_WHOLE.encode()):
            self._job.doubt()
            why = last_line(result.stderr, "srun lost the end of its output")
            raise LostError(f"{self.id}: {self.place}: a step was cut off: {why}")
        said = "".join(line for line in result.stderr.splitlines(keepends=True) if not line.startswith("srun: "))
        return replace(result, output=result.output.removesuffix(_WHOLE.encode()), stderr=said)

    def ask_of_files(self, command: str) -> str:
        """Run a command where the node's files are seen: at the front, or as a step."""
        if not self._is_shared():
            return self.ask(command)
        result = self._front.run(command)
        result.demand(command, f"{self.id}: ")
        return result.stdout

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Put a file in place at once."""
        if self._is_shared():
            self._front.write(path, content, mode)
        else:
            with self._told(f"writing {path}"):
                shell_files.write(self, f"{path}.{secrets.token_hex(4)}", path, content, mode)

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none."""
        if self._is_shared():
            return self._front.read(path)
        folder, _, name = path.rpartition("/")
        if name == STATUS_FILE and (said := self._said_status(folder)) is not None:
            return said
        with self._told(f"reading {path}"):
            return shell_files.read(self, path)

    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""
        if self._is_shared():
            return self._front.list(folder)
        with self._told(f"listing {folder}"):
            return shell_files.listing(self, folder)

    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        """Copy a folder's files from the shared file system, else by steps."""
        if self._is_shared():
            return self._front.fetch(folder, target, without)
        names = self.list(folder)
        if names is None:
            raise RemoteCommandError(f"{self.id}: expected the folder {folder}, got none there")
        for name in names:
            if not name.startswith(".") and name not in without:
                with self._told(f"fetching {folder}/{name}"):
                    shell_files.fetch(self, f"{folder}/{name}", target / name)
        return "steps"

    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        """Start the agent as a step that the front attends to, and no terminal or connection of this process."""
        folder, log = shell.path(plan.run_dir), self._log(plan.run_dir)
        if (text := self._said(log)) and not _ENDED_LINE.search(text):
            raise RemoteCommandError(f"{self.id}: {plan.run_dir}: an agent is running there already; stop it first")
        self.ask_of_files(f"umask 077; mkdir -p {folder}")
        self.write(f"{plan.run_dir}/{PLAN_FILE}", to_json(plan).encode(), 0o600)
        self.write(f"{plan.run_dir}/{KEY_FILE}", run_key.encode(), 0o600)
        words = f"{plan.role} --attended --plan {folder}/{PLAN_FILE}"
        words += "" if self._is_shared() else " --say-status"
        self._start_step(program, words, log)

    def start_listener(self, program: str, order: bytes) -> None:
        """Start the listener as a step of its own, from a file that nobody else can read."""
        name = f"{self._base}/cache/.listener-{secrets.token_hex(8)}"
        log = f"{name}.log" if self._is_shared() else f"{OWN_LOGS}/{name.rpartition('/')[2]}.log"
        self.write(name, order, 0o600)
        try:
            self._start_step(program, f"{LISTEN} <{shell.path(name)}", log)
        finally:
            self.ask_of_files(f"rm -f {shell.path(name)}")
            self._front.run(f"rm -f {shell.path(log)}")

    def _start_step(self, program: str, words: str, log: str) -> None:
        """Start the agent as a step that the front attends to, and return once it says that it has bound its ports.

        Raises RemoteCommandError with its last words.
        """
        agent = f"exec {program} --mark {MARK} {words}"
        inside = f"{prepared(self._setup)}cd; echo {shell.word(_NUMBER)}$SLURM_STEP_ID; {agent}"
        step = shlex.join([*self._step(), "/bin/sh", "-c", inside])
        attended = f"{_BEATS} | {{ {step}; echo {shell.word(_ENDED)}$?; }}"
        begin = f"umask 077; mkdir -p {shell.path(log.rpartition('/')[0])}"
        out = f"</dev/null >{shell.path(log)} 2>&1 &"
        self._front.run(f"{begin}; setsid nohup /bin/sh -c {shell.word(attended)} {out}").demand("srun", f"{self.id}: ")

        def missing() -> str | None:
            text = self._said(log)
            return None if MARK in text or _ENDED_LINE.search(text) else "the agent says nothing yet"

        interrupts.until(f"{self.id}: agent bound", missing, START_TIMEOUT_S, POLL_S)
        text = self._said(log)
        if MARK not in text:
            self._job.doubt()
            raise RemoteCommandError(f"{self.id}: {_last_words(text)} (step of: {program} {words})")

    def stop_agent(self, program: str, folder: str) -> Stopped:  # noqa: ARG002 - the step is known by its log
        """Stop the agent's step, destroy its key. Where the job is over the agent's end is only waited for."""
        log = self._log(folder)
        text = self._said(log)
        alive, problem = bool(text) and not _ENDED_LINE.search(text), None
        if alive:
            problem = self._end(log, _NUMBER_LINE.search(text))
        if text and self._job.over:
            self._await_still(folder)
        if self._is_shared() or not self._job.over:
            self.ask_of_files(f"rm -f {shell.path(f'{folder}/{KEY_FILE}')}")
        return Stopped(alive, problem, None if alive or not text else _death(text, read_status(self, folder)))

    def see_agent(self, program: str, folder: str) -> AgentState:  # noqa: ARG002 - the same
        """Tell whether the agent's step goes on, as the front heard it; nothing is started to find out."""
        text = self._said(self._log(folder))
        status = read_status(self, folder)
        if not text:
            return AgentState(alive=False, status=status, problem=f"no agent was started in {folder}")
        alive = not _ENDED_LINE.search(text) and not self._job.over
        if not alive:
            self._job.doubt()
        waiting = "no status yet" if alive and status is None else None
        return AgentState(alive, status, waiting, None if alive else _death(text, status))

    def close(self) -> None:
        """Close the way to the front."""
        self._front.close()

    def _is_over_now(self) -> bool:
        self._job.look()
        return self._job.over

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Name the node, and what was being done, in what a command about a file says."""
        try:
            yield
        except RemoteCommandError as error:
            raise RemoteCommandError(f"{self.id}: {doing}: {error}") from None

    def _step(self) -> Sequence[str]:
        """Return the words that run what follows as a step on this node, beside whatever runs there."""
        return (
            "srun", f"--jobid={self._job.job_id}", "--overlap", "--cpu-bind=none", "--kill-on-bad-exit=0", "--nodes=1",
            "--ntasks=1", f"--nodelist={self.host}", "--quiet",
        )  # fmt: skip

    def _is_shared(self) -> bool:
        """Return whether the front sees the node's files: what one wrote, under a new name, the other reads."""
        shared = self._job.shared_files.get(self.id)
        if shared is None:
            if self._job.over:
                raise UnreachableError(f"{self.id}: its job is over, and nobody knows whether its files are shared")
            name, content = f"{self._base}/.seen-{secrets.token_hex(8)}", secrets.token_hex(16)
            place = shell.path(name)
            self.ask(f"umask 077; mkdir -p {shell.path(self._base)} && printf %s {content} > {place}")
            shared = self._job.shared_files[self.id] = self._front.read(name) == content.encode()
            self.ask(f"rm -f {place}")
        return shared

    def _log(self, folder: str) -> str:
        """Return where the front writes what the step of a run folder says."""
        if self._is_shared():
            return f"{folder}/{STEP_LOG}"
        return f"{OWN_LOGS}/{'-'.join(folder.split('/')[-2:])}.log"

    def _said_status(self, folder: str) -> bytes | None:
        """Return the last status that the step of a run folder said, None if it said none."""
        tail = self._front.run(f"tail -c {LONGEST_STATUS} {shell.path(self._log(folder))} 2>/dev/null").stdout
        whole = tail[: tail.rfind("\n") + 1]  # the last line may be under way
        said = [line for line in whole.splitlines() if line.startswith(STATUS_MARK)]
        return said[-1].removeprefix(STATUS_MARK).encode() if said else None

    def _said(self, log: str) -> str:
        return (self._front.read(log) or b"").decode("utf-8", "replace")

    def _end(self, log: str, number: re.Match[str] | None) -> str | None:
        """Wait for the end of a step that goes on; ask for it, and insist, while the job is there to be asked."""
        problem = None
        for signal_name in ("TERM", "KILL"):
            if number is not None and not self._job.over:
                self._job.slurm.signal(f"{self._job.job_id}.{number[1]}", signal_name)

            def missing() -> str | None:
                return None if _ENDED_LINE.search(self._said(log)) else "its step goes on"

            try:
                interrupts.until(f"{self.id}: end of the agent", missing, STOP_TIMEOUT_S, POLL_S)
            except DeadlineError:
                problem = f"its step did not end within {STOP_TIMEOUT_S:g} s of SIG{signal_name}"
            else:
                return problem and f"{problem} and was killed"
        return problem

    def _await_still(self, folder: str) -> None:
        """Wait until the agent wrote its last: that it ended, or nothing for a while.

        Where its node failed, Slurm ends the step at this end alone; the agent notices by itself, some seconds later.
        """
        seen: NodeStatus | None = None
        changed_s = time.monotonic()

        def missing() -> str | None:
            nonlocal seen, changed_s
            status = read_status(self, folder)
            if status != seen:
                seen, changed_s = status, time.monotonic()
            if (status is not None and status.outcome is not None) or time.monotonic() - changed_s > STILL_AFTER_S:
                return None
            return "it writes on"

        interrupts.until(f"{self.id}: end of the agent", missing, STILL_WITHIN_S, POLL_S)


def _death(text: str, status: NodeStatus | None) -> str | None:
    """Return how the step of an agent ended that did not end by itself, None if it did."""
    return _last_words(text) if status is None or status.outcome is None else None


def _last_words(text: str) -> str:
    """Return how a step ended: the kernel's or Slurm's word for a lack of memory, else the last line it said."""
    ours = (_NUMBER, _ENDED, STATUS_MARK)
    lines = [line for line in text.splitlines() if not line.startswith(ours) and MARK not in line]
    if killed := next((line for line in lines if _OUT_OF_MEMORY.search(line)), None):
        return f"killed for want of memory ({killed.strip()})"
    ended = _ENDED_LINE.search(text)
    how = f"exit {ended[1]}" if ended else "its job is over"
    return f"the agent's step ended ({how}): {last_line(chr(10).join(lines))}"
