"""The first process of one testbed host: it makes its mounts, runs sshd, reaps, and takes everything along at its end.

Started by the supervisor in network, UTS, mount and PID namespaces of its own, with the words NAME FOLDER USER USER_ID
SSHD. ``FOLDER`` holds the host's own /etc files, /etc/ssh and /home. It says ``mounted`` once its mounts stand, is told
``go`` when its network does, and ends when standard input does; the kernel then ends every other process of the host.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 0x1000, 0x4000, 0x40000, 2, 4  # linux/mount.h
TMP_MB = 256
SHARED = "/srv"  # one folder for all hosts, as a file server would give them
OWN_FILES = ("passwd", "group", "shadow", "hosts", "hostname")

_libc = ctypes.CDLL(None, use_errno=True)


def attach(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Attach a file system to a place. Raises OSError naming the place."""
    words = [word.encode() or None for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def make_mounts(folder: Path, user: str, user_id: int) -> None:
    """Give the host its own /etc files, /home, /tmp, /run and /dev/shm. Everything else is the machine's, as it is."""
    attach("none", "/", flags=MS_REC | MS_PRIVATE)
    attach("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    for name in OWN_FILES:
        if Path("/etc", name).exists():
            attach(str(folder / "etc" / name), f"/etc/{name}", flags=MS_BIND)
    attach(str(folder / "ssh"), "/etc/ssh", flags=MS_BIND)
    if Path(SHARED).is_dir():
        attach(str(folder.parent.parent / "shared"), SHARED, flags=MS_BIND)
    homes = folder / "homes"
    attach(str(homes), "/home", flags=MS_BIND)
    os.chown(homes / user, user_id, user_id)
    for place, mode in (("/run", "755"), ("/dev/shm", "1777"), ("/var/tmp", "1777"), ("/tmp", "1777")):  # noqa: S108 - the host's own; /tmp last, the folder may lie there
        attach("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode},size={TMP_MB}m")
    Path("/run/sshd").mkdir(mode=0o755)


def serve(sshd: str, log_descriptor: int) -> None:
    """Run sshd and reap everybody's orphans until standard input ends; start sshd again if it was killed."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(waker)

    def start() -> int:
        # The hosts' processes get no environment of ours.
        return subprocess.Popen(
            [sshd, "-D", "-e"],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log_descriptor,
            stderr=log_descriptor,
            start_new_session=True,
        ).pid

    running = start()
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 1):
            return
        if wake in ready:
            os.read(wake, 4096)
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid == 0:
                break
            if pid == running:
                running = start()


def main() -> None:
    """Become the host that the command line names."""
    name, folder, user, user_id, sshd = sys.argv[1:6]
    os.umask(0o022)
    socket.sethostname(name)
    log = os.open(Path(folder, "sshd.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    make_mounts(Path(folder), user, int(user_id))
    for name_, value in (("ip_forward", "0"), ("conf/all/accept_redirects", "0")):
        Path("/proc/sys/net/ipv4", name_).write_text(value, encoding="ascii")
    keep = Path("/proc/sys/net/ipv6/conf/all/keep_addr_on_down")  # a line that was cut has its address after
    if keep.exists():
        keep.write_text("1", encoding="ascii")
    print("mounted", flush=True)  # noqa: T201 - the supervisor waits for this line
    if sys.stdin.readline() == "go\n":
        serve(sshd, log)


if __name__ == "__main__":
    main()
