"""The argument vector of rsync, whose ssh takes the same way with the same options as our own connections."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING

from harness.ssh.channels import TRANSFER_STALL_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.configuration.experiment import NodeConfig


def missing_here() -> str | None:
    """Return which program this machine lacks for rsync over ssh, or None."""
    return next((program for program in ("rsync", "ssh") if shutil.which(program) is None), None)


def argv(node: NodeConfig, ssh: Sequence[str], folder: str, target: Path) -> list[str]:
    """Return the command that copies a remote folder's content to ``target``; ``ssh`` is its remote shell's."""
    source = f"{node.host}:{folder.removeprefix('~/')}/"
    shell = " ".join(shlex.quote(word) for word in ssh)
    stall = f"--timeout={TRANSFER_STALL_S:.0f}"
    options = ["--recursive", "--times", "--perms", "--chmod=u=rwX,go=", "--compress", stall]
    exclude = ["--exclude=run.key", "--exclude=.*", "--exclude=*/"]
    return ["rsync", *options, *exclude, "-e", shell, source, f"{target}/"]
