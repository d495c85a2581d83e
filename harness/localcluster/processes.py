"""Processes by their exact identity: who descends from us, and ending exactly those.

An agent detaches itself by forking twice; its parent is then gone. A *subreaper* (prctl(2)) inherits such orphans
instead of init, so that every process begun on an embedded host stays a descendant of the supervisor, however it hides.
A process is named by its id and its start time, so that a reused id is never taken for the process that had it before.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import harness

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
ZOMBIE = "Z"
MAX_ROUNDS = 50  # of killing; a process that forks faster than we kill is no experiment


@dataclass(frozen=True)
class Process:
    """One line of /proc/PID/stat: who it is (``pid``, ``start_ticks``), its parent, its session and its state."""

    pid: int
    start_ticks: int
    parent: int
    session: int
    state: str


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def read_process(pid: int) -> Process | None:
    """Return what runs under ``pid`` now, or None."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended while we looked
        return None
    words = stat.rpartition(")")[2].split()  # the command name before it may hold spaces and parentheses
    return Process(pid, int(words[19]), int(words[1]), int(words[3]), words[0])


def descendants(root: int) -> list[Process]:
    """Return every living descendant of ``root`` (zombies included, ``root`` not), parents before children."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := read_process(int(entry.name))) is not None:
            children.setdefault(found.parent, []).append(found)
    known: list[Process] = []
    waiting = [root]
    while waiting:
        below = children.pop(waiting.pop(), [])
        known += below
        waiting += [process.pid for process in below]
    return known


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to exactly this process; do nothing if it ended, even if its id is in use again."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:  # the handle holds on to whoever has the id now; only then is it safe to compare and to signal
            now = read_process(process.pid)
            if now is not None and now.start_ticks == process.start_ticks:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def kill_all(processes: Iterable[Process], number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to each of these processes that still lives."""
    for process in processes:
        if process.state != ZOMBIE:
            send(process, number)


def end_with_its_pipes(supervisor: subprocess.Popen[bytes], patience_s: float) -> None:
    """Close a supervisor's life line and wait; what does not end by itself is killed, descendants first."""
    for pipe in (supervisor.stdin, supervisor.stdout):
        if pipe is not None:
            pipe.close()
    try:
        supervisor.wait(patience_s)
    except subprocess.TimeoutExpired:
        kill_all(descendants(supervisor.pid))
        supervisor.kill()
        supervisor.wait()


def start_ours(
    module: str, *words: str, errors: IO[bytes] | int | None = None, stdin: int = subprocess.PIPE,
    within: Sequence[str] = (),
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start a module of this tree as a program with pipes, unbuffered, in a session of its own. Raises OSError.

    ``within`` are the words of a program that starts it (unshare, nsenter).
    """
    argv = [*within, sys.executable, "-m", module, *words]
    return subprocess.Popen(
        argv,
        env=known_environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,
        start_new_session=True,
    )


def piped(pipe: IO[bytes] | None) -> IO[bytes]:
    """Return a pipe that a process was started with."""
    if pipe is None:
        raise AssertionError("started with pipes")
    return pipe


def read_line(pipe: IO[bytes], deadline: float) -> bytes:
    """Read up to a newline; less, if the pipe ends or the deadline (monotonic s) passes first."""
    text = b""
    while not text.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
            break
        data = os.read(pipe.fileno(), 1)  # no further than this line
        if not data:
            break
        text += data
    return text


async def reader_of(pipe: Any, longest_line: int = 65_536) -> asyncio.StreamReader:
    """Return what reads a pipe, in lines of no more than so many bytes."""
    reader = asyncio.StreamReader(limit=longest_line)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


class Child:
    """A process we began. ``status`` is its exit status, negative for a signal, once it ended."""

    def __init__(self, popen: subprocess.Popen[bytes], status: asyncio.Future[int]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.status = status


class Children:
    """Begins processes and reaps them, together with every orphan that became ours. The only one here to call wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[int, Child] = {}
        self._changed = asyncio.Event()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def spawn(self, argv: Sequence[str], **options: Any) -> Child:
        """Begin a process (options as for subprocess.Popen, unbuffered). Raises OSError."""
        popen = subprocess.Popen(argv, bufsize=0, **options)  # reaped by _reap, which runs in this same thread
        child = Child(popen, self._loop.create_future())
        self._known[popen.pid] = child
        return child

    def end_session(self, child: Child, number: signal.Signals) -> None:
        """Signal the session that ``child`` leads; who began a session of its own is detached and left alone."""
        kill_all((other for other in descendants(os.getpid()) if other.session == child.pid), number)

    async def end_all(self, patience_s: float) -> list[Process]:
        """End every descendant: SIGTERM, and after ``patience_s`` SIGKILL. Return who is left, normally nobody."""
        kill_all(descendants(os.getpid()), signal.SIGTERM)
        await self._until_none(time.monotonic() + patience_s)
        for _ in range(MAX_ROUNDS):
            left = descendants(os.getpid())
            if not left:
                break
            kill_all(left)
            await self._until_none(time.monotonic() + 0.1)
        return descendants(os.getpid())

    async def _until_none(self, deadline: float) -> None:
        while descendants(os.getpid()) and (left_s := deadline - time.monotonic()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left_s)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # no child at all
                break
            if pid == 0:
                break
            child = self._known.pop(pid, None)
            if child is not None:
                child.popen.returncode = os.waitstatus_to_exitcode(status)
                if not child.status.done():
                    child.status.set_result(child.popen.returncode)
        self._changed.set()


ROOT: Final = Path(harness.__file__).parent.parent
_ONLY_WHERE_CACHES_GO: Final = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}


def known_environment() -> dict[str, str]:
    """Return the environment in which ``python -m`` finds the packages of this tree, and no others of their names."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name in _ONLY_WHERE_CACHES_GO
    }
    # Safe path: not the current folder, where any file may lie. UTF-8: whatever the locale is, we read what we wrote.
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
