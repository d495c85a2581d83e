"""Which host keys are believed: as ssh believes them, and under ``accept-new`` also the first one ever seen of a host.

The rules are those of OpenSSH's sshconnect.c: a revoked key never, a certificate by an authority that is known for the
host, a key on file for it; a host on another port may be known by its bare name.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import paramiko

from harness.ssh import programs
from harness.ssh.config.options import SSH_PORT, SshOptions
from harness.ssh.trust import host_certificates, known_hosts, revoked_keys
from harness.ssh.trust.known_hosts import CERT_AUTHORITY, PLAIN, REVOKED, Known, ask_command
from harness.ssh.trust.revoked_keys import SSH_KEYGEN_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Sequence


ACCEPT_NEW: Final = "accept-new"

_KNOWN: Final = "known"
_UNKNOWN: Final = "unknown"
_CHANGED: Final = "changed"
_REVOKED: Final = "revoked"
_CHANGED_KEY: Final = (
    "its host key is not the known one ({place}); find out why, and if the host was reinstalled, "
    "remove the old key with ssh-keygen -R '{name}'"
)
_CHECKABLE: Final = {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}

_appending = threading.Lock()


class HostKeyError(paramiko.SSHException):
    """A host key that is not believed; the message says why and what to do."""


@dataclass(frozen=True)
class Trust:
    """What the cluster file says of host keys: its policy, and whether its own file stands in for the user's."""

    policy: str
    own_file: str | None = None


@dataclass(frozen=True)
class _Answer:
    """What the files say of a key under one name, and where."""

    verdict: str
    place: str
    known: Known
    refused: str | None = None  # why its certificate does not count
    comparable: bool = True


