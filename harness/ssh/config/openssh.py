"""OpenSSH's own client, asked what is in force for a host: ``ssh -G`` reads its files as nobody else can.

It also expands Include, Match (``exec`` too) and most tokens. What it says is one ``keyword value`` a line.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import ConfigError
from harness.ssh import programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.ssh.config.question import Question

ANSWER_TIMEOUT_S: Final = 20.0  # a Match exec runs a program, CanonicalizeHostname asks a name server
LISTS_OF_FILES: Final = ("userknownhostsfile", "globalknownhostsfile")

# ssh's complaint of ForkAfterAuthentication where no command is given, though nothing is run.
_WANTS_A_COMMAND: Final = "Cannot fork into background without a command"
_NO_ANSWERER: Final = ("unknown option", "illegal option", "invalid option", "No user exists for uid")
_NOISE: Final = ("Pseudo-terminal will not be allocated", "terminating, ")


class CannotAnswerError(Exception):
    """The program called ssh answers no such question; its message says why."""


def client() -> str | None:
    """Return the program ``ssh`` of this machine, or None."""
    return shutil.which("ssh")


def ask(program: str, question: Question) -> dict[str, list[str]]:
    """Return every keyword in force (small letters) with its values.

    Raises ConfigError with ssh's own words, which name file and line; CannotAnswerError if it knows no ``-G``.
    """
    argv = [program, "-T", "-G", *question.words(), "--", question.host]
    try:
        done = programs.run(argv, ANSWER_TIMEOUT_S)
        if _WANTS_A_COMMAND in _complaint(done.stderr):
            done = programs.run([*argv, "true"], ANSWER_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        wanted = f"expected `ssh -G {question.host}` to end within {ANSWER_TIMEOUT_S:g} s"
        advice = "does a Match exec or CanonicalizeHostname wait for something?"
        raise ConfigError(f"ssh_config: {wanted}; {advice}") from None
    complaint = _complaint(done.stderr)
    if done.returncode != 0 and any(words in complaint for words in _NO_ANSWERER):
        raise CannotAnswerError(complaint)
    if done.returncode != 0:
        raise ConfigError(f"ssh_config: {complaint or f'ssh -G ended with {done.returncode}'}")
    values = _read(done.stdout.decode("utf-8", "surrogateescape"))
    if "hostname" not in values or "port" not in values:
        raise CannotAnswerError(f"{program} does not answer to -G")
    return values


def _complaint(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").splitlines()
    lines = [" ".join(line.split()) for line in lines if line.strip() and not any(word in line for word in _NOISE)]
    return "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")


def _read(output: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in output.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value.strip())
    for keyword in LISTS_OF_FILES:
        values[keyword] = [path for value in values.get(keyword, []) for path in split_files(value)]
    return values


def split_files(value: str) -> list[str]:
    """Return the files of a list whose quotes ``ssh -G`` left out: names with spaces are those that are there."""
    words = value.split(" ")
    files = []
    while words:
        count = _first_name(words)
        files.append(" ".join(words[:count]))
        words = words[count:]
    return [file for file in files if file]


def _first_name(words: Sequence[str]) -> int:
    """Return how many words the first file's name has: the longest that is there, else up to the next beginning."""
    for count in range(len(words), 0, -1):
        if Path(" ".join(words[:count])).exists():
            return count
    for count in range(1, len(words)):
        if words[count].startswith(("/", "~")):
            return count
    return len(words)


def first(in_force: Mapping[str, Sequence[str]], keyword: str, default: str = "") -> str:
    """Return a keyword's (first) value, or ``default`` where it is not in force."""
    values = in_force.get(keyword)
    return values[0] if values else default
