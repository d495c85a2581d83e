"""A remote around a remote: what a broken connection interrupted is done once more."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from harness import shell
from harness.errors import LostError, RemoteCommandError, UnreachableError
from harness.remote import COMMAND_TIMEOUT_S, AgentState, Remote, Result, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from node_agent.contract.plan import NodePlan

T = TypeVar("T")

PATIENCE_S: Final = 15.0
PAUSE_S: Final = 0.5


class Retrying(Remote):
    """A remote whose actions outlive a connection that breaks, if there is one again within ``PATIENCE_S``.

    An action is then carried out again, though it may have been carried out before; what may not be done twice looks at
    the node first. A node that could not be reached in the first place is not waited for.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.id, self.place = remote.id, remote.place

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run a command, once more where the connection broke."""
        return _patiently(partial(self._remote.run, command, stdin=stdin, timeout_s=timeout_s))

    def ask_of_files(self, command: str) -> str:
        """Run a command about files, once more where the connection broke."""
        return _patiently(partial(self._remote.ask_of_files, command))

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Put a file in place."""
        _patiently(partial(self._remote.write, path, content, mode))

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None."""
        return _patiently(partial(self._remote.read, path))

    def list(self, folder: str) -> dict[str, int] | None:
        """Return names and sizes of a folder's plain files, or None."""
        return _patiently(partial(self._remote.list, folder))

    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        """Copy a folder's files, all of them once more where the connection broke."""
        return _patiently(partial(self._remote.fetch, folder, target, without))

    def make_folder(self, path: str) -> None:
        """Make a folder. An empty one that is there afterwards is ours, from before the connection broke."""

        def make_or_find() -> None:
            try:
                self._remote.make_folder(path)
            except RemoteCommandError:
                content = self._remote.run(f"ls -A {shell.path(path)}")
                if content.exit_code != 0 or content.output:
                    raise

        _patiently(partial(self._remote.make_folder, path), make_or_find)

    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        """Start an agent, once: one that lives there afterwards was started before the connection broke."""

        def start_unless_started() -> None:
            if self._remote.see_agent(program, plan.run_dir).alive:
                return
            try:
                start()
            except RemoteCommandError:  # it may just have been starting
                if not self._remote.see_agent(program, plan.run_dir).alive:
                    raise

        start = partial(self._remote.start_agent, program, plan, run_key)
        _patiently(start, start_unless_started)

    def start_listener(self, program: str, order: bytes) -> None:
        """Start a listener; one that was started before the connection broke says so."""
        _patiently(partial(self._remote.start_listener, program, order))

    def stop_agent(self, program: str, folder: str) -> Stopped:
        """Stop the run folder's agent."""
        return _patiently(partial(self._remote.stop_agent, program, folder))

    def see_agent(self, program: str, folder: str) -> AgentState:
        """Return whether the run folder's agent lives, and its last status."""
        return _patiently(partial(self._remote.see_agent, program, folder))

    def close(self) -> None:
        """Close the remote that this one stands for."""
        self._remote.close()


def _patiently(action: Callable[[], T], repeat: Callable[[], T] | None = None) -> T:
    """Carry out an action; where the connection breaks, ``repeat`` it (else the action itself) until there is one."""
    try:
        return action()
    except LostError:
        deadline = time.monotonic() + PATIENCE_S
    while True:
        time.sleep(PAUSE_S)
        try:
            return (repeat or action)()
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
