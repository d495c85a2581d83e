"""Patterns of hosts, and whether a Match line is met: ssh_config(5), PATTERNS and Match."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
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


def list_fits(text: str, patterns: str) -> bool:
    """Return whether a comma-separated list fits: one of it does, and none that is negated with ``!``."""
    listed = patterns.split(",")
    denied = any(pattern_fits(text, pattern[1:]) for pattern in listed if pattern.startswith("!"))
    return not denied and any(pattern_fits(text, pattern) for pattern in listed if not pattern.startswith("!"))


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
            else:
                holds = _named(criterion, value, facts)
        else:
            told = f"{place}: Match {word}: not a criterion that is known here, so taken as not met"
            notes.append(f"ssh_config: {told}")
            return False
        result = result and holds != negated
    return result


def _named(criterion: str, patterns: str, facts: Facts) -> bool:
    if criterion in {"host", "originalhost"}:
        host = facts.host if criterion == "host" else facts.name
        return list_fits(host.lower(), patterns.lower())
    return list_fits(facts.user if criterion == "user" else facts.local_user, patterns)


def _succeeds(command: str, facts: Facts, place: str) -> bool:
    """Run a command with the user's shell, as ssh does. Raises ConfigError after ``EXEC_TIMEOUT_S``."""
    known = tokens(facts.name, facts.host, facts.user, facts.port, "", "")
    process = subprocess.Popen(
        [os.environ.get("SHELL") or "/bin/sh", "-c", expanded(command, known, "exec")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(EXEC_TIMEOUT_S) == 0
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"ssh_config: {place}: expected Match exec to end within {EXEC_TIMEOUT_S:g} s of: {command}"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
