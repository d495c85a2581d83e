"""Invoke's and fabric's settings from a known state: their defaults and the command line, nothing of the surroundings.

Left alone, fabric takes over /etc/fabric.yaml, ~/.fabric.yaml, a file beside the fabfile and FABRIC_* variables, invoke
the same under its own name. A ``gateway`` or a ``collection_name`` that is meant for other work has no place in an
experiment. A file that the command line names (``-f``) is read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import invoke.config
import invoke.main
from invoke.exceptions import Exit

from harness.errors import EXIT_USAGE
from harness.invocation import command_line

if TYPE_CHECKING:
    from invoke.program import Program

_NAMED_BY_THE_COMMAND_LINE: Final = "runtime"


class KnownState(invoke.config.Config):
    """Loads no file but one that was asked for, and nothing from the environment."""

    def _load_file(self, prefix: str, absolute: bool = False, merge: bool = True) -> None:
        if prefix != _NAMED_BY_THE_COMMAND_LINE or self._runtime_path is None:
            return
        try:
            super()._load_file(prefix, absolute, merge)
        except Exception as error:
            told = f"-f {self._runtime_path}: expected a file of settings, got: {' '.join(str(error).split())}"
            raise Exit(told, EXIT_USAGE) from error

    def load_shell_env(self) -> None:
        """Load nothing; merge the other sources, as is expected of it."""
        self.merge()


def begin() -> None:
    """Let ``invoke`` start from the known state, before it reads anything (begin.pth)."""
    start(invoke.main.program, KnownState)


def start(program: Program, settings: type[Any]) -> None:
    """Let a program use these settings, anew if it has begun with those of the surroundings.

    From here on, its own options are obeyed or refused (``command_line``).
    """
    os.environ.pop("INVOKE_RUNTIME_CONFIG", None)  # both programs take it for a file that was asked for
    if program.config_class is settings:
        return
    command_line.install(program)
    program.config_class = settings
    if hasattr(program, "config"):
        program.create_config()