class HostKeys:
    """The host keys of one host, by the options in force for it."""

    def __init__(self, options: SshOptions, trust: Trust) -> None:
        self._options, self._trust = options, trust
        self._accepted: dict[str, bytes] = {}  # where they cannot be written down

    def preferred(self, offered: Sequence[str]) -> list[str]:
        """Return the algorithms to ask the host for: those of known keys first, certificates if one could count."""
        known = self._known(self._options.known_as, "ORDER")
        allowed = dict(self._options.algorithms).get("keys", ())
        names = [name for name in allowed if name in offered] if allowed else list(offered)
        types = {entry.key_type for entry in known.marked(PLAIN)}
        authorities = bool(known.marked(CERT_AUTHORITY))
        by_bare_name = self._bare_name is not None and self._known(self._bare_name, "ORDER").marked(CERT_AUTHORITY)

        def rank(name: str) -> int:
            if name.endswith(host_certificates.CERTIFICATE_SUFFIX):
                return 0 if authorities else 2
            return 1 if ("ssh-rsa" if name.startswith("rsa-sha2-") else name) in types else 3

        if not authorities and not by_bare_name:
            names = [name for name in names if not name.endswith(host_certificates.CERTIFICATE_SUFFIX)]
        return sorted(names, key=rank)

    @property
    def _bare_name(self) -> str | None:
        """Return the name that a host on another port may be known by as well."""
        options = self._options
        return options.host.lower() if options.host_key_alias is None and options.port != SSH_PORT else None

    def believe(self, key: paramiko.PKey, address: str | None) -> None:
        """Return if a host's key is believed. Raises HostKeyError. ``address`` is where it was reached directly."""
        options = self._options
        self._demand_not_revoked(key)
        answer = self._judge(key, options.known_as)
        if answer.verdict == _UNKNOWN and self._bare_name is not None:
            other = self._judge(key, self._bare_name)
            answer = other if other.verdict in {_KNOWN, _REVOKED} else answer
        if answer.verdict == _REVOKED:
            raise HostKeyError(f"its host key is revoked ({answer.place}); it is never believed")
        if answer.verdict != _KNOWN:
            self._not_known(key, answer)
        elif address is not None and options.check_host_ip and options.host_key_alias is None:
            name = address if options.port == SSH_PORT else f"[{address}]:{options.port}"
            if self._judge(key, name).verdict == _CHANGED:
                raise HostKeyError(f"its host key is not the known one of its address {address} (CheckHostIP)")

    def _not_known(self, key: paramiko.PKey, answer: _Answer) -> None:
        """Accept the first key ever seen of a host where the policy says so. Raises HostKeyError."""
        name = self._options.known_as
        accepted = self._accepted.get(name)
        if accepted is not None:
            if accepted != _plain(key):
                raise HostKeyError(_CHANGED_KEY.format(place="as it was a moment ago", name=name))
            return
        if answer.verdict == _CHANGED:
            if not answer.comparable:
                raise HostKeyError(
                    f"its host key is unknown; ssh knows another one of it ({answer.place}), of a type that "
                    "cannot be checked here: connect once with ssh -o HostKeyAlgorithms=" + key.get_name()
                )
            raise HostKeyError(_CHANGED_KEY.format(place=answer.place, name=name))
        if answer.refused is None and self._trust.policy == ACCEPT_NEW:
            self._write_down(key)
            return
        raise HostKeyError(f"its host key is unknown; {self._advice(answer)}")

    def _judge(self, key: paramiko.PKey, name: str) -> _Answer:
        """Return what the files say of a key under one name."""
        known, blob, plain = self._known(name, "HOSTNAME", key), _certificate(key), _plain(key)
        authority, refused = None, None
        if blob is not None:
            try:
                certificate = host_certificates.read(blob)
            except (ValueError, paramiko.SSHException) as error:
                refused = f"its certificate is {error}"
            else:
                authority = certificate.authority
        for entry in known.marked(REVOKED):
            if entry.blob in {plain, authority}:
                return _Answer(_REVOKED, entry.place, known)
        if authority is not None:
            signers = [entry for entry in known.marked(CERT_AUTHORITY) if entry.blob == authority]
            if signers:
                host = self._options.host_key_alias or self._options.host.lower()
                algorithms = dict(self._options.algorithms).get("authorities", ())
                why = host_certificates.why_not_valid(certificate, host, algorithms)
                if why is None:
                    return _Answer(_KNOWN, signers[0].place, known)
                refused = f"its certificate {why} ({signers[0].place})"
        others = known.marked(PLAIN)
        for entry in others:
            if entry.blob == plain:
                return _Answer(_KNOWN, entry.place, known)
        if others:
            usable = [entry for entry in others if entry.key_type in _CHECKABLE]
            return _Answer(_CHANGED, (usable or others)[0].place, known, refused, comparable=bool(usable))
        return _Answer(_UNKNOWN, "", known, refused)

    def _known(self, name: str, asking: str, key: paramiko.PKey | None = None) -> Known:
        options = self._options
        known = known_hosts.known_in_files([*options.user_known_hosts, *options.global_known_hosts], name)
        if options.known_hosts_command is not None:
            ask_command(known, options, name, asking, key)
        return known

    def _demand_not_revoked(self, key: paramiko.PKey) -> None:
        """Look the key up in RevokedHostKeys. Raises HostKeyError if it is there, or if nobody can say."""
        file = self._options.revoked_host_keys
        if file is None:
            return
        try:
            revoked = revoked_keys.has(file, _plain(key), _certificate(key))
        except revoked_keys.CannotTellError as error:
            wrong = f"cannot tell whether its host key is revoked: {error}"
            raise HostKeyError(f"RevokedHostKeys {file}: {wrong}") from None
        if revoked:
            raise HostKeyError(f"its host key is revoked (RevokedHostKeys {file}); it is never believed")

    def _write_down(self, key: paramiko.PKey) -> None:
        """Append the key to the user's first file; what is in it stays as it is, byte for byte."""
        options, plain = self._options, _plain(key)
        name = known_hosts.hashed(options.known_as, secrets.token_bytes(20)) if options.hash_known_hosts else None
        line = f"{name or options.known_as} {key.get_name()} {base64.b64encode(plain).decode()}\n".encode()
        with _appending:
            self._accepted[options.known_as] = plain
            if not options.user_known_hosts:
                return
            file = Path(options.user_known_hosts[0])
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file.open("a+b") as end:
                size = end.seek(0, 2)
                if size:
                    end.seek(size - 1)
                    line = line if end.read(1) == b"\n" else b"\n" + line  # somebody's last line was cut off
                end.write(line)

    def _advice(self, answer: _Answer) -> str:
        """Return what to do about a key that is not known here: other things if ssh knows it."""
        options, known = self._options, answer.known
        if answer.refused is not None:
            return f"ssh would not believe it either: {answer.refused}; ask who signs this cluster's host keys"
        if known.unreadable:
            more = f" and {len(known.unreadable) - 1} more" if len(known.unreadable) > 1 else ""
            unread = f"{known.unreadable[0]}{more}"
            return f"what is said about it cannot be read ({unread}): mend or remove that, then connect once with ssh"
        if self._trust.own_file is not None:
            return f"the cluster file reads {self._trust.own_file} (known_hosts_file): add it there, or leave that out"
        if options.strict_checking in {"no", "off", ACCEPT_NEW}:
            return (
                f"ssh lets it pass by StrictHostKeyChecking {options.strict_checking}, which is not obeyed here: "
                "connect once with ssh to check it, or set host_key_policy: accept-new"
            )
        found = _ssh_knows(options.known_as, [*options.user_known_hosts, *options.global_known_hosts])
        if found is not None:
            return f"ssh knows it (ssh-keygen -F {options.known_as} -f {found}), we do not: write that line anew"
        return "connect once with ssh to check it, or set host_key_policy: accept-new"


def _certificate(key: Any) -> bytes | None:
    """Return the bytes of the certificate that a host's key came in, if it did."""
    return None if key.public_blob is None else bytes(key.public_blob.key_blob)


def _plain(key: paramiko.PKey) -> bytes:
    return bytes(key.asbytes())


def _ssh_knows(name: str, files: Sequence[str]) -> str | None:
    """Return the file in which ssh-keygen finds a host, or None."""
    program = shutil.which("ssh-keygen")
    for file in files:
        if program is None or not Path(file).is_file():
            continue
        try:
            done = programs.run([program, "-F", name, "-f", file], SSH_KEYGEN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0 and done.stdout.strip():
            return file
    return None
