"""Copying a folder by rsync, whose ssh takes the same way with the same options as our own connections."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from harness.ssh import programs
from harness.ssh.channels import TRANSFER_STALL_S

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

RSYNC: Final = "rsync"
TIMEOUT_S: Final = 1800.0
AT_ONCE: Final = 4  # each logs in at the gateway anew, where MaxStartups refuses too many

_places = threading.BoundedSemaphore(AT_ONCE)


def missing_here() -> str | None:
    """Return which program this machine lacks for rsync over ssh, in words, or None."""
    return next((f"no {program} on this machine" for program in (RSYNC, "ssh") if shutil.which(program) is None), None)


def copy(source: str, target: Path, ssh: Sequence[str], without: Collection[str]) -> str | None:
    """Copy the plain files of ``source`` (``host:folder/``) to a folder here; return why that failed, or None.

    ``ssh`` is the remote shell's command.
    """
    stall = f"--timeout={TRANSFER_STALL_S:.0f}"
    options = ["--recursive", "--times", "--perms", "--chmod=u=rwX,go=", "--compress", stall]
    exclude = [*(f"--exclude={name}" for name in without), "--exclude=.*", "--exclude=*/"]
    argv = [RSYNC, *options, *exclude, "-e", shlex.join(ssh), source, f"{target}/"]
    try:
        with _places:
            done = programs.run(argv, TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"rsync did not end within {TIMEOUT_S:g} s"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()  # a banner may be in any encoding
    last_words = " ".join(lines[-2:])  # before them come the hosts' banners
    return f"rsync failed: {last_words[:300]}" if done.returncode != 0 else None
