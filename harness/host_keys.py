"""Which host keys are believed: those on file, and under ``accept-new`` also the first one ever seen of a host."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import paramiko

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCEPT_NEW: Final = "accept-new"
USER_KNOWN_HOSTS: Final = Path("~/.ssh/known_hosts")
SYSTEM_KNOWN_HOSTS: Final = Path("/etc/ssh/ssh_known_hosts")

_appending = threading.Lock()


class AcceptNew(paramiko.MissingHostKeyPolicy):
    """Believe a host nobody knows yet and write its key down; a *changed* key is refused before any policy is asked."""

    def __init__(self, known_hosts: Path) -> None:
        """Remember the file that new keys are appended to."""
        self._known_hosts = known_hosts

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Append ``hostname key`` to the file; what is in it stays as it is, byte for byte."""
        with _appending:
            self._known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._known_hosts.open("a", encoding="utf-8") as file:
                file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")
            client.get_host_keys().add(hostname, key.get_name(), key)


def apply_policy(client: paramiko.SSHClient, policy: str, files: Sequence[Path]) -> None:
    """Make ``client`` believe the keys in ``files`` (absent ones are empty), and others as ``policy`` says."""
    for file in files:
        if file.expanduser().is_file():
            client.load_system_host_keys(str(file.expanduser()))
    client.set_missing_host_key_policy(
        AcceptNew(files[0].expanduser()) if policy == ACCEPT_NEW else paramiko.RejectPolicy()
    )


def know_by(client: paramiko.SSHClient, alias: str, host: str, port: int) -> None:
    """Let the key on file for ``alias`` (ssh_config's HostKeyAlias) be the one of ``host``, and no other."""
    name = host if port == paramiko.config.SSH_PORT else f"[{host}]:{port}"
    known = client._system_host_keys  # type: ignore[attr-defined]  # noqa: SLF001 - where load_system_host_keys puts them
    for key in (known.lookup(alias) or {}).values():
        known.add(name, key.get_name(), key)


def known_hosts_files(configured: str | None, ssh_config_says: str | None) -> list[Path]:
    """Return the files to read: the cluster file's one, else what ssh_config names, else the usual two."""
    if configured is not None:
        return [Path(configured)]
    if ssh_config_says is not None:
        return [Path(word) for word in ssh_config_says.split()]
    return [USER_KNOWN_HOSTS, SYSTEM_KNOWN_HOSTS]
