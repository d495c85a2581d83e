"""Patterns of hosts, and whether a Match line is met: ssh_config(5), PATTERNS and Match."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh import programs
from harness.ssh.config.tokens import expanded, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

EXEC_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Facts:
    """What a Match line may ask about; ``final`` in the second reading."""

    name: str
    host: str
    user: str
    local_user: str
    port: str
    final: bool


def pattern_fits(text: str, pattern: str) -> bool:
    """Return whether a pattern with ``*`` and ``?`` fits the whole text."""
    parts = (".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def list_fits(text: str, patterns: Sequence[str]) -> bool:
    """Return whether a list of patterns fits: one of it does, and none that is negated with ``!``."""
    denied = any(pattern_fits(text, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return not denied and any(pattern_fits(text, pattern) for pattern in patterns if not pattern.startswith("!"))


def met(words: Sequence[str], facts: Facts, place: str, notes: list[str]) -> bool:
    """Return whether all criteria of a Match line are met; one that is not known is not, and ``notes`` says so.

    Raises ConfigError for a line without criteria, or one that ends too early.
    """
    if not words:
        raise ConfigError(f"ssh_config: {place}: Match: expected a criterion, got none")
    left, result = list(words), True
    while left:
        word = left.pop(0)
        negated, criterion = word.startswith("!"), word.lstrip("!").lower()
        if criterion in {"all", "canonical", "final"}:
            holds = criterion == "all" or facts.final
        elif criterion in {"host", "originalhost", "user", "localuser", "exec"}:
            if not left:
                raise ConfigError(f"ssh_config: {place}: Match {criterion}: expected a value, got none")
            value = left.pop(0)
            if criterion == "exec":
                holds = result and _succeeds(value, facts, place)
            elif criterion in {"host", "originalhost"}:
                host = facts.host if criterion == "host" else facts.name
                holds = list_fits(host.lower(), value.lower().split(","))
            else:
                holds = list_fits(facts.user if criterion == "user" else facts.local_user, value.split(","))
        else:
            notes.append(f"ssh_config: {place}: Match {word}: not a criterion that is known here, so taken as not met")
            return False
        result = result and holds != negated
    return result


def _succeeds(command: str, facts: Facts, place: str) -> bool:
    """Run a command with the user's shell, as ssh does. Raises ConfigError after ``EXEC_TIMEOUT_S``."""
    known = tokens(facts.name, facts.host, facts.user, facts.port, "", "")
    argv = [os.environ.get("SHELL") or "/bin/sh", "-c", expanded(command, known, "exec")]
    try:
        return programs.run(argv, EXEC_TIMEOUT_S, subprocess.DEVNULL).returncode == 0
    except subprocess.TimeoutExpired:
        wanted = f"expected Match exec to end within {EXEC_TIMEOUT_S:g} s of: {command}"
        raise ConfigError(f"ssh_config: {place}: {wanted}") from None
