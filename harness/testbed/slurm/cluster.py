"""Slurm on a running testbed, as tests drive it: commands of the user, nodes that fail and come back."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

from harness.errors import PreflightError, last_line
from harness.localcluster.processes import read_process
from harness.testbed import topology
from harness.testbed.namespace_host import RUN_TIMEOUT_S

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from harness.testbed.namespace_host import NamespaceHost

IDLE: Final = "idle"
IDLE_DEADLINE_S: Final = 30.0
EMPTY_DEADLINE_S: Final = 60.0
END_DEADLINE_S: Final = 10.0
POLL_S: Final = 0.05


class SlurmCluster:
    """The Slurm of a testbed: its controller on the gateway, its nodes. ``flavour`` says how it tracks processes."""

    def __init__(self, flavour: str, gateway: NamespaceHost, nodes: Sequence[NamespaceHost]) -> None:
        self.flavour = flavour
        self.gateway = gateway
        self.nodes = {node.name: node for node in nodes}

    def run(
        self, *argv: str, as_user: bool = True, check: bool = True, timeout_s: float = RUN_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node, in the user's home (or as root). Raises CalledProcessError if it fails."""
        return self.gateway.run(argv, as_user=as_user, check=check, timeout_s=timeout_s)

    def states(self) -> dict[str, str]:
        """Return every node's state, as sinfo words it (``idle``, ``down*`` ...); nothing where slurmctld is silent."""
        asked = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", check=False)
        return dict(line.split() for line in asked.stdout.splitlines()) if asked.returncode == 0 else {}

    def jobs(self) -> dict[str, str]:
        """Return the state of every job that has not ended, as squeue words it (``RUNNING`` ...), by its id."""
        asked = self.run("squeue", "--noheader", "--all", "--format=%i %T")
        return dict(line.split() for line in asked.stdout.splitlines())

    def await_states(self, *states: str, names: Sequence[str] = (), timeout_s: float = IDLE_DEADLINE_S) -> None:
        """Return when every node (or each of ``names``) is in one of these states. Raises PreflightError."""
        wanted = set(names or self.nodes)

        def reached() -> bool:
            now = self.states()
            return wanted <= now.keys() and all(now[name] in states for name in wanted)

        self._await(reached, f"nodes that are {' or '.join(states)}", timeout_s)

    def await_idle(self, timeout_s: float = IDLE_DEADLINE_S) -> None:
        """Return when every node is idle. Raises PreflightError at the deadline."""
        self.await_states(IDLE, timeout_s=timeout_s)

    def kill_daemon(self, name: str) -> None:
        """Kill slurmd of a node (or slurmctld of the login node) without warning; its jobs' processes go on.

        What slurmctld learnt in its last five seconds it has perhaps not saved, and then never knew.
        """
        host = self._host(name)
        daemons = [pid for pid, words in host.processes().items() if words == self._daemon(name)]
        for pid in daemons:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + END_DEADLINE_S
        while any(read_process(pid) is not None for pid in daemons):
            if time.monotonic() > deadline:
                raise PreflightError(f"{name}: expected {self._daemon(name)[0]} to end")
            time.sleep(POLL_S)

    def start_daemon(self, name: str) -> None:
        """Start slurmd of a node (or slurmctld) if it does not run."""
        self._host(name).revive()

    def repair(self) -> None:
        """Cancel all jobs, start what was killed and make every node idle. Raises PreflightError."""
        for name in (self.gateway.name, *self.nodes):
            self.start_daemon(name)
        self._await(self._answers, "an answer of slurmctld", IDLE_DEADLINE_S)
        self.run("scancel", f"--user={topology.USER}", as_user=False)
        self._await(lambda: not self.jobs(), "no job", EMPTY_DEADLINE_S)
        for name, state in self.states().items():
            if state.rstrip("*").startswith(("down", "drain")):
                # Refused for a node that came back by itself in between.
                self.run("scontrol", "update", f"nodename={name}", "state=resume", as_user=False, check=False)
        self.await_idle()

    def _host(self, name: str) -> NamespaceHost:
        return self.gateway if name == self.gateway.name else self.nodes[name]

    def _daemon(self, name: str) -> list[str]:
        return next(daemon.argv for daemon in self._host(name).equipment.daemons if not daemon.revived)

    def _answers(self) -> bool:
        return self.run("scontrol", "ping", check=False).returncode == 0

    def _await(self, reached: Callable[[], bool], wanted: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached():
            if time.monotonic() > deadline:
                log = (self.gateway.folder / "slurmctld.log").read_text(encoding="utf-8", errors="replace")
                raise PreflightError(
                    f"testbed: Slurm: expected {wanted} within {timeout_s:g} s, got {self.states()}; {last_line(log)}"
                )
            time.sleep(POLL_S)
