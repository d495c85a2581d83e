"""The agent on a node: bring it there, and call its commands. One typed function per command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from harness import shell
from harness.bundle import BUNDLE_NAME, Bundle
from harness.errors import PreflightError, RemoteCommandError, last_line
from harness.pins import OLDEST_AGENT_PYTHON, OLDEST_AGENT_PYTHON_TEXT
from harness.planning import remote_base
from harness.remote import COMMAND_TIMEOUT_S, AgentState, Remote, Stopped
from harness.shell import ISOLATED, ISOLATED_ANY_VERSION, MARK, answer
from node_agent.contract import json_objects
from node_agent.contract.arrivals import Arrivals, listener_name
from node_agent.contract.plan import KEY_FILE, PLAN_FILE, NodePlan, to_json
from node_agent.contract.records import STATUS_FILE, NodeStatus

if TYPE_CHECKING:
    from harness.configuration.cluster import ClusterConfig

CHECK_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 40.0
STOP_TIMEOUT_S: Final = 10.0
CHECKSUM_TIMEOUT_S: Final = 300.0
LISTENER_TIMEOUT_S: Final = 10.0
LISTEN: Final = "check --listen --plan -"

_LOOK_FOR_PYTHONS: Final = (
    "for p in $(ls -d /usr/bin/python3.* /usr/local/bin/python3.* /opt/*/bin/python3 2>/dev/null);"
    " do case ${p##*/} in python3|python3.[0-9]|python3.[0-9][0-9]) ;; *) continue;; esac;"  # not python3.11-config
    f" f=$(command -v $p) && $f {ISOLATED_ANY_VERSION} -c"
    f" 'import sys; sys.exit(sys.version_info < {OLDEST_AGENT_PYTHON})'"
    " >/dev/null 2>&1 && echo $f; done | sort -u"
)
# Says a word to a listener and prints its answer; all of the agent would take longer to load.
_TELL: Final = f"""
import socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.settimeout({LISTENER_TIMEOUT_S})
    listener.connect(chr(0) + sys.argv[1])
    listener.sendall(sys.argv[2].encode())
    print('{MARK}' + listener.makefile().read())
"""
_VERSION: Final = f"import sys; sys.stdout.write('{MARK}%d.%d.%d ' % sys.version_info[:3])"


class Agent:
    """The agent that a bundle holds, in the nodes' caches, and its command line there."""

    def __init__(self, cluster: ClusterConfig, bundle: Bundle) -> None:
        self.bundle = bundle
        self._python = shell.path(cluster.remote_python)
        self._folder = f"{remote_base(cluster)}/cache/{bundle.sha256}"
        self._path = f"{self._folder}/{BUNDLE_NAME}"
        self.program = f"{self._python} {ISOLATED} {shell.path(self._path)}"

    def install(self, remote: Remote) -> str:
        """Put the agent into the node's cache unless it is there, verified; return the node's Python version.

        Raises PreflightError for a Python that is missing or too old, or a file that arrived damaged.
        """
        version = self._python_version(remote)
        folder, path, expected = shell.path(self._folder), shell.path(self._path), self.bundle.sha256
        known = remote.ask(f"umask 077; mkdir -p {folder} && {{ sha256sum {path} 2>/dev/null || echo none; }}")
        if known.split()[0] != expected:
            remote.write(self._path, self.bundle.path.read_bytes(), 0o600)
            got = remote.ask(f"sha256sum {path}").split()[0]
            if got != expected:
                raise PreflightError(f"{remote.id}: agent bundle: expected sha256 {expected}, got {got}; disk full?")
        return version

    def check(self, remote: Remote, plan: NodePlan) -> dict[str, Any]:
        """Return what the node says of itself and of its time services (see ``node_agent.check``)."""
        return _ask(remote, self.program, "check --plan -", to_json(plan).encode(), CHECK_TIMEOUT_S)

    def listen(self, remote: Remote, plan: NodePlan, key: str) -> None:
        """Start a listener (``node_agent.listener``) on the node; return once it has bound the plan's ports."""
        remote.start_listener(self.program, f"{key}\n{to_json(plan)}".encode())

    def tell_listener(self, remote: Remote, run_id: str, word: str) -> Arrivals:
        """Say a word to the node's listener and return what has come to it."""
        words = (_TELL, listener_name(run_id, remote.id), word)
        result = remote.run(" ".join((self._python, ISOLATED, "-c", *map(shell.word, words))))
        try:
            return json_objects.read(Arrivals, answer(result.stdout), "its answer")
        except ValueError as error:
            got = str(error) if result.exit_code == 0 else last_line(result.stderr, "no message")
            raise RemoteCommandError(f"{remote.id}: expected its listener to answer `{word}`, got: {got}") from None

    def checksum(self, remote: Remote, folder: str) -> None:
        """Let the node write SHA256SUMS over its journals."""
        remote.ask(f"{self.program} checksum --run-dir {shell.path(folder)}", timeout_s=CHECKSUM_TIMEOUT_S)

    def _python_version(self, remote: Remote) -> str:
        result = remote.run(f"{self._python} {ISOLATED_ANY_VERSION} -c {shell.word(_VERSION)}")
        wanted = f"{remote.id}: remote_python: expected Python >= {OLDEST_AGENT_PYTHON_TEXT}"
        if result.exit_code != 0:
            words = last_line(result.stderr, "no message")
            raise PreflightError(f"{wanted} as {self._python}, got: {words}; {_others(remote)}")
        version = (answer(result.stdout).split() or ["nothing"])[0]
        parts = version.split(".")[:2]
        if not all(map(str.isdecimal, parts)) or tuple(map(int, parts)) < OLDEST_AGENT_PYTHON:
            raise PreflightError(f"{wanted}, got {version}; {_others(remote)}")
        return version


