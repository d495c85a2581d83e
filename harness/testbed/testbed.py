"""A testbed as its owner holds it: hosts, lines and servers that can be cut, slowed, killed and brought back.

Whatever ends the owner ends the testbed: the supervisor watches a pipe that only the owner holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Final

from harness.errors import PreflightError, last_line
from harness.localcluster.keys import known_host_line, make_key, write_key, write_private
from harness.localcluster.processes import (
    end_with_its_pipes,
    known_environment,
    piped,
    read_line,
    read_process,
    start_ours,
)
from harness.testbed import pipe, topology
from harness.testbed.namespace_host import NamespaceHost
from harness.testbed.namespaces import Line, enter_network, program, why_not
from harness.testbed.service import Service
from harness.testbed.slurm import control_groups
from harness.testbed.slurm import files as slurm_files
from harness.testbed.slurm.cluster import SlurmCluster
from harness.testbed.topology import STATE_FILE, State
from node_agent.contract import json_objects
from node_agent.contract.servers import NTP_PORT, join_address

if TYPE_CHECKING:
    import subprocess

START_DEADLINE_S: Final = 60.0
CLOSE_DEADLINE_S: Final = 30.0
POLL_S: Final = 0.02
FOLDER_PREFIX: Final = "chronotick-testbed-"
NTP_SERVER, NTP_PROXY, CHRONOTICK = "ntp_server", "ntp_proxy", "chronotick"


class Testbed(contextlib.AbstractContextManager["Testbed"]):
    """A running testbed. ``ssh_config`` is all that ``fab -S`` needs; ``close`` leaves nothing of it."""

    __test__ = False  # pytest takes the name for a test

    def __init__(
        self, folder: Path, supervisor: subprocess.Popen[bytes], pids: dict[str, int], network: topology.Network,
        flavour: str | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.network = network
        self.supervisor_pid = supervisor.pid
        self.started_ns = time.time_ns()
        self._supervisor = supervisor
        hosts = (NamespaceHost(spec, folder / "hosts" / spec.name, pids[spec.name]) for spec in network.hosts)
        self.hosts = {host.name: host for host in hosts}
        self.gateway = self.hosts[topology.GATEWAY]  # between controller and nodes; it runs the time services
        self.nodes = [host for host in self.hosts.values() if host is not self.gateway]
        self.ssh_config = folder / "ssh_config"  # it says where ``ares`` is
        self.known_hosts = folder / "known_hosts"
        self.identity_file = folder / "id_ed25519"  # the one key that every host lets in
        self.controller_line = Line(pids[topology.GATEWAY], topology.OUTSIDE)
        self.services = self._prepared_services()
        self._slurm = None if flavour is None else SlurmCluster(flavour, self.gateway, self.nodes)

    @property
    def slurm(self) -> SlurmCluster:
        """Return the Slurm that its hosts have. Raises AssertionError if it was started without."""
        if self._slurm is None:
            raise AssertionError("started with a Slurm")
        return self._slurm

    @property
    def proxy_command(self) -> str:
        """Return the ProxyCommand that connects from the controller's side of the testbed."""
        words = [program("nsenter"), f"--net=/proc/{self.supervisor_pid}/ns/net", sys.executable, "-I", "-S"]
        return " ".join([*map(shlex.quote, [*words, pipe.__file__]), "%h", "%p"])

    @property
    def state(self) -> State:
        """Return what another process needs to know of it."""
        pids = {name: host.pid for name, host in self.hosts.items()}
        owner = read_process(os.getpid())
        if owner is None:
            raise AssertionError("this process runs")
        return State(owner.pid, owner.start_ticks, self.supervisor_pid, self.started_ns, str(self.ssh_config), pids)

    def start_services(self) -> None:
        """Start the time services that do not run and wait until all of them answer. Raises PreflightError."""
        missing = [service for service in self.services.values() if not service.runs]
        for service in missing:
            service.start(wait=False)
        for service in missing:
            service.await_ready()

    def repair(self) -> None:
        """Undo every fault, for the next test: lines up, no loss, no relay, no agent, every server running.

        Where there is a Slurm: no job, and every node idle.
        """
        self.controller_line.restore()
        for host in self.hosts.values():
            host.repair()
        for service in self.services.values():
            if service.runs:
                service.send(Signals.SIGCONT)
        self.start_services()
        if self._slurm is not None:
            self._slurm.repair()

    def close(self) -> None:
        """End every process of the testbed, and with the last one its namespaces; remove its folder. Idempotent."""
        for host in self.hosts.values():
            host.forget()
        end_with_its_pipes(self._supervisor, CLOSE_DEADLINE_S)
        for service in self.services.values():
            service.end()
        self._await_hosts_end()
        shutil.rmtree(self.folder, ignore_errors=True)
        control_groups.sweep()  # if the supervisor was killed before it could

    def __exit__(self, *_: object) -> None:
        self.close()

    def _await_hosts_end(self) -> None:
        """Wait until no host has a process that writes to the folder; a supervisor that was killed did not."""
        deadline = time.monotonic() + CLOSE_DEADLINE_S
        while any(host.lives for host in self.hosts.values()) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _prepared_services(self) -> dict[str, Service]:
        pid, address = self.gateway.pid, self.gateway.address
        enter, logs = enter_network(pid), self.folder / "services"
        logs.mkdir()
        environment = known_environment()

        def ours(name: str, module: str, *options: str) -> Service:
            argv = [*enter, sys.executable, "-m", f"time_services.{module}", *options]
            return Service(name, argv, logs / f"{name}.log", environment)

        upstream = join_address(self.network.loopback, NTP_PORT)
        ntp, tick = (join_address(address, port) for port in (topology.NTP_PORT, topology.CHRONOTICK_PORT))
        return {
            NTP_SERVER: ours(NTP_SERVER, "ntp_server", "--listen", upstream),
            NTP_PROXY: ours(NTP_PROXY, "ntp_proxy", "--map", f"{ntp}={upstream}"),
            CHRONOTICK: ours(CHRONOTICK, "chronotick_server", "--listen", tick),
        }


