"""Starting, finding and ending agents: detached, one per run folder, stopped only by their own pid and start time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node_agent.contract import plan, records
from node_agent.datagrams.wire import KEY_SIZE
from node_agent.local import cgroup, machine
from node_agent.local.journal import release_reserve, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

PID_FILE: Final = "agent.pid"
READY_TIMEOUT_S: Final = 20.0
ATTENDED_WITHIN_S: Final = 8.0
_LISTEN_S: Final = 0.25
EXIT_USAGE: Final = 2
EXIT_UNFIT: Final = 3
EXIT_FAILED: Final = 4
CHECKSUMMED: Final = (
    records.EVENTS_FILE, records.SAMPLES_FILE, records.COMMIT_WAIT_FILE, records.CLOCK_PAIRS_FILE, records.PROBES_FILE,
    records.SENDS_FILE, records.READINGS_FILE, records.LOG_FILE, records.STATUS_FILE, records.STEP_LOG,
)  # fmt: skip


class AgentError(Exception):
    """An agent that cannot do what it was told: one line, and the exit code that goes with it."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


def expand(path: str) -> Path:
    """Return an absolute path, ``~`` or a leading ``$NAME`` expanded.

    Raises AgentError for a variable that is not set.
    """
    first, _, rest = path.partition("/")
    if first.startswith("$"):
        place = os.environ.get(first[1:])
        if not place:
            raise AgentError(f"{path}: expected {first} to be set on this node, it is not", EXIT_USAGE)
        return (Path(place) / rest).absolute()
    return Path(path).expanduser().absolute()


def detach(work: Callable[[Callable[[dict[str, Any]], None]], int]) -> dict[str, Any]:
    """Run ``work`` in a process of its own session with closed standard streams; return what it reports as ready.

    ``work`` gets a function to call once with its report. Raises AgentError if it ends, or stays silent, instead.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _become_daemon(reader, writer, work)
    os.close(writer)
    os.waitpid(child, 0)
    deadline = time.monotonic() + READY_TIMEOUT_S
    received = b""
    with open(reader, "rb", buffering=0) as pipe:  # noqa: PTH123 - a file descriptor has no path
        while (wait_s := deadline - time.monotonic()) > 0 and select.select([pipe], [], [], wait_s)[0]:
            chunk = pipe.read(65_536)
            if not chunk:
                break
            received += chunk
    if not received:
        silent = f"the agent ended, or said nothing for {READY_TIMEOUT_S:g} s"
        raise AgentError(f"{silent}; see {records.LOG_FILE} in its run folder")
    report: dict[str, Any] = json.loads(received)
    if "error" in report:
        raise AgentError(report["error"], report["code"])
    return report


def _become_daemon(reader: int, writer: int, work: Callable[[Callable[[dict[str, Any]], None]], int]) -> None:
    """Leave the session and the terminal, then work; never returns."""
    code = EXIT_FAILED
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(reader)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.close(null)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

        def report(said: dict[str, Any]) -> None:
            os.write(writer, json.dumps(said).encode())
            os.close(writer)

        try:
            code = work(report)
        except AgentError as error:
            report({"error": str(error), "code": error.code})
            code = error.code
        except BaseException:
            log.critical("died", exc_info=True)  # nobody else will hear of it: the streams are closed
            raise
    finally:
        os._exit(code)


def await_unattended(descriptor: int) -> str:
    """Return why, once nobody attends to this process any more: no byte came for ``ATTENDED_WITHIN_S``, or the end.

    Time in which this process was stopped does not count: who attends to it may have been stopped as well.
    """
    silent_s = 0.0
    while silent_s < ATTENDED_WITHIN_S:
        silent_s += _LISTEN_S
        if select.select([descriptor], [], [], _LISTEN_S)[0]:
            if not os.read(descriptor, 65_536):
                return "whoever attended to it has ended"
            silent_s = 0.0
    return f"nobody attended to it for {ATTENDED_WITHIN_S:g} s"


def claim(run_dir: Path) -> None:
    """Make the run folder this process's own. Raises AgentError if another agent lives there or has been there.

    A key that was put there for this process is then destroyed; one that an agent has yet to take is left to it.
    """
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (run_dir / records.STATUS_FILE).exists():  # so whoever works there, or has, took its own key long ago
        destroy_key(run_dir)
    pid = alive_pid(run_dir)
    if pid is not None:
        raise AgentError(f"{run_dir}: an agent is running there already (pid {pid}); stop it first")
    if (run_dir / records.STATUS_FILE).exists():
        raise AgentError(f"{run_dir}: a run has been recorded there; expected an empty run folder, use another name")
    started = {"pid": os.getpid(), "start_ticks": machine.own_start_ticks(), "oom_watch": cgroup.oom_watch()}
    text = json.dumps(started)
    temporary = run_dir / f".{PID_FILE}.{os.getpid()}"
    temporary.write_text(text, encoding="ascii")
    try:
        _put_aside(run_dir)
        os.link(temporary, run_dir / PID_FILE)  # only one of two that start at once can make it
    except FileExistsError as error:
        raise AgentError(f"{run_dir}: another agent is starting there; stop it first") from error
    finally:
        temporary.unlink()


def _put_aside(run_dir: Path) -> None:
    """Remove the pid file of an agent that did not start; raise FileExistsError if it is a living agent's after all.

    Another may have made it since this process looked. No locks: a home folder may lie on a file system without them.
    """
    aside = run_dir / f".{PID_FILE}.{os.getpid()}.aside"
    try:
        (run_dir / PID_FILE).rename(aside)
    except FileNotFoundError:
        return
    try:
        if _living(aside) is not None:
            os.link(aside, run_dir / PID_FILE)
            raise FileExistsError(run_dir / PID_FILE)
    finally:
        aside.unlink()


def take_key(run_dir: Path) -> bytes | None:
    """Read the run key and destroy its file: from here on it is in this process's memory alone."""
    path = run_dir / plan.KEY_FILE
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    path.unlink()
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise AgentError(f"{path}: expected {2 * KEY_SIZE} hex digits", EXIT_USAGE)
    return key


