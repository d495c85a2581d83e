"""Which keys a login may try, in ssh's order: certificates, the agent's keys, those of files (ssh_config(5))."""

from __future__ import annotations

import base64
import binascii
import copy
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.ssh.config.options import SshOptions

AGENT_TIMEOUT_S: Final = 10.0
CERTIFICATE_END: Final = "-cert.pub"

_CLASSES: Final = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_UNREADABLE: Final = (paramiko.SSHException, OSError, ValueError, IndexError, struct.error, UnsupportedAlgorithm)
_OPENSSH: Final = b"openssh-key-v1\0"
_LARGEST_BYTES: Final = 1 << 20  # no key is that large; a file that is, is none


@dataclass(frozen=True)
class Secrets:
    """What the user typed for this ``fab``: the passphrase of key files, the password of the login."""

    passphrase: str | None = None
    password: str | None = None


class Agent(paramiko.agent.AgentSSH):
    """The agent at one socket. Paramiko's own knows only that of SSH_AUTH_SOCK."""

    def __init__(self, path: str) -> None:
        """Connect and ask for its keys. Raises OSError, SSHException."""
        super().__init__()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(AGENT_TIMEOUT_S)
            sock.connect(path)
            self._connect(sock)  # type: ignore[attr-defined]
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._close()  # type: ignore[attr-defined]


def log_in(transport: paramiko.Transport, options: SshOptions, secrets: Secrets) -> None:
    """Log in with the first key that the host takes, else the password. Raises SSHException, saying what was tried."""
    remarks: list[str] = []
    agent = _agent(options, remarks)
    tried = 0
    try:
        for key in keys(options, agent, secrets.passphrase, remarks) if options.public_keys else ():
            tried += 1
            try:
                more = transport.auth_publickey(options.user, key)
            except paramiko.BadAuthenticationType as error:
                remarks.append(f"the host takes {', '.join(error.allowed_types)} only")
                break
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise paramiko.AuthenticationException(_refusal(tried, [*remarks, "it hung up then"])) from None
                continue
            if not more:
                return
            remarks.append(f"the host asks for {', '.join(more)} as well")
            break
        if secrets.password is not None:
            transport.auth_password(options.user, secrets.password)
            return
    finally:
        if agent is not None:
            agent.close()
    if not options.public_keys:
        remarks.append("ssh_config leaves public keys out, and nothing else can be given here")
    raise paramiko.AuthenticationException(_refusal(tried, remarks))


def keys(
    options: SshOptions, agent: Agent | None, passphrase: str | None, remarks: list[str]
) -> Iterator[paramiko.PKey]:
    """Yield the keys to try; ``remarks`` says of files that are there why they are left out."""
    files = [path for path in options.identity_files if Path(path).is_file()]
    publics = {path: public_half(path) for path in files}
    wanted = {blob for blob in publics.values() if blob is not None}
    held: Sequence[Any] = agent.get_keys() if agent is not None else ()
    mine = [key for key in held if key.blob in wanted or _key_of_certificate(key.blob) in wanted]
    rest = [] if options.identities_only else [key for key in held if not any(key is other for other in mine)]
    accepted = dict(options.algorithms).get("pubkeys", ())
    there = {key.blob for key in held}

    def from_file(path: str) -> paramiko.PKey | None:
        return _private_key(path, passphrase, remarks)

    loaded = {path: key for path in files if publics[path] not in there and (key := from_file(path)) is not None}
    owners = [*held, *loaded.values()]
    beside = [path + CERTIFICATE_END for path in options.identity_files]
    for certificate in (*options.certificate_files, *beside):
        yield from _certified(certificate, owners, remarks, named=certificate in options.certificate_files)
    for key in (*mine, *rest, *loaded.values()):
        signatures = ("rsa-sha2-",) if key.get_name() == "ssh-rsa" else ()
        if not accepted or any(name == key.get_name() or name.startswith(signatures) for name in accepted):
            yield key
        else:
            remarks.append(f"PubkeyAcceptedAlgorithms leaves {key.get_name()} out")