def start(folder: Path | None = None, family: str = topology.IPV4, slurm: str | None = None) -> Testbed:
    """Bring a testbed up; return when everything answers. ``folder`` must not exist yet (default: a temporary one).

    Its hosts have addresses of one ``family`` alone. With ``slurm``, one of ``slurm.files.FLAVOURS``, they are a Slurm
    cluster with one /home, in which this Python and this project can be used.

    Raises PreflightError where it cannot be, or does not come up. Nothing is left running then.
    """
    reason = why_not() if slurm is None else slurm_files.why_not(slurm)
    if reason is not None:
        raise PreflightError(f"testbed: {reason}")
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    else:
        folder.mkdir(mode=0o700, parents=True)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        control_groups.sweep()  # of those before
        network = topology.NETWORKS[family]
        if slurm is not None:
            slurm_files.lay_out(folder, network, slurm)
        _lay_out(folder, network)
        if slurm is not None:
            slurm_files.add_keys(folder, network)
        supervisor = _supervise(folder, family)
        undo.callback(end_with_its_pipes, supervisor, CLOSE_DEADLINE_S)
        testbed = Testbed(folder, supervisor, _await_hosts(supervisor, folder), network, slurm)
        undo.callback(testbed.close)
        testbed.start_services()
        if slurm is not None:
            testbed.slurm.await_idle()
        told = topology.ssh_config(folder, testbed.proxy_command, network)
        testbed.ssh_config.write_text(told, encoding="utf-8")
        (folder / STATE_FILE).write_text(json_objects.write(testbed.state), encoding="utf-8")
        undo.pop_all()
        return testbed


def _supervise(folder: Path, family: str) -> subprocess.Popen[bytes]:
    with (folder / "supervisor.log").open("wb") as log:
        within = [program("unshare"), "--net"]
        return start_ours("harness.testbed.supervisor", str(folder), family, errors=log, within=within)


def _await_hosts(supervisor: subprocess.Popen[bytes], folder: Path) -> dict[str, int]:
    """Return every host's first process, by name. Raises PreflightError."""
    deadline = time.monotonic() + START_DEADLINE_S
    text = read_line(piped(supervisor.stdout), deadline)
    if not text.endswith(b"\n") and time.monotonic() >= deadline:
        raise PreflightError(f"testbed: not up within {START_DEADLINE_S:g} s")
    if not text.endswith(b"\n"):
        log = folder / "supervisor.log"
        words = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        raise PreflightError(f"testbed: its supervisor ended: {last_line(words)}")
    report = json.loads(text)
    if "problem" in report:
        raise PreflightError(f"testbed: {report['problem']}")
    return {str(name): int(pid) for name, pid in report["hosts"].items()}


def _lay_out(folder: Path, network: topology.Network) -> None:
    """Write keys and every host's own files."""
    (folder / "shared").mkdir()
    client = make_key()
    write_key(folder / "id_ed25519", client)
    known = []
    for spec in network.hosts:
        place = folder / "hosts" / spec.name
        home = place / "homes" / topology.USER
        for made in (place / "etc", place / "ssh", home / ".ssh"):
            made.mkdir(parents=True, exist_ok=True)  # hosts may have one /home
        for name, content in (
            ("passwd", topology.PASSWD_FILE),
            ("group", topology.GROUP_FILE),
            ("shadow", topology.SHADOW_FILE),
            ("hosts", topology.hosts_file(spec, network)),
            ("hostname", f"{spec.name}\n"),
        ):
            (place / "etc" / name).write_text(content, encoding="ascii")
        (place / "etc/shadow").chmod(0o600)
        key = make_key()
        write_key(place / "ssh/ssh_host_ed25519_key", key)
        (place / "ssh/sshd_config").write_text(topology.SSHD_CONFIG, encoding="ascii")
        (place / "ssh/banner").write_text(f"This is {spec.name}, a test host.\n", encoding="ascii")
        (home / ".ssh/authorized_keys").write_bytes(client.export_public_key("openssh"))
        for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, topology.USER_ID, topology.USER_ID)
            path.chmod(0o700 if path.is_dir() else 0o600)
        names = [spec.name, spec.address]
        if spec.name == topology.GATEWAY:
            names.append(network.gateway_outside)
        known += [known_host_line(name, 22, key) for name in names]
    write_private(folder / "known_hosts", b"".join(known))
