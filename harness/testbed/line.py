"""One interface of a host as a line that can be cut and lose packets."""

from __future__ import annotations

import subprocess
from typing import Final

from harness.testbed.needs import program

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
