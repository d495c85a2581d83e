"""Key pairs and known_hosts files for the embedded hosts, made anew for every cluster and gone with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import asyncssh

ALGORITHM = "ssh-ed25519"
PRIVATE = 0o600


def make_key() -> asyncssh.SSHKey:
    """Make a key pair."""
    import asyncssh  # noqa: PLC0415 - a fifth of the time that every fab takes to start, and few make a key

    return asyncssh.generate_private_key(ALGORITHM)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on. Raises FileExistsError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
        file.write(content)


def write_key(path: Path, key: asyncssh.SSHKey) -> None:
    """Write a private key as OpenSSH and paramiko read it."""
    write_private(path, key.export_private_key("openssh"))


def known_host_line(address: str, port: int, key: asyncssh.SSHKey) -> bytes:
    """Return the known_hosts line of one host (sshd(8)); only port 22 goes without brackets."""
    name = address if port == 22 else f"[{address}]:{port}"
    return name.encode() + b" " + key.export_public_key("openssh").strip() + b"\n"
