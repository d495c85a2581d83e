"""A node without a network: a folder of this machine as its home, and its commands are processes here."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from harness import agent
from harness.errors import DeadlineError, LostError, RemoteCommandError
from harness.remote import COMMAND_TIMEOUT_S, Remote, Result, Stopped

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from node_agent.contract.plan import NodePlan


class LocalRemote(Remote):
    """A remote whose node is a folder."""

    def __init__(self, node_id: str, home: Path) -> None:
        self.id, self.place = node_id, str(home)
        self.home = home

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], cwd=self.home, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            output, errors = process.communicate(stdin, timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise DeadlineError(f"{self.id}: expected an end within {timeout_s:g} s of: {command}") from None
        return Result(process.returncode, output, errors.decode())

    def write(self, path: str, content: bytes, mode: int) -> None:
        scratch = self._path(f"{path}.scratch")
        try:
            scratch.touch(mode)
            scratch.write_bytes(content)
            scratch.replace(self._path(path))
        except OSError as error:
            raise RemoteCommandError(f"{self.id}: writing {path}: {error}") from error

    def read(self, path: str) -> bytes | None:
        return self._path(path).read_bytes() if self._path(path).exists() else None

    def list(self, folder: str) -> dict[str, int] | None:
        if not self._path(folder).is_dir():
            return None
        files = (path for path in self._path(folder).iterdir() if path.is_file() and not path.is_symlink())
        return {path.name: path.stat().st_size for path in files}

    def fetch(self, folder: str, target: Path, without: Collection[str] = ()) -> str:
        names = self.list(folder)
        if names is None:
            raise RemoteCommandError(f"{self.id}: expected the folder {folder}, got none there")
        for name in names:
            if not name.startswith(".") and name not in without:
                shutil.copy(self._path(folder) / name, target)
        return "copy"

    def start_agent(self, program: str, plan: NodePlan, run_key: str) -> None:
        agent.start_detached(self, program, plan, run_key)

    def stop_agent(self, program: str, folder: str) -> Stopped:
        return agent.stop_detached(self, program, folder)

    def close(self) -> None:
        pass

    def _path(self, path: str) -> Path:
        return self.home / path.removeprefix("~/")


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

    def stop_agent(self, program: str, folder: str) -> Stopped:
        return self._once_broken("stop_agent", program, folder)

    def close(self) -> None:
        self.remote.close()
