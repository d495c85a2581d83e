"""Which keys a login may try: those that ssh_config names, the agent's, and the usual ones unless it forbids them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

if TYPE_CHECKING:
    from collections.abc import Mapping


def identities(ssh_config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return paramiko's ``connect`` options for what ssh_config says of keys.

    Like ssh, skip an IdentityFile that is not there; with IdentitiesOnly try no other key, but let the agent sign for
    one of those named (its ``.pub`` file, or a key file that needs a passphrase, says which).
    """
    chosen = dict(options)
    named = [Path(name).expanduser() for name in ssh_config.get("identityfile", [])]
    files = chosen.get("key_filename", [])
    there = [file for file in ([files] if isinstance(files, str) else files) if Path(file).expanduser() not in named]
    chosen["key_filename"] = there + [str(path) for path in named if _private(path)]
    if ssh_config.get("identitiesonly", "no").lower() == "yes":
        chosen |= {"allow_agent": False, "look_for_keys": False}
        if key := _held_by_agent(named):
            chosen["pkey"] = key
    return chosen


def _private(path: Path) -> bool:
    """Return whether a file is there and no public key, which IdentityFile may name too."""
    return path.is_file() and b"PRIVATE KEY" in path.read_bytes()[:64]


def _held_by_agent(named: list[Path]) -> paramiko.PKey | None:
    """Return the first of the agent's keys whose public half one of the named files tells."""
    wanted = set()
    for path in named:
        for public in (path, path.with_name(f"{path.name}.pub")):
            if public.is_file() and not _private(public):
                words = public.read_text(encoding="utf-8", errors="replace").split()
                wanted.update(words[1:2])
    if not wanted:
        return None
    agent = paramiko.Agent()
    keys = [key for key in agent.get_keys() if key.get_base64() in wanted]
    return keys[0] if keys else None
