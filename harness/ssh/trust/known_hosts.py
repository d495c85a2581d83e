"""known_hosts files, line by line and as bytes (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), and KnownHostsCommand.

A line that cannot be read is left out and remembered; it never hides the others. KnownHostsCommand of ssh_config(5) is
a program that prints such lines.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh import programs
from harness.ssh.config.match import list_fits
from harness.ssh.config.tokens import expanded, tokens
from harness.ssh.config.words import BadLineError, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    import paramiko

    from harness.ssh.config.options import SshOptions

CERT_AUTHORITY: Final = "@cert-authority"
REVOKED: Final = "@revoked"
PLAIN: Final = ""

_HASHED: Final = b"|1|"


@dataclass(frozen=True)
class Entry:
    """One line that is about the host: its marker (or PLAIN), its key, and where it is written."""

    place: str
    marker: str
    key_type: str
    blob: bytes


@dataclass
class Known:
    """What all files say about one host, in their order, and which lines nobody could read."""

    entries: list[Entry] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def marked(self, marker: str) -> list[Entry]:
        """Return the entries with one marker."""
        return [entry for entry in self.entries if entry.marker == marker]


def known_in_files(files: Iterable[str], name: str) -> Known:
    """Return what the files say about a host (``host`` or ``[host]:port``); one that is not there says nothing."""
    known = Known()
    for file in files:
        try:
            content = Path(file).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            known.unreadable.append(f"{file}: {error.strerror}")
            continue
        add(known, content, file, name)
    return known


def add(known: Known, content: bytes, source: str, name: str) -> None:
    """Add what a file's (or a KnownHostsCommand's) content says about a host."""
    wanted = name.lower().encode()
    for number, line in enumerate(content.split(b"\n"), 1):
        fields = line.split()
        if not fields or fields[0].startswith(b"#"):
            continue
        place, marker = f"{source}:{number}", PLAIN
        if fields[0].startswith(b"@"):
            marker = fields.pop(0).decode("ascii", "replace")
        if not fields or not _about(fields[0], wanted):
            continue
        try:
            key_type, blob = _key(marker, fields)
        except ValueError as error:
            known.unreadable.append(f"{place}: {error}")
            continue
        known.entries.append(Entry(place, marker, key_type, blob))


def _key(marker: str, fields: list[bytes]) -> tuple[str, bytes]:
    """Return a line's key. Raises ValueError, saying why there is none."""
    if marker not in {PLAIN, CERT_AUTHORITY, REVOKED}:
        raise ValueError(f"not a marker: {marker}")
    if len(fields) < 3:
        raise ValueError("cut off before its key")
    key_type = fields[1].decode("ascii", "replace")
    if key_type.isdecimal():
        raise ValueError("a key of SSH protocol 1")
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except binascii.Error:
        raise ValueError("its key is cut off or damaged") from None
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != fields[1] or len(blob) <= 4 + length or not _whole(blob):
        raise ValueError("its key is cut off or damaged")
    return key_type, blob


def _whole(blob: bytes) -> bool:
    """Return whether a key consists of whole length-prefixed fields (RFC 4251, 5), the shape of every key type."""
    at = 0
    while at < len(blob):
        at += 4 + int.from_bytes(blob[at : at + 4], "big")
    return at == len(blob)


def _about(hosts: bytes, name: bytes) -> bool:
    """Return whether the first field of a line, hashed or a list of patterns, is about a host."""
    if hosts.startswith(b"|"):
        return _hash_fits(hosts, name)
    # Bytes as letters, so that a name in any encoding is one.
    return list_fits(name.decode("latin-1"), hosts.lower().decode("latin-1").split(","))


def _hash_fits(hosts: bytes, name: bytes) -> bool:
    if not hosts.startswith(_HASHED):
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hosts.removeprefix(_HASHED).split(b"|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name, hashlib.sha1), digest)


def hashed(name: str, salt: bytes) -> str:
    """Return a host's name as HashKnownHosts writes it; ``salt`` has 20 random bytes."""
    digest = hmac.digest(salt, name.lower().encode(), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


COMMAND_TIMEOUT_S: Final = 10.0
_NONE: Final = "NONE"


def ask_command(known: Known, options: SshOptions, name: str, asking: str, key: paramiko.PKey | None) -> None:
    """Add what KnownHostsCommand prints; one that cannot be run, fails or does not end says nothing, and why is noted.

    ``asking`` is ssh's word for the occasion: ORDER (which key types to ask for) or HOSTNAME (is this key known).
    """
    command = options.known_hosts_command or ""
    jump = options.jumps[-1].host if options.jumps else ""
    alias = options.host_key_alias or ""
    known_tokens = tokens(options.name, options.host, options.user, str(options.port), alias, jump)
    blob = b"" if key is None else bytes(key.asbytes())
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    known_tokens |= {
        "H": name,
        "I": asking,
        "K": _NONE if key is None else base64.b64encode(blob).decode(),
        "f": _NONE if key is None else f"SHA256:{digest}",
        "t": _NONE if key is None else key.get_name(),
    }
    try:
        argv = [expanded(word, known_tokens, "knownhostscommand") for word in words(command)]
        done = programs.run(argv, COMMAND_TIMEOUT_S)
    except (BadLineError, OSError, subprocess.TimeoutExpired, ConfigError) as error:
        known.unreadable.append(f"KnownHostsCommand {command}: {error}")
        return
    if done.returncode != 0:
        known.unreadable.append(f"KnownHostsCommand {command}: it ended with {done.returncode}")
        return
    add(known, done.stdout, f"KnownHostsCommand {command}", name)
