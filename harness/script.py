"""One command for /bin/sh on a node: prepared by the cluster's ``setup`` lines, its output told from what comes before.

What a login prints by itself (an ``echo`` in some profile), or a line of ``setup``, is never taken for an answer: a
command's output is what comes after a mark.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import RemoteCommandError, last_line
from harness.remote import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK: Final = f"chronotick-{secrets.token_hex(8)}"
_SETUP_BEGUN: Final = f"setup-begun-{secrets.token_hex(8)}"
_SETUP_FAILED: Final = f"setup-{secrets.token_hex(8)}:"


@dataclass(frozen=True)
class Script:
    """A ``command`` in the shell that the ``setup`` lines leave."""

    command: str
    setup: Sequence[str] = ()

    @property
    def argv(self) -> list[str]:
        """Return the words that run it, whatever the login shell is."""
        return ["/bin/sh", "-c", f"{prepared(self.setup)}echo {_MARK}; echo {_MARK} >&2; {self.command}"]

    def result(self, exit_code: int, stdout: bytes, stderr: bytes) -> Result | None:
        """Return what the command left behind, None if it was not reached.

        Raises RemoteCommandError if a line of ``setup`` kept it from that.
        """
        mark = f"{_MARK}\n".encode()
        if mark in stdout:
            errors = stderr.partition(mark)[2] if mark in stderr else stderr
            return Result(exit_code, stdout.partition(mark)[2], errors.decode("utf-8", "replace"))
        words = (stdout + stderr).decode("utf-8", "replace")
        _, refused, line = words.rpartition(_SETUP_FAILED)
        if refused:
            said = words.partition(_SETUP_FAILED)[0].replace(f"{_SETUP_BEGUN}\n", "")
            told = f"; it said: {last_line(said, 'nothing')}"
            wanted = f"setup: expected {line.partition(chr(10))[0].strip()!r} to succeed before {self.command}"
            raise RemoteCommandError(f"{wanted}, got exit {exit_code}{told}")
        _, begun, told = words.replace(_MARK, "").rpartition(_SETUP_BEGUN)
        if begun:
            ended = f"setup: expected lines after which the shell goes on to {self.command}, got exit {exit_code}"
            raise RemoteCommandError(f"{ended}; it said: {last_line(told, 'nothing')}")
        return None


def prepared(setup: Sequence[str]) -> str:
    """Return the lines, none of which reads what the command is to read; one that fails ends the shell and is named."""

    def guarded(line: str) -> str:
        named = f"printf '%s%s\\n' {_SETUP_FAILED} {shlex.quote(line)} >&2"
        return f"{{ {line}\n}} </dev/null || {{ status=$?; {named}; exit $status; }}\n"

    begun = f"echo {_SETUP_BEGUN} >&2\n" if setup else ""
    return begun + "".join(map(guarded, setup))