def public_half(path: str) -> bytes | None:
    """Return the public key that belongs to a file of IdentityFile: in it, or in the ``.pub`` beside it; or None."""
    for name in (path, f"{path}.pub"):
        try:
            content = Path(name).read_bytes()[:_LARGEST_BYTES]
        except OSError:
            continue
        blob = _public_in(content)
        if blob is not None:
            return blob
    return None


def _public_in(content: bytes) -> bytes | None:
    """Return the public key in the bytes of a public file, or of a private one in OpenSSH's format (PROTOCOL.key)."""
    lines = content.split(b"\n")
    try:
        if lines[0].strip() == b"-----BEGIN OPENSSH PRIVATE KEY-----":
            packed = base64.b64decode(b"".join(line for line in lines if not line.startswith(b"-")))
            if not packed.startswith(_OPENSSH):
                return None
            message = paramiko.Message(packed[len(_OPENSSH) :])
            for _ in range(3):
                message.get_binary()
            return bytes(message.get_binary()) if message.get_int() else None
        words = lines[0].split()
        return base64.b64decode(words[1], validate=True) if len(words) > 1 and not lines[0].startswith(b"-") else None
    except (binascii.Error, struct.error, IndexError):
        return None


def _private_key(path: str, passphrase: str | None, remarks: list[str]) -> paramiko.PKey | None:
    """Return a file's private key, or None with a remark why it cannot be used."""
    try:
        status, content = Path(path).stat(), Path(path).read_bytes()[:_LARGEST_BYTES]
    except OSError as error:
        remarks.append(f"{path}: {error.strerror}")
        return None
    if b"PRIVATE KEY" not in content[:64]:
        return None  # the public half of a key that the agent would hold
    if stat.S_IMODE(status.st_mode) & 0o077:
        remarks.append(f"{path}: others can read it, so ssh does not take it either; chmod 600")
        return None
    locked, why = False, ""
    for kind in _CLASSES:
        try:
            return kind.from_private_key_file(path, passphrase)
        except paramiko.PasswordRequiredException:  # noqa: PERF203 - each class has its own try
            locked = True
        except _UNREADABLE as error:
            why = why or str(error)
    remarks.append(f"{path}: " + ("it has a passphrase; ssh-add it" if locked else "no key that can be used here"))
    return None


def _certified(path: str, owners: Sequence[Any], remarks: list[str], *, named: bool) -> Iterator[paramiko.PKey]:
    """Yield the key that a certificate belongs to, with the certificate."""
    if not Path(path).is_file():
        if named:
            remarks.append(f"{path}: no such certificate")
        return
    try:
        certificate = paramiko.pkey.PublicBlob.from_file(path)
        public = _key_of_certificate(certificate.key_blob)
    except (OSError, ValueError, binascii.Error):
        remarks.append(f"{path}: no certificate that can be read")
        return
    for key in owners:
        if bytes(key.asbytes()) == public:
            certified = copy.copy(key)
            certified.public_blob = certificate
            yield certified
            return


def _key_of_certificate(blob: bytes) -> bytes | None:
    """Return the plain public key inside a certificate, or None for what is none."""
    kind = paramiko.Message(blob).get_text()
    if "-cert-v01@" not in kind:
        return None
    for key_class in _CLASSES:
        try:
            return bytes(key_class(data=blob).asbytes())
        except _UNREADABLE:  # noqa: PERF203 - each class has its own try
            continue
    return None


def _agent(options: SshOptions, remarks: list[str]) -> Agent | None:
    if options.agent is None:
        return None
    try:
        return Agent(options.agent)
    except (OSError, paramiko.SSHException, EOFError) as error:
        remarks.append(f"agent {options.agent}: {getattr(error, 'strerror', None) or error}")
        return None


def _refusal(tried: int, remarks: Sequence[str]) -> str:
    count = f"{tried} key{'' if tried == 1 else 's'} tried"
    return "; ".join([count, *dict.fromkeys(remarks)])