def destroy_key(run_dir: Path) -> None:
    """Remove the run key's file, if there is one."""
    (run_dir / plan.KEY_FILE).unlink(missing_ok=True)


def alive_pid(run_dir: Path) -> int | None:
    """Return the pid of the run folder's agent if that very process still lives."""
    return _living(run_dir / PID_FILE)


def _living(file: Path) -> int | None:
    try:
        said = json.loads(file.read_text(encoding="ascii"))
        pid, ticks = int(said["pid"]), int(said["start_ticks"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{file}: expected pid and start_ticks, got something else") from error
    return pid if machine.start_ticks(pid) == ticks else None


def status(run_dir: Path) -> dict[str, Any]:
    """Return whether the run folder's agent lives, its last status, and what killed it, if the kernel tells."""
    said: dict[str, Any] = {"alive": False, "status": None, "problem": None, "death": None}
    try:
        said["alive"] = alive_pid(run_dir) is not None
        text = (run_dir / records.STATUS_FILE).read_text(encoding="utf-8")
        records.NodeStatus.from_json(text)
        said["status"] = json.loads(text)
    except FileNotFoundError:
        said["problem"] = "no status yet" if said["alive"] else f"no agent has worked in {run_dir}"
    except (AgentError, ValueError, TypeError) as error:
        said["problem"] = str(error)
    if not said["alive"] and (said["status"] is None or said["status"]["outcome"] is None):
        said["death"] = _death(run_dir)
    return said


def _death(run_dir: Path) -> str | None:
    """Return what killed an agent that died without a word; None where nobody can tell."""
    try:
        started = json.loads((run_dir / PID_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):  # none has started, or a damaged record, which is told by whoever needs the pid
        return None
    watch = started.get("oom_watch") if isinstance(started, dict) else None
    return cgroup.oom_death(watch) if isinstance(watch, dict) else None


def stop(run_dir: Path, timeout_s: float) -> dict[str, Any]:
    """Stop the run folder's agent, first by SIGTERM, after ``timeout_s`` by SIGKILL, and destroy the run key.

    Of one that was dead already, say what killed it, if the kernel tells.
    """
    said: dict[str, Any] = {"stopped": True, "was_alive": False, "problem": None}
    said["death"] = status(run_dir)["death"]
    try:
        pid = alive_pid(run_dir)
        if pid is not None:
            said["was_alive"] = True
            if not _end(run_dir, pid, signal.SIGTERM, timeout_s):
                said["problem"] = f"pid {pid} did not end within {timeout_s:g} s of SIGTERM and was killed"
                said["stopped"] = _end(run_dir, pid, signal.SIGKILL, timeout_s)
    except AgentError as error:
        said.update(stopped=False, problem=str(error))
    destroy_key(run_dir)
    if said["stopped"]:
        release_reserve(run_dir)  # a killed agent could not
    return said


def _end(run_dir: Path, pid: int, how: signal.Signals, timeout_s: float) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
    deadline = time.monotonic() + timeout_s
    while alive_pid(run_dir) == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # another session's child cannot be waited for, only looked at
    return True


def checksum(run_dir: Path) -> None:
    """Write SHA256SUMS over the run folder's journals, in the format of sha256sum; works after a crash too."""
    lines = []
    for name in CHECKSUMMED:
        path = run_dir / name
        if path.is_file():
            digest = hashlib.sha256()
            with path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
            lines.append(f"{digest.hexdigest()}  {name}\n")
    if not lines:
        raise AgentError(f"{run_dir}: nothing to checksum; expected the journals of a run")
    release_reserve(run_dir)  # the disk may be full
    try:
        write_whole(run_dir / records.CHECKSUMS_FILE, "".join(lines), 0o600)
    except OSError as error:
        raise AgentError(f"{run_dir / records.CHECKSUMS_FILE}: {error.strerror}") from error
