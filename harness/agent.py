"""The agent on a node: bring it there, and call its commands. One typed function per command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.bundle import BUNDLE_NAME
from harness.errors import PreflightError, RemoteCommandError
from harness.planning import remote_base
from harness.remote_python import ISOLATED, ISOLATED_ANY_VERSION, MARK, answer
from harness.ssh import shell
from node_agent.contract.plan import KEY_FILE, PLAN_FILE, NodePlan, to_json
from node_agent.contract.records import STATUS_FILE, NodeStatus

if TYPE_CHECKING:
    from harness.bundle import Bundle
    from harness.configuration.experiment import ClusterConfig
    from harness.ssh.host import Host

OLDEST_PYTHON: Final = (3, 9)
CHECK_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 40.0
STOP_TIMEOUT_S: Final = 10.0
CHECKSUM_TIMEOUT_S: Final = 300.0

_LOOK_FOR_PYTHONS: Final = (
    "for p in $(ls -d /usr/bin/python3.* /usr/local/bin/python3.* /opt/*/bin/python3 2>/dev/null);"
    " do case ${p##*/} in python3|python3.[0-9]|python3.[0-9][0-9]) ;; *) continue;; esac;"  # not python3.11-config
    f" f=$(command -v $p) && $f {ISOLATED_ANY_VERSION} -c 'import sys; sys.exit(sys.version_info < (3, 9))'"
    " >/dev/null 2>&1 && echo $f; done | sort -u"
)
_VERSION: Final = f"import sys; sys.stdout.write('{MARK}%d.%d.%d ' % sys.version_info[:3])"


@dataclass(frozen=True)
class Stopped:
    """What became of a stop: the agent ``was_alive`` or not; a ``problem`` if it had to be killed or is not gone."""

    stopped: bool
    was_alive: bool
    problem: str | None


@dataclass(frozen=True)
class Seen:
    """What a node says of its agent: whether that process lives, and its last status."""

    alive: bool
    status: NodeStatus | None
    problem: str | None


class Agent:
    """The agent of one content (sha256) in the nodes' caches, and its command line."""

    def __init__(self, cluster: ClusterConfig, sha256: str) -> None:
        """Name the agent; nothing is pushed yet."""
        self.sha256 = sha256
        self._python = shell.path(cluster.remote_python)
        self._folder = f"{remote_base(cluster)}/cache/{sha256}"
        self._path = f"{self._folder}/{BUNDLE_NAME}"

    def install(self, host: Host, bundle: Bundle) -> str:
        """Put the agent into the node's cache unless it is there, verified; return the node's Python version.

        Raises PreflightError for a Python that is missing or too old, or a file that arrived damaged.
        """
        version = self._python_version(host)
        folder, path = shell.path(self._folder), shell.path(self._path)
        known = host.ask(f"umask 077; mkdir -p {folder} && {{ sha256sum {path} 2>/dev/null || echo none; }}")
        if known.split()[0] != bundle.sha256:
            host.write(self._path, bundle.path.read_bytes(), 0o600)
            got = host.ask(f"sha256sum {path}").split()[0]
            if got != bundle.sha256:
                raise PreflightError(f"{host.id}: agent bundle: expected sha256 {bundle.sha256}, got {got}; disk full?")
        return version

    def check(self, host: Host, plan: NodePlan) -> dict[str, Any]:
        """Return what the node says of itself and of its time services (see ``node_agent.check``)."""
        return self._ask(host, "check --plan -", to_json(plan).encode(), CHECK_TIMEOUT_S)

    def start(self, host: Host, plan: NodePlan, run_key: str) -> None:
        """Push plan and key, start the agent detached, return once its socket is bound."""
        folder = plan.run_dir
        host.ask(f"umask 077; mkdir -p {shell.path(folder)}")
        host.write(f"{folder}/{PLAN_FILE}", to_json(plan).encode(), 0o600)
        host.write(f"{folder}/{KEY_FILE}", run_key.encode(), 0o600)
        self._ask(host, f"{plan.role} --plan {shell.path(folder)}/{PLAN_FILE} --detach", b"", START_TIMEOUT_S)

    def see(self, host: Host, folder: str) -> Seen:
        """Return whether the run folder's agent lives, and its last status."""
        said = self._ask(host, f"status --run-dir {shell.path(folder)}")
        status = said["status"]
        return Seen(
            said["alive"], None if status is None else NodeStatus.from_json(json.dumps(status)), said["problem"]
        )

    def stop(self, host: Host, folder: str) -> Stopped:
        """Stop exactly the run folder's agent and destroy its key. Idempotent."""
        timeout_s = 2 * STOP_TIMEOUT_S + 10
        said = self._ask(host, f"stop --run-dir {shell.path(folder)} --timeout-s {STOP_TIMEOUT_S:g}", b"", timeout_s)
        return Stopped(said["stopped"], said["was_alive"], said["problem"])

    def checksum(self, host: Host, folder: str) -> None:
        """Let the node write SHA256SUMS over its journals."""
        host.ask(self._command(f"checksum --run-dir {shell.path(folder)}"), timeout_s=CHECKSUM_TIMEOUT_S)

    def _command(self, arguments: str) -> str:
        """Return the command line of one command of the agent."""
        return f"{self._python} {ISOLATED} {shell.path(self._path)} {arguments}"

    def _python_version(self, host: Host) -> str:
        result = host.run(f"{self._python} {ISOLATED_ANY_VERSION} -c {shell.word(_VERSION)}")
        oldest = ".".join(str(part) for part in OLDEST_PYTHON)
        if result.exit_code != 0:
            said = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise PreflightError(
                f"{host.id}: remote_python: expected Python >= {oldest} as {self._python}, got: {said}; {_others(host)}"
            )
        version = (answer(result.stdout).split() or ["nothing"])[0]
        if not _is_recent(version):
            raise PreflightError(
                f"{host.id}: remote_python: expected Python >= {oldest}, got {version}; {_others(host)}"
            )
        return version

    def _ask(self, host: Host, arguments: str, stdin: bytes = b"", timeout_s: float = 20.0) -> dict[str, Any]:
        command = self._command(f"--mark {MARK} {arguments}")
        said = answer(host.ask(command, stdin=stdin, timeout_s=timeout_s)).partition("\n")[0]
        try:
            parsed = json.loads(said)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise RemoteCommandError(f"{host.id}: agent {arguments}: expected one JSON object, got {said[:200]!r}")
        return parsed


def _is_recent(version: str) -> bool:
    """Return whether this is the version of a Python that will do; what is no version is of none."""
    parts = version.split(".")[:2]
    return all(part.isdecimal() for part in parts) and tuple(int(part) for part in parts) >= OLDEST_PYTHON


def _others(host: Host) -> str:
    """Return what to do about a Python that will not do, naming those of the node that would."""
    found = host.run(_LOOK_FOR_PYTHONS).stdout.split()
    there = f"to one that is there: {', '.join(found)}" if found else "to a newer one; none was found there"
    return f"set remote_python in the cluster file {there}"


def read_status(host: Host, folder: str) -> NodeStatus | None:
    """Return the agent's status as its file tells it, without starting anything on the node; None if there is none."""
    content = host.read(f"{folder}/{STATUS_FILE}")
    try:
        return None if content is None else NodeStatus.from_json(content.decode())
    except (ValueError, TypeError) as error:
        raise RemoteCommandError(f"{host.id}: {folder}/{STATUS_FILE}: {error}") from error
