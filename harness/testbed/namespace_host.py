"""One host of a running testbed, as faults and questions reach it from outside."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from pathlib import Path
from signal import SIGKILL, SIGUSR1
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Final

from harness.errors import PreflightError
from harness.localcluster.processes import ZOMBIE, piped, read_process, start_ours
from harness.localcluster.relays.messages import DATAGRAMS, Answer, Question, RelayOrder
from harness.testbed import equipment, topology
from harness.testbed.namespaces import Line, enter_all, enter_network, socket_in
from node_agent.contract import json_objects
from node_agent.contract.servers import join_address

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

RUN_TIMEOUT_S: Final = 30.0
LAUNCHERS: Final = {"srun", "salloc"}  # what they are to run is in their own command lines, too
_tables = itertools.count(1)


class NamespaceHost:
    """A host: its first process (``pid``, as this process sees it), its folder, its line to the others."""

    def __init__(self, spec: topology.HostSpec, folder: Path, pid: int) -> None:
        self.name = spec.name
        self.address = spec.address
        self.pid = pid
        self.folder = folder
        self.home = folder / "homes" / topology.USER
        self.equipment = equipment.read(folder)
        self.line = Line(pid, topology.INSIDE)
        self._relays: list[contextlib.ExitStack] = []

    def run(
        self, argv: Sequence[str], *, as_user: bool = False, check: bool = True, timeout_s: float = RUN_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the host, as root or as the one who logs in. Raises CalledProcessError if it fails."""
        return subprocess.run(
            [*self.words(as_user=as_user), *argv],
            env=self.environment(as_user=as_user),
            check=check,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def start(self, argv: Sequence[str], *, as_user: bool = False) -> subprocess.Popen[str]:
        """Start a program on the host, with pipes; it ends with the host at the latest."""
        return subprocess.Popen(
            [*self.words(as_user=as_user), *argv],
            env=self.environment(as_user=as_user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def words(self, *, as_user: bool) -> list[str]:
        """Return the words that run what follows on the host."""
        user_id = topology.USER_ID if as_user else None
        return enter_all(self.pid, user_id=user_id, home=topology.HOME if as_user else "/")

    @staticmethod
    def environment(*, as_user: bool) -> dict[str, str]:
        """Return the environment of a login there."""
        who = (topology.USER, topology.HOME) if as_user else ("root", "/root")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "USER": who[0], "HOME": who[1], "LANG": "C.UTF-8"}

    @property
    def lives(self) -> bool:
        """Return whether its first process does, and so perhaps others."""
        first = read_process(self.pid)
        return first is not None and first.state != ZOMBIE

    def processes(self) -> dict[int, list[str]]:
        """Return the command line of every process of the host, by its id as this process sees it."""
        namespace = os.stat(f"/proc/{self.pid}/ns/pid").st_ino  # noqa: PTH116 - follows the link, as is wanted
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # it ended while we looked
                if entry.name.isdecimal() and (entry / "ns/pid").stat().st_ino == namespace:
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                    if words:
                        found[int(entry.name)] = words
        return found

    def agents(self) -> list[int]:
        """Return the ids of the host's running agents, checks aside (kill them with ``os.kill``).

        A Slurm step is such a process as well; the srun that began it, on this host or another, is none.
        """
        return [
            pid
            for pid, words in self.processes().items()
            if any(word.endswith("agent.pyz") for word in words)
            and {"worker", "coordinator"} & set(words)
            and Path(words[0]).name not in LAUNCHERS
        ]

    def revive(self) -> None:
        """Let the host start those of its daemons that do not run, without waiting for them."""
        os.kill(self.pid, SIGUSR1)

    def socket(self) -> socket.socket:
        """Return a UDP socket in the host's network."""
        return socket_in(self.pid, AF_INET6 if ":" in self.address else AF_INET)

    @contextlib.contextmanager
    def relay(self, host: str, port: int, *, forward_s: float = 0.0, back_s: float = 0.0) -> Iterator[None]:
        """Let this host's datagrams to ``host:port`` take ``forward_s`` longer, and the answers ``back_s``."""
        with contextlib.ExitStack() as undo:
            within = enter_network(self.pid)
            process = start_ours("harness.localcluster.relays", within=within)
            undo.callback(process.communicate)  # the end of its input ends it
            delays_ns = round(forward_s * 1e9), round(back_s * 1e9), 0
            order = RelayOrder("relay", DATAGRAMS, self.address, (host, port), *delays_ns, topology.RELAY_MARK)
            piped(process.stdin).write(f"{json_objects.write(Question([order]))}\n".encode())
            answer = json_objects.read(Answer, piped(process.stdout).readline().decode(), f"{self.name}: relay")
            if answer.problem:
                raise PreflightError(f"{self.name}: relay: {answer.problem}")
            at = answer.laid[0][1]
            family = "ip6" if ":" in self.address else "ip"
            table = f"{family} relay{next(_tables)}"
            undo.callback(self.line.nft, f"delete table {table}\n", check=False)
            self.line.nft(
                f"table {table} {{\n  chain leaving {{ type nat hook output priority -100; policy accept; }}\n}}\n"
                f"add rule {table} leaving {family} daddr {host} udp dport {port} meta mark != {topology.RELAY_MARK}"
                f" dnat to {join_address(self.address, at)}\n"
            )
            self._relays.append(undo)
            try:
                yield
            finally:
                self._relays.remove(undo)

    def repair(self) -> None:
        """Undo every fault of this host's line, and end agents that a test left."""
        self.line.restore()
        self.forget()
        for pid in self.agents():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)

    def forget(self) -> None:
        """End what faults left running."""
        for undo in self._relays:
            undo.close()
        self._relays.clear()
