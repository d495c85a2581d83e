"""Testbeds that outlive the command that made them: ``up`` leaves a keeper process behind, ``down`` ends it.

The keeper owns the testbed like any other owner; killed, it takes the testbed along. What it is, is written in the
testbed's state file: its process id together with its start time, so that nobody else's process is ever signalled.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from harness.errors import ConfigError, HarnessError, PreflightError, RunError, last_line
from harness.localcluster.processes import ZOMBIE, Process, piped, read_process, send, start_ours
from harness.testbed import topology
from harness.testbed.slurm import control_groups
from harness.testbed.testbed import start

if TYPE_CHECKING:
    from harness.testbed.topology import State

LOG: Final = "keeper.log"
POLL_S: Final = 0.05
ENDING_S: Final = 250.0  # it removes all that was put on its hosts


def up(folder: Path, family: str = topology.IPV4, slurm: str | None = None) -> State:
    """Bring up a testbed in ``folder`` that stays; its hosts have addresses of one family, and a Slurm of this flavour.

    Raises ConfigError if one is up there already, PreflightError if it cannot be brought up.
    """
    if folder.exists():
        if lives(folder):
            raise ConfigError(
                f"testbed: expected none in {folder}, got one that is up; use it, or make another with --name; "
                "fab testbed-down ends it, for all who use it"
            )
        shutil.rmtree(folder)  # its keeper was killed, and took the rest along
    words = [str(folder), family, *([] if slurm is None else [slurm])]
    keeper = start_ours("harness.testbed.keeper", *words, errors=subprocess.PIPE, stdin=subprocess.DEVNULL)
    with piped(keeper.stdout) as output, piped(keeper.stderr) as errors:
        said = output.readline()
        if not said:
            keeper.wait()
            raise PreflightError(f"testbed: its keeper ended: {last_line(errors.read().decode(errors='replace'))}")
    if problem := json.loads(said).get("problem"):
        keeper.wait()
        raise PreflightError(problem)
    keeper.returncode = 0  # it lives on by itself, and is nobody's to wait for
    return topology.read_state(folder)


def down(folder: Path) -> bool:
    """End the testbed in ``folder``; return whether there was one. Raises RunError if it does not end."""
    if not folder.exists():
        return False
    there = lives(folder)
    if there:
        known = topology.read_state(folder)
        keeper = _keeper(known)
        if keeper is not None:
            send(keeper, signal.SIGTERM)
        deadline = time.monotonic() + ENDING_S
        while _keeper(known) is not None:
            if time.monotonic() > deadline:
                raise RunError(
                    f"testbed: expected its end within {ENDING_S:g} s; pid {known.owner_pid} is still at it; wait, and "
                    "say testbed-down again"
                )
            time.sleep(POLL_S)
    shutil.rmtree(folder, ignore_errors=True)
    control_groups.sweep()
    return there


def lives(folder: Path) -> bool:
    """Return whether the testbed in ``folder`` has its keeper."""
    try:
        known = topology.read_state(folder)
    except PreflightError:
        return False
    return _keeper(known) is not None


def _keeper(known: State) -> Process | None:
    """Return the testbed's keeper if it runs: that very process, not another of its id."""
    keeper = read_process(known.owner_pid)
    there = keeper is not None and keeper.start_ticks == known.owner_start_ticks and keeper.state != ZOMBIE
    return keeper if there else None


def main() -> int:
    """Keep a testbed, in the folder, of the family and with the Slurm that the command line names, until SIGTERM."""
    folder, family, slurm = Path(sys.argv[1]), sys.argv[2], next(iter(sys.argv[3:]), None)
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        testbed = start(folder, family, slurm)
    except HarnessError as error:
        print(json.dumps({"problem": str(error)}), flush=True)  # noqa: T201 - the line that `up` reads
        return error.exit_code
    with testbed:
        print(json.dumps({}), flush=True)  # noqa: T201 - same
        nowhere = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        while True:
            signal.pause()


def _end(_number: int, _frame: Any) -> NoReturn:
    """Unwind, once; what takes the testbed down then is not interrupted."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
