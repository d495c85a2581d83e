"""Host certificates: whether one authority signed this key for this host, now.

Format and rules: OpenSSH's PROTOCOL.certkeys. Paramiko reads the key out of a certificate and judges nothing of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import paramiko

if TYPE_CHECKING:
    from collections.abc import Sequence

CERTIFICATE_SUFFIX: Final = "-cert-v01@openssh.com"

_HOST_CERTIFICATE: Final = 2
# How many fields the public key itself has, after the nonce.
_KEY_FIELDS: Final = {"ssh-ed25519": 1, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2, "ecdsa-sha2-nistp521": 2,
                      "ssh-rsa": 2}  # fmt: skip


@dataclass(frozen=True)
class HostCertificate:
    """What a certificate says. Times are whole seconds since 1970, ``valid_before`` exclusive."""

    kind: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: bytes
    authority: bytes
    signature: bytes
    signed: bytes


def read(blob: bytes) -> HostCertificate:
    """Return what the bytes of a certificate say. Raises ValueError for what is none."""
    message = paramiko.Message(blob)
    plain = message.get_text().removesuffix(CERTIFICATE_SUFFIX)
    if plain not in _KEY_FIELDS:
        raise ValueError(f"a certificate of a type that is not known here: {plain}")
    for _ in range(1 + _KEY_FIELDS[plain]):
        message.get_binary()
    message.get_int64()  # serial number
    kind, key_id, listed = message.get_int(), message.get_binary().decode("utf-8", "replace"), message.get_binary()
    valid_after, valid_before = message.get_int64(), message.get_int64()
    critical_options, _extensions, _reserved = message.get_binary(), message.get_binary(), message.get_binary()
    authority = message.get_binary()
    signed = blob[: len(blob) - len(message.get_remainder())]
    signature = message.get_binary()
    if not signature or message.get_remainder():
        raise ValueError("a certificate that is cut off or damaged")
    return HostCertificate(
        kind, key_id, _strings(listed), valid_after, valid_before, critical_options, authority, signature, signed
    )


def why_not_valid(certificate: HostCertificate, host: str, algorithms: Sequence[str]) -> str | None:
    """Return why a certificate does not speak for a host (its name or HostKeyAlias) now, or None if it does.

    That its authority is believed is the caller's to see to; ``algorithms`` are CASignatureAlgorithms, none: any.
    """
    now = int(time.time())
    if certificate.kind != _HOST_CERTIFICATE:
        return "is no certificate of a host"
    if now < certificate.valid_after:
        return "is not valid yet"
    if now >= certificate.valid_before:
        return "has expired"
    if certificate.principals and host not in certificate.principals:
        return f"is for {', '.join(certificate.principals)}, not for {host}"
    if certificate.critical_options:
        return "has critical options that are not known here"
    used = paramiko.Message(certificate.signature).get_text()
    if algorithms and used not in algorithms:
        return f"is signed with {used}, which CASignatureAlgorithms leaves out"
    return None if _signed(certificate) else "is not signed by its authority"


def _signed(certificate: HostCertificate) -> bool:
    key_type = paramiko.Message(certificate.authority).get_text()
    try:
        authority = paramiko.PKey.from_type_string(key_type, certificate.authority)
        return bool(authority.verify_ssh_sig(certificate.signed, paramiko.Message(certificate.signature)))
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError):
        return False


def _strings(packed: bytes) -> tuple[str, ...]:
    message, found = paramiko.Message(packed), []
    while message.get_remainder():
        found.append(message.get_binary().decode("utf-8", "replace"))
    return tuple(found)
