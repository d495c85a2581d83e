"""What the testbed needs of a machine, and reaching into a host's namespaces: programs, sockets, a line to cut."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGE_OF: Final = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "ip": "iproute2",
    "nft": "nftables",
}


def program(name: str) -> str:
    """Return the path of a program that may lie where only root's PATH looks. Raises FileNotFoundError."""
    path = _which(name)
    if path is None:
        raise FileNotFoundError(f"{name}: expected it installed (Debian package {PACKAGE_OF.get(name, 'unknown')})")
    return path


def missing_packages() -> list[str]:
    """Return the Debian packages that this machine lacks."""
    return [package for name, package in PACKAGE_OF.items() if not is_installed(name)]


def is_installed(name: str) -> bool:
    """Return whether there is such a program, also where only root's PATH looks."""
    return _which(name) is not None


def why_not() -> str | None:
    """Return in one line why there can be no testbed here, or None."""
    if sys.platform != "linux":
        return f"it needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "it needs root, for network namespaces"
    missing = missing_packages()
    return f"missing Debian packages: {', '.join(missing)}" if missing else None


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


CLONE_NEWNET: Final = 0x40000000  # linux/sched.h

_libc = ctypes.CDLL(None, use_errno=True)


def enter_all(pid: int, *, user_id: int | None = None, home: str = "/") -> list[str]:
    """Return the words that run what follows as a process of the host whose first process is ``pid``."""
    words = [program("nsenter"), f"--target={pid}", "--net", "--uts", "--mount", "--pid"]
    if user_id is not None:
        words += [f"--setuid={user_id}", f"--setgid={user_id}"]
    return [*words, "env", f"--chdir={home}"]  # nsenter's own --wd means the folder outside


def enter_network(pid: int) -> list[str]:
    """Return the words that run what follows in the host's network, and end it with the host; files are ours."""
    return [program("nsenter"), f"--target={pid}", "--net", "--pid"]


def socket_in(pid: int, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    """Return a socket of the network that process ``pid`` lives in; it stays there. Raises OSError.

    setns(2) moves one thread, so a thread goes there, makes the socket and ends.
    """

    def make() -> socket.socket:
        namespace = os.open(Path("/proc", str(pid), "ns/net"), os.O_RDONLY)
        try:
            if _libc.setns(namespace, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"setns: {os.strerror(number)}")
            return socket.socket(family, kind)
        finally:
            os.close(namespace)

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(make).result()


TABLE: Final = "faults"
TIMEOUT_S: Final = 20.0


class Line:
    """The interface ``name`` in the network of process ``pid``."""

    def __init__(self, pid: int, name: str) -> None:
        self._enter = [program("nsenter"), f"--target={pid}", "--net"]
        self.name = name

    def cut(self) -> None:
        """Take the interface down: nothing passes, and nobody is told."""
        self._run("ip", "link", "set", self.name, "down")

    def restore(self) -> None:
        """Take the interface up and let everything pass again."""
        self._run("ip", "link", "set", self.name, "up")
        self.nft(f"table inet {TABLE}\ndelete table inet {TABLE}\n")  # the first line makes sure there is one

    def lose(self, percent: int, match: str = "meta l4proto udp") -> None:
        """Drop at random ``percent`` % of the arriving packets that ``match`` (an nft expression) fits."""
        share = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        rule = f"iifname {self.name} {match} {share} counter drop"
        self.nft(
            f"table inet {TABLE} {{\n"
            "  chain arriving { type filter hook input priority 0; policy accept; }\n}\n"
            f"add rule inet {TABLE} arriving {rule}\n"
        )

    def nft(self, commands: str, *, check: bool = True) -> None:
        """Let nft change the rules of that network. Raises CalledProcessError where it fails, unless told otherwise."""
        self._run("nft", "-f", "-", commands=commands, check=check)

    def _run(self, name: str, *arguments: str, commands: str = "", check: bool = True) -> None:
        argv = [*self._enter, program(name), *arguments]
        subprocess.run(argv, input=commands, check=check, capture_output=True, text=True, timeout=TIMEOUT_S)
