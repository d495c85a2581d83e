"""The argument vectors of rsync and its ssh: the same user, port, key, known hosts and jump that fabric uses."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from harness.channels import CONNECT_TIMEOUT_S, TRANSFER_STALL_S
from harness.host_keys import ACCEPT_NEW
from harness.ssh_config import files

if TYPE_CHECKING:
    from harness.config import ClusterConfig, NodeConfig, SshConfig


def missing_here() -> str | None:
    """Return which program this machine lacks for rsync over ssh, or None."""
    return next((program for program in ("rsync", "ssh") if shutil.which(program) is None), None)


def ssh_config(cluster: ClusterConfig, given: str | None = None) -> str:
    """Return an ssh_config that says what the cluster file says and leaves the rest to the user's own.

    That is the ``given`` file (``fab -S``) or the usual two. First values win in ssh, so ours come before the Include.
    An embedded cluster knows nothing of the user's.
    """
    hops = [*cluster.nodes, *([cluster.gateway] if cluster.gateway else [])]
    blocks = [_block(cluster, hop) for hop in hops]
    if not cluster.embedded:
        blocks.append("Match all\n" + "".join(f'    Include "{path}"\n' for path in files(given)))
    return "\n".join(blocks)


def argv(node: NodeConfig, config_file: Path, folder: str, target: Path) -> list[str]:
    """Return the command that copies a remote folder's content to ``target``."""
    source = f"{node.host}:{folder.removeprefix('~/')}/"
    shell = f"ssh -F {shlex.quote(str(config_file))}"
    stall = f"--timeout={TRANSFER_STALL_S:.0f}"
    options = ["--recursive", "--times", "--perms", "--chmod=u=rwX,go=", "--compress", stall]
    exclude = ["--exclude=run.key", "--exclude=.*", "--exclude=*/"]
    return ["rsync", *options, *exclude, "-e", shell, source, f"{target}/"]


def _block(cluster: ClusterConfig, hop: SshConfig) -> str:
    lines = [f"Host {hop.host}"]
    if hop.user is not None:
        lines.append(f"User {hop.user}")
    if hop.port is not None:
        lines.append(f"Port {hop.port}")
    if hop.identity_file is not None:
        lines.append(f'IdentityFile "{Path(hop.identity_file).expanduser()}"')
        lines.append("IdentitiesOnly yes")
    if cluster.known_hosts_file is not None:
        lines.append(f'UserKnownHostsFile "{Path(cluster.known_hosts_file).expanduser()}"')
    if cluster.gateway is not None and hop is not cluster.gateway:
        lines.append(f"ProxyJump {cluster.gateway.host}")
    accept_new = cluster.host_key_policy == ACCEPT_NEW
    lines.append(f"StrictHostKeyChecking {'accept-new' if accept_new else 'yes'}")
    lines += ["BatchMode yes", f"ConnectTimeout {CONNECT_TIMEOUT_S}", "ServerAliveInterval 10"]
    return "\n    ".join(lines) + "\n"
