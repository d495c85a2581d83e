"""A node whose connection breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import LostError
from harness.remote import COMMAND_TIMEOUT_S, AgentState, Remote, Result, Stopped

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from node_agent.contract.plan import NodePlan


class Unsteady(Remote):
    """A remote whose connection breaks at each first try of an action: before it is carried out, or after it was."""

    def __init__(self, remote: Remote, breaks: str) -> None:
        self.id, self.place = remote.id, remote.place
        self.remote, self.breaks = remote, breaks
        self.tries: list[str] = []

    def _once_broken(self, name, *arguments, **options):
        self.tries.append(name)
        if self.tries.count(name) > 1:
            return getattr(self.remote, name)(*arguments, **options)
        if self.breaks == "after":
            getattr(self.remote, name)(*arguments, **options)
        raise LostError(f"{self.id}: {name}: the connection broke")

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        return self._once_broken("run", command, stdin=stdin, timeout_s=timeout_s)

    def write(self, path: str, content: bytes, mode: int) -> None:
        self._once_broken("write", path, content, mode)

    def read(self, path: str) -> bytes | None:
        return self._once_broken("read", path)

    def list(self, folder: str) -> dict[str, int] | None:
        return self._once_broken("list", folder)

    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        return self._once_broken("fetch", folder, target, without)

    def make_folder(self, path: str) -> None:
        self._once_broken("make_folder", path)

    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        self._once_broken("start_agent", program, plan, run_key)

    def start_listener(self, program: str, order: bytes) -> None:
        self._once_broken("start_listener", program, order)

    def stop_agent(self, program: str, folder: str) -> Stopped:
        return self._once_broken("stop_agent", program, folder)

    def see_agent(self, program: str, folder: str) -> AgentState:
        return self._once_broken("see_agent", program, folder)

    def close(self) -> None:
        self.remote.close()