class Detaching(Remote):
    """A remote whose agents run detached on the node, in a session of their own, and are known by their process."""

    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        """Push plan and key, start the agent, return once its socket is bound; it outlives this connection."""
        folder = shell.path(plan.run_dir)
        self.ask(f"umask 077; mkdir -p {folder}")
        self.write(f"{plan.run_dir}/{PLAN_FILE}", to_json(plan).encode(), 0o600)
        self.write(f"{plan.run_dir}/{KEY_FILE}", run_key.encode(), 0o600)
        _ask(self, program, f"{plan.role} --plan {folder}/{PLAN_FILE} --detach", timeout_s=START_TIMEOUT_S)

    def start_listener(self, program: str, order: bytes) -> None:
        """Start the listener; return once it has bound its ports."""
        _ask(self, program, f"{LISTEN} --detach", order, START_TIMEOUT_S)

    def stop_agent(self, program: str, folder: str) -> Stopped:
        """Stop exactly the run folder's agent, by its recorded pid, and destroy its key."""
        arguments = f"stop --run-dir {shell.path(folder)} --timeout-s {STOP_TIMEOUT_S:g}"
        report = _ask(self, program, arguments, timeout_s=2 * STOP_TIMEOUT_S + 10)
        return Stopped(report["was_alive"], report["problem"], report["death"])

    def see_agent(self, program: str, folder: str) -> AgentState:
        """Let the node look for the process that its run folder names."""
        report = _ask(self, program, f"status --run-dir {shell.path(folder)}")
        status = report["status"]
        status = None if status is None else NodeStatus.from_json(json.dumps(status))
        return AgentState(report["alive"], status, report["problem"], report["death"])


def read_status(remote: Remote, folder: str) -> NodeStatus | None:
    """Return the agent's status as its file tells it, without starting anything on the node; None if there is none."""
    content = remote.read(f"{folder}/{STATUS_FILE}")
    try:
        return None if content is None else NodeStatus.from_json(content.decode())
    except (ValueError, TypeError) as error:
        raise RemoteCommandError(f"{remote.id}: {folder}/{STATUS_FILE}: {error}") from error


def _ask(
    remote: Remote, program: str, arguments: str, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S
) -> dict[str, Any]:
    """Return what a command of the agent answers. Raises RemoteCommandError for anything but one JSON object."""
    text = answer(remote.ask(f"{program} --mark {MARK} {arguments}", stdin=stdin, timeout_s=timeout_s))
    line = text.partition("\n")[0]
    try:
        report = json.loads(line)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        raise RemoteCommandError(f"{remote.id}: agent {arguments}: expected one JSON object, got {line[:200]!r}")
    return report


def _others(remote: Remote) -> str:
    """Return what to do about a Python that will not do, naming those of the node that would."""
    pythons = remote.run(_LOOK_FOR_PYTHONS).stdout.split()
    there = f"to one that is there: {', '.join(pythons)}" if pythons else "to a newer one; none was found there"
    return f"set remote_python in the cluster file {there}"
