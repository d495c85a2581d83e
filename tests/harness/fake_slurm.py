"""Slurm's commands as small programs: what a step is told is done here, at once, in the home that is the node's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.local import LocalRemote
from harness.slurm.commands import Slurm
from harness.slurm.job import Job
from harness.slurm.remote import SlurmRemote

if TYPE_CHECKING:
    from pathlib import Path

SRUN = """\
#!/bin/sh
[ "$1" = --version ] && { echo slurm 22.05.8; exit; }
while case $1 in --*) true;; *) false;; esac; do shift; done
step=1; until mkdir "STEPS/$step" 2>/dev/null; do step=$((step + 1)); done
echo $$ > "STEPS/$step/pid"
export SLURM_STEP_ID=$step HOME="NODE_HOME"
echo "srun: fake" >&2
exec "$@"
"""
SCANCEL = """\
#!/bin/sh
kill -${1#--signal=} $(cat "STEPS/${2#*.}/pid")
"""
SQUEUE = """\
#!/bin/sh
echo "7|STATE|None|10:00|n1|compute|(null)|2026-01-01T00:00:00|2026-01-01T00:00:00|2026-01-01T01:00:00|0|N/A|(null)|me"
"""
REFUSES = "#!/bin/sh\nexit 1\n"


def make(folder: Path, node_home: Path) -> None:
    """Write the commands into ``folder``, which is to be first on PATH; the job runs."""
    steps = folder / "steps"
    steps.mkdir(parents=True)
    programs = {"srun": SRUN, "scancel": SCANCEL, "squeue": SQUEUE, "scontrol": REFUSES, "sacct": REFUSES}
    for name, text in programs.items():
        path = folder / name
        path.write_text(text.replace("STEPS", str(steps)).replace("NODE_HOME", str(node_home)))
        path.chmod(0o700)
    set_state(folder, "RUNNING")


def set_state(folder: Path, state: str) -> None:
    """Let squeue say another state of the job."""
    path = folder / "squeue"
    path.write_text(SQUEUE.replace("STATE", state))


def remote(node_id: str, front_home: Path) -> SlurmRemote:
    """Return a node of the job, reached from a front with that home."""
    front = LocalRemote(node_id, front_home)
    slurm = Slurm(front)
    facts = slurm.job("7")
    assert facts is not None
    job = Job(slurm, facts, slurm.version(), ours=False, margin_s=1.0, options={})
    return SlurmRemote(node_id, "n1", front, job, "~/base")
