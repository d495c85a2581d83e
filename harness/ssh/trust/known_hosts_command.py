"""KnownHostsCommand of ssh_config(5): a program that prints lines of known_hosts."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh import programs
from harness.ssh.config.tokens import expanded, tokens
from harness.ssh.config.words import BadLineError, words
from harness.ssh.trust import known_hosts

if TYPE_CHECKING:
    import paramiko

    from harness.ssh.config.options import SshOptions
    from harness.ssh.trust.known_hosts import Known

COMMAND_TIMEOUT_S: Final = 10.0
_NONE: Final = "NONE"


def ask_command(known: Known, options: SshOptions, name: str, asking: str, key: paramiko.PKey | None) -> None:
    """Add what KnownHostsCommand prints; one that cannot be run, fails or does not end says nothing, and why is noted.

    ``asking`` is ssh's word for the occasion: ORDER (which key types to ask for) or HOSTNAME (is this key known).
    """
    command = options.known_hosts_command or ""
    jump = options.jumps[-1].host if options.jumps else ""
    known_tokens = tokens(
        options.name, options.host, options.user, str(options.port), options.host_key_alias or "", jump
    )
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
    known_hosts.add(known, done.stdout, f"KnownHostsCommand {command}", name)
