"""The first process of one testbed host: it makes its mounts, runs its daemons, reaps, and takes everything along.

Started by the supervisor in network, UTS, mount and PID namespaces of its own, with the words NAME FOLDER USER USER_ID
SSHD SUBTREE (of control groups). ``FOLDER`` holds the host's own /etc files, /etc/ssh and /home, and says what it has
more than sshd. It says ``mounted`` once its mounts stand, is told ``go`` when its network does, and ends when standard
input does; the kernel then ends every other process of the host.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.testbed import equipment
from harness.testbed.equipment import Daemon
from harness.testbed.mounts import MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_REC, attach, carry, hold

if TYPE_CHECKING:
    from harness.testbed.equipment import Equipment

TMP_MB = 256
SHARED = "/srv"  # one folder for all hosts, as a file server would give them
OWN_FILES = ("passwd", "group", "shadow", "hosts", "hostname")
READY_DEADLINE_S = 10.0


def make_mounts(folder: Path, user: str, user_id: int, more: Equipment) -> None:
    """Give the host its own /etc files, /home, /tmp, /run and /dev/shm. Everything else is the machine's, as it is."""
    attach("none", "/", flags=MS_REC | MS_PRIVATE)
    attach("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    held = hold(more.carried)
    for name in OWN_FILES:
        if Path("/etc", name).exists():
            attach(str(folder / "etc" / name), f"/etc/{name}", flags=MS_BIND)
    attach(str(folder / "ssh"), "/etc/ssh", flags=MS_BIND)
    if Path(SHARED).is_dir():
        attach(str(folder.parent.parent / "shared"), SHARED, flags=MS_BIND)
    homes = folder / "homes"
    attach(str(homes), "/home", flags=MS_BIND)
    os.chown(homes / user, user_id, user_id)
    _attach_own("/run", "755")
    for made in more.folders:
        Path(made).mkdir(mode=0o755)
    for place, source in more.attached.items():
        attach(source, place, flags=MS_BIND)
    for place, mode in (("/dev/shm", "1777"), ("/var/tmp", "1777"), ("/tmp", "1777")):  # noqa: S108 - the host's own; /tmp last, the folder may lie there
        _attach_own(place, mode)
    Path("/run/sshd").mkdir(mode=0o755)
    carry(held)


def _attach_own(place: str, mode: str) -> None:
    attach("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode},size={TMP_MB}m")


class Daemons:
    """The host's daemons: each with a log that was opened before the mounts covered its place."""

    def __init__(self, folder: Path, daemons: list[Daemon]) -> None:
        self._daemons = daemons
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._logs = [os.open(folder / f"{Path(daemon.argv[0]).name}.log", flags, 0o600) for daemon in daemons]
        self._running: dict[int, int] = {}

    def start_missing(self) -> None:
        """Start those that do not run, each when the one before answers. Raises TimeoutError."""
        for number, daemon in enumerate(self._daemons):
            if number not in self._running.values():
                self._start(number)
                deadline = time.monotonic() + READY_DEADLINE_S
                while daemon.ready and not Path(daemon.ready).exists():
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{daemon.argv[0]}: expected {daemon.ready}")
                    time.sleep(0.02)

    def ended(self, pid: int) -> None:
        """Start a daemon again that has ended, if it is one that is revived."""
        number = self._running.pop(pid, None)
        if number is not None and self._daemons[number].revived:
            self._start(number)

    def _start(self, number: int) -> None:
        # The hosts' processes get no environment of ours.
        process = subprocess.Popen(
            self._daemons[number].argv,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._logs[number],
            stderr=self._logs[number],
            start_new_session=True,
        )
        process.returncode = 0  # only `serve` reaps: what nobody holds, the next Popen would wait for
        self._running[process.pid] = number


def serve(daemons: Daemons) -> None:
    """Run the daemons and reap everybody's orphans until standard input ends; SIGUSR1 starts those that do not run."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    for caught in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(caught, lambda _number, _frame: None)
    signal.set_wakeup_fd(waker)
    daemons.start_missing()
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 1):
            return
        caught_numbers = os.read(wake, 4096) if wake in ready else b""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid == 0:
                break
            daemons.ended(pid)
        if signal.SIGUSR1 in caught_numbers:
            daemons.start_missing()


def main() -> None:
    """Become the host that the command line names."""
    name, folder, user, user_id, sshd, subtree = sys.argv[1:7]
    os.umask(0o022)
    socket.sethostname(name)
    more = equipment.read(Path(folder))
    daemons = Daemons(Path(folder), [Daemon([sshd, "-D", "-e"]), *more.daemons])
    make_mounts(Path(folder), user, int(user_id), more)
    if more.control_groups:
        from harness.testbed.slurm import control_groups  # noqa: PLC0415 - few hosts have any

        control_groups.enter(subtree, name)
    for name_, value in (("ip_forward", "0"), ("conf/all/accept_redirects", "0")):
        Path("/proc/sys/net/ipv4", name_).write_text(value, encoding="ascii")
    keep = Path("/proc/sys/net/ipv6/conf/all/keep_addr_on_down")  # a line that was cut has its address after
    if keep.exists():
        keep.write_text("1", encoding="ascii")
    print("mounted", flush=True)  # noqa: T201 - the supervisor waits for this line
    if sys.stdin.readline() == "go\n":
        serve(daemons)


if __name__ == "__main__":
    main()
