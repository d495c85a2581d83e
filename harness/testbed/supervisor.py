"""The process that holds a testbed together: it lives in the wires' own network namespace and is every host's parent.

Here are the switch that the hosts are plugged into and the controller's end of the line to the gateway; the switch has
no address, so from here nothing but the gateway can be reached. It ends when standard input does (the owner closed it,
crashed or was killed), takes the hosts along and removes the folder. Namespaces have no names: they end with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from harness.localcluster.processes import descendants, kill_all, piped
from harness.testbed import topology
from harness.testbed.namespaces import program
from harness.testbed.slurm import control_groups

SSHD_DEADLINE_S: Final = 20.0
SWITCH: Final = "switch"
LISTENS: Final = "Server listening on"


class StartError(RuntimeError):
    """A host that did not come up: which, and what it said."""


class Supervised:
    """One host: the process that keeps its namespaces, and its first process."""

    def __init__(self, spec: topology.HostSpec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder / "hosts" / spec.name
        own = ["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child"]
        words = [spec.name, str(self.folder), topology.USER, str(topology.USER_ID), program("sshd")]
        words.append(control_groups.name_of(os.getpid()))
        self._popen = subprocess.Popen(
            [program("unshare"), *own, sys.executable, "-m", "harness.testbed.first_process", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "host.log").open("wb"),
            bufsize=0,
            start_new_session=True,
        )
        self.pid = 0

    def await_mounted(self) -> None:
        """Wait until the host has its mounts. Raises StartError."""
        if piped(self._popen.stdout).readline() != b"mounted\n":
            raise StartError(f"{self.spec.name}: {self._said()}")
        self.pid = descendants(self._popen.pid)[0].pid

    def go(self) -> None:
        """Let the host start sshd: its network stands."""
        piped(self._popen.stdin).write(b"go\n")

    def await_sshd(self, deadline: float) -> None:
        """Wait until sshd listens. Raises StartError at the deadline (``time.monotonic`` s)."""
        log = self.folder / "sshd.log"
        while not (log.is_file() and LISTENS in log.read_text(encoding="utf-8", errors="replace")):
            if self._popen.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"{self.spec.name}: sshd does not listen: {self._said()}")
            time.sleep(0.02)

    def _said(self) -> str:
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in self.folder.glob("*.log")]
        return " ".join(" ".join(texts).split())[-300:] or "it said nothing"


def main() -> int:
    """Build the testbed in the folder the command line names, report it in one line, keep it until standard input ends.

    The second word is the family of its addresses.

    The folder holds every host's files already. Exit status 1 with a reason in the report if it does not come up.
    """
    folder, network = Path(sys.argv[1]), topology.NETWORKS[sys.argv[2]]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # only the life line ends it; "ignored" would be inherited
    try:
        hosts = [Supervised(spec, folder) for spec in network.hosts]
        _wire(hosts, network)
    except (StartError, OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error)
        print(json.dumps({"problem": " ".join(said.split())}), flush=True)  # noqa: T201 - the line the owner reads
        code = 1
    else:
        print(json.dumps({"hosts": {host.spec.name: host.pid for host in hosts}}), flush=True)  # noqa: T201 - same
        while os.read(0, 4096):
            pass
        code = 0
    _end(folder)
    return code


def _wire(hosts: list[Supervised], network: topology.Network) -> None:
    _ip(None, f"link set lo up\nlink add {SWITCH} type bridge\nlink set {SWITCH} up")
    for host in hosts:
        host.await_mounted()
    for host in hosts:
        port = f"to-{host.spec.name.rpartition('-')[2]}"
        _ip(None, f"link add {port} type veth peer name {topology.INSIDE} netns {host.pid}\n"
                  f"link set {port} master {SWITCH}\nlink set {port} up")  # fmt: skip
        address = _address(host.spec.address, network.prefix_length)
        inside = f"link set lo up\naddr add {address} dev {topology.INSIDE}\nlink set {topology.INSIDE} up"
        _ip(host.pid, inside)
        if host.spec.name == topology.GATEWAY:
            line = f"link add controller type veth peer name {topology.OUTSIDE} netns {host.pid}\n"
            ends = (network.controller_outside, network.gateway_outside)
            ours, theirs = (_address(end, network.outside_prefix_length) for end in ends)
            _ip(None, f"{line}addr add {ours} dev controller\nlink set controller up")
            outside = topology.OUTSIDE
            _ip(host.pid, f"addr add {theirs} dev {outside}\nlink set {outside} up")
        host.go()
    deadline = time.monotonic() + SSHD_DEADLINE_S
    for host in hosts:
        host.await_sshd(deadline)


def _address(address: str, prefix_length: int) -> str:
    """Return an address as ip(8) takes it; an IPv6 one without looking for another that has it, which takes seconds."""
    return f"{address}/{prefix_length}{' nodad' if ':' in address else ''}"


def _ip(pid: int | None, commands: str) -> None:
    """Carry out ip(8) commands, here or in the network of process ``pid``."""
    enter = [] if pid is None else [program("nsenter"), "--net", f"--target={pid}"]
    argv = [*enter, program("ip"), "-batch", "-"]
    subprocess.run(argv, input=commands + "\n", check=True, capture_output=True, text=True, timeout=20)


def _end(folder: Path) -> None:
    """End every descendant, wait until they are gone, and remove the folder and their control groups."""
    subtree = control_groups.name_of(os.getpid())
    deadline = time.monotonic() + 10.0
    while (left := descendants(os.getpid())) and time.monotonic() < deadline:
        kill_all(left)
        control_groups.thaw(subtree)
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)
    control_groups.remove(subtree)


if __name__ == "__main__":
    sys.exit(main())
