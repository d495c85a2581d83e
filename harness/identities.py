"""Which keys a login may try: those that ssh_config names, the agent's, and the usual ones unless it forbids them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def identities(ssh_config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return paramiko's ``connect`` options for what ssh_config says of keys.

    Like ssh, skip an IdentityFile that is not there, and with IdentitiesOnly try no other key.
    """
    chosen = dict(options)
    named = [Path(name).expanduser() for name in ssh_config.get("identityfile", [])]
    files = chosen.get("key_filename", [])
    there = [file for file in ([files] if isinstance(files, str) else files) if Path(file).expanduser() not in named]
    chosen["key_filename"] = there + [str(path) for path in named if _private(path)]
    if ssh_config.get("identitiesonly", "no").lower() == "yes":
        chosen |= {"allow_agent": False, "look_for_keys": False}
    return chosen


def _private(path: Path) -> bool:
    """Return whether a file is there and no public key, which IdentityFile may name too."""
    return path.is_file() and b"PRIVATE KEY" in path.read_bytes()[:64]


@contextlib.contextmanager
def held_by_agent(ssh_config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Let the agent sign for a login that IdentitiesOnly allows one of its keys; as one more of ``connect``'s options.

    Which key is told by the public half of an IdentityFile: the file itself, or the ``.pub`` beside it.
    """
    wanted: set[str] = set()
    if ssh_config.get("identitiesonly", "no").lower() == "yes":
        for name in ssh_config.get("identityfile", []):
            path = Path(name).expanduser()
            for public in (path, path.with_name(f"{path.name}.pub")):
                if public.is_file() and not _private(public):
                    wanted.update(public.read_text(encoding="utf-8", errors="replace").split()[1:2])
    if not wanted:
        yield {}
        return
    agent = paramiko.Agent()
    try:
        key = next((key for key in agent.get_keys() if key.get_base64() in wanted), None)
        yield {} if key is None else {"pkey": key}
    finally:
        agent.close()
