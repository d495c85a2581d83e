"""RevokedHostKeys of ssh_config(5): a list of public keys, or a KRL, which only ssh-keygen reads (PROTOCOL.krl)."""

from __future__ import annotations

import base64
import binascii
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import paramiko

from harness.ssh import programs
from harness.ssh.trust.host_certificates import read

SSH_KEYGEN_TIMEOUT_S: Final = 10.0
_KRL: Final = b"SSHKRL\n\0"


class CannotTellError(Exception):
    """Nobody can say whether a key is revoked; the message says why."""


def has(file: str, key: bytes, certificate: bytes | None) -> bool:
    """Return whether a file revokes a key, or the authority that signed its certificate. Raises CannotTellError."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise CannotTellError(error.strerror) from None
    if content.startswith(_KRL):
        return _krl_has(file, certificate or key)
    wanted = [key]
    if certificate is not None:
        try:
            wanted.append(read(certificate).authority)
        except ValueError as error:
            raise CannotTellError(f"its certificate is {error}") from None
    return any(_decoded(word) in wanted for line in content.split(b"\n") for word in line.split())


def _krl_has(file: str, blob: bytes) -> bool:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise CannotTellError("it is a KRL, and there is no ssh-keygen here to read it")
    with tempfile.NamedTemporaryFile("w", suffix=".pub", encoding="ascii") as public:
        public.write(f"{paramiko.Message(blob).get_text()} {base64.b64encode(blob).decode()}\n")
        public.flush()
        try:
            done = programs.run([program, "-Q", "-f", file, public.name], SSH_KEYGEN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise CannotTellError("ssh-keygen did not end in time") from None
    return done.returncode != 0


def _decoded(word: bytes) -> bytes | None:
    try:
        return base64.b64decode(word, validate=True)
    except binascii.Error:
        return None
