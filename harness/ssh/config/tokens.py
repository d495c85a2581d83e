"""Tokens (``%h``) and variables (``${NAME}``) in values of ssh_config: ssh_config(5), TOKENS, ENVIRONMENT VARIABLES."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh.config.question import home, local_user

if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE: Final = re.compile(r"%(.?)|\$\{([^}]*)\}")
_COMMANDS: Final = {"proxycommand", "exec", "knownhostscommand"}  # their variables are the shell's to expand


def expanded(text: str, known: Mapping[str, str], keyword: str) -> str:
    """Return a value with its tokens replaced and, unless it is a command, its variables.

    Raises ConfigError for one that ssh would not know either.
    """

    def piece(match: re.Match[str]) -> str:
        letter, variable = match[1], match[2]
        if variable is not None:
            if keyword in _COMMANDS:
                return match[0]
            if variable not in os.environ:
                wanted = f"expected the variable {variable} to be set, it is not"
                raise ConfigError(f"ssh_config: {keyword} {text}: {wanted}")
            return os.environ[variable]
        if letter not in known:
            raise ConfigError(f"ssh_config: {keyword} {text}: expected a token of ssh_config(5), got %{letter}")
        return known[letter]

    return _PIECE.sub(piece, text)


def tokens(name: str, host: str, user: str, port: str, alias: str, jump: str) -> dict[str, str]:
    """Return the tokens of ssh_config(5), TOKENS, for a host asked for as ``name``."""
    local_host = platform.node()
    return {
        "%": "%",
        "C": hashlib.sha1(f"{local_host}{host}{port}{user}".encode(), usedforsecurity=False).hexdigest(),
        "d": str(home()),
        "h": host,
        "i": str(os.getuid()),
        "j": jump,
        "k": alias or name,
        "L": local_host.partition(".")[0],
        "l": local_host,
        "n": name,
        "p": port,
        "r": user,
        "u": local_user(),
    }
