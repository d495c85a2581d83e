"""The relays' process as the supervisor has it: started with the cluster, asked by its parent."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from harness.errors import last_line
from harness.invocation.environment import known_environment
from harness.localcluster.processes import Child, Children, output_of
from harness.localcluster.relays.messages import LONGEST_LINE, Answer
from node_agent.contract import json_objects

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path


class RelayProcess:
    """The running relays: a process that answers one line with one."""

    def __init__(self, child: Child, answers: asyncio.StreamReader, log: Path) -> None:
        self.pid = child.pid
        self._questions = child.popen.stdin
        self._answers = answers
        self._log = log

    async def ask(self, line: bytes) -> str:
        """Return the answer to one line; that the relays ended is one, too."""
        if self._questions is None:
            raise AssertionError("started with pipes")
        with contextlib.suppress(BrokenPipeError):  # they ended; their log says why
            self._questions.write(line)
        answer = (await self._answers.readline()).decode()
        if not answer.endswith("\n"):
            words = last_line(self._log.read_text(encoding="utf-8", errors="replace"), "they ended")
            return json_objects.write(Answer(problem=words))
        return answer.rstrip("\n")


async def start_relays(folder: Path, children: Children) -> RelayProcess:
    """Start the process, which ends with its standard input; it is asked later what to relay."""
    log = folder / "relays.log"
    with log.open("wb") as errors:
        child = children.spawn(
            [sys.executable, "-m", "harness.localcluster.relays"],
            env=known_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    return RelayProcess(child, await output_of(child.popen, LONGEST_LINE), log)
