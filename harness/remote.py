"""One node as everything above reaches it: commands, files and its agent. What lies between is an implementation's.

Every action has a deadline and fails as an UnreachableError (a LostError where it may have been carried out),
RemoteCommandError or DeadlineError that names the node. Remote paths may start with ``~/``; they hold no character a
shell would look at (``configuration`` sees to that).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness import shell
from harness.errors import RemoteCommandError, last_line

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from node_agent.contract.plan import NodePlan
    from node_agent.contract.records import NodeStatus

COMMAND_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Result:
    """What a command left behind, its output byte for byte."""

    exit_code: int
    output: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """Return the output as text."""
        return self.output.decode("utf-8", "replace")

    def demand(self, command: str, whose: str = "") -> bytes:
        """Return the output. Raises RemoteCommandError with the last words unless the ``command`` ended with 0."""
        if self.exit_code != 0:
            reason = last_line(self.stderr or self.stdout, "no message")
            raise RemoteCommandError(f"{whose}{reason} (exit {self.exit_code} of: {command})")
        return self.output


@dataclass(frozen=True)
class Stopped:
    """What became of a stop: the agent ``was_alive`` or not; a ``problem`` if it had to be killed or is not gone.

    ``death``: what had killed one that was dead already, if its node can tell.
    """

    was_alive: bool
    problem: str | None
    death: str | None = None


@dataclass(frozen=True)
class AgentState:
    """What a node says of its agent: whether that process lives, its last status, what killed it if that is known."""

    alive: bool
    status: NodeStatus | None
    problem: str | None
    death: str | None = None


class Remote(ABC):
    """One node: its ``id``, and its ``place`` as a user would name it.

    Where a connection broke, it may be asked twice (see ``harness.retry``), so a command must be one that can be run
    twice. What cannot be has a method of its own: ``make_folder`` and ``start_agent``.
    """

    id: str
    place: str

    @abstractmethod
    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run a command with /bin/sh, from the home folder. Raises DeadlineError after ``timeout_s``."""

    @abstractmethod
    def write(self, path: str, content: bytes, mode: int) -> None:
        """Put a file in place at once, never readable to others than ``mode`` says."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if there is none."""

    @abstractmethod
    def list(self, folder: str) -> dict[str, int] | None:
        """Return the names and sizes (bytes) of a folder's plain files, or None if there is no such folder."""

    @abstractmethod
    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        """Copy a folder's plain files of any size to ``target``, but hidden ones and those ``without``; return how."""

    @abstractmethod
    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        """Start the agent that ``program`` (a command) names, by its plan; return once its socket is bound.

        Raises RemoteCommandError with its last words, also where one lives in that run folder already.
        """

    @abstractmethod
    def start_listener(self, program: str, order: bytes) -> None:
        """Start the listener of a check (``node_agent.listener``) by its order; return once its ports are bound."""

    @abstractmethod
    def stop_agent(self, program: str, folder: str) -> Stopped:
        """Stop exactly the run folder's agent and destroy its key. Idempotent."""

    @abstractmethod
    def see_agent(self, program: str, folder: str) -> AgentState:
        """Return whether the run folder's agent lives, and its last status."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is held for the node; the next action takes it anew."""

    def ask(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command that must succeed and return its output. Raises RemoteCommandError as well."""
        result = self.run(command, stdin=stdin, timeout_s=timeout_s)
        result.demand(command, f"{self.id}: ")
        return result.stdout

    def ask_of_files(self, command: str) -> str:
        """Do as ``ask`` with a command that is about files of ours alone, wherever these are seen."""
        return self.ask(command)

    def make_folder(self, path: str) -> None:
        """Make a folder, readable to its owner alone, and those above. Raises RemoteCommandError if it is there."""
        parent, own = shell.path(path.rpartition("/")[0]), shell.path(path)
        if self.ask_of_files(f"umask 077; mkdir -p {parent}; if test -e {own}; then echo there; else mkdir {own}; fi"):
            raise RemoteCommandError(
                f"{self.id}: {path}: expected no such folder yet, got one that an earlier run of this name left; "
                "choose another name, or remove it"
            )
