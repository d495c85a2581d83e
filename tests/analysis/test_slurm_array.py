"""Pieces of work shared out by Slurm: the same results, and nothing left of them, whatever becomes of its tasks.

Here three small programs take Slurm's place, whose tasks are processes of this machine; on a real one: ``tests/slurm``.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import AnalysisError, UsageError
from analysis.processes import slurm_array
from analysis.processes.slurm_array import SlurmArray
from analysis.storage.scratch import in_memory, taken

SLEPT_S = 600
SBATCH = """
    #!{python}
    import os, pathlib, re, subprocess, sys
    if os.environ.get("SBATCH_REFUSES"):
        sys.exit("sbatch: error: Batch job submission failed:\\nInvalid account or account/partition combination")
    script = pathlib.Path(sys.argv[1]).read_text()
    (tasks,) = re.findall("--array=0-([0-9]+)", script) or ["0"]
    (log,) = re.findall("--output=(.*)", script)
    here = pathlib.Path(sys.argv[0]).parent
    for task in range(int(tasks) + 1):
        of_task = {{"SLURM_JOB_ID": str(77 + task), "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}}
        if "--array" in script:
            of_task |= {{"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}}
        words = log.strip("'").replace("%A", "77").replace("%a", str(task)).replace("%j", "77")
        with open(words, "ab") as file:
            process = subprocess.Popen(
                ["bash", sys.argv[1]], env=os.environ | of_task, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )
        with (here / "tasks").open("a") as file:
            file.write(f"{{process.pid}}\\n")
    print("Submitted batch job 77")
"""
TASKS = """
    import os, pathlib, sys
    tasks = [int(pid) for pid in (pathlib.Path(sys.argv[0]).parent / "tasks").read_text().split()]
    def alive(pid):
        try:
            return pathlib.Path(f"/proc/{{pid}}/stat").read_text().split(") ")[1][0] != "Z"
        except OSError:
            return False
    alive = {{place: pid for place, pid in enumerate(tasks) if alive(pid)}}
"""
SQUEUE = f"""
    #!{{python}}{TASKS}
    for place in alive:
        print("77" if len(tasks) == 1 else "77_" + str(place))
"""
SCANCEL = f"""
    #!{{python}}{TASKS}
    for pid in alive.values():
        os.killpg(pid, 9)
    (pathlib.Path(sys.argv[0]).parent / "cancelled").write_text(sys.argv[1])
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Let sbatch, squeue and scancel be ours, and return their folder."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL), ("srun", SCANCEL)):
        program = folder / name
        program.write_text(textwrap.dedent(text).lstrip().format(python=sys.executable))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # tasks find the pieces below there
    monkeypatch.setattr(slurm_array, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(slurm_array, "ASK_EVERY_S", 0.2)
    monkeypatch.setattr(slurm_array, "LATE_S", 0.5)
    return folder


@pytest.fixture
def run(tmp_path):
    """Return a folder to work in, of which nothing may be left."""
    folder = tmp_path / "a run"
    folder.mkdir()
    return folder


def doubled(number):
    return 2 * number, os.getpid()


@pytest.mark.parametrize("tasks", [1, 2, 5, 50])
def test_results_are_in_the_order_of_the_pieces_whoever_made_them(slurm, run, tasks):
    said = []
    with SlurmArray(run, tasks, said.append) as array:
        made = array.results([partial(doubled, number) for number in range(5)])
    assert [number for number, _ in made] == [0, 2, 4, 6, 8]
    pids = {pid for _, pid in made}
    assert os.getpid() not in pids
    assert len(pids) == min(tasks, 5)
    told = "1 task" if tasks == 1 else f"{min(tasks, 5)} tasks"
    assert said == [f"Slurm job 77: the run is judged by {told}; squeue -j 77 shows them"]
    assert not list(run.iterdir())
    assert not (slurm / "cancelled").exists()


def kept(scratch, length):
    return scratch.keep(np.arange(length)), scratch.put({"a": np.arange(length) * 0.5, "b": "text"})


def test_what_tasks_put_on_disk_is_read_here(slurm, run):
    with SlurmArray(run, 3, print) as array:
        own = array.scratch.keep(np.arange(3))
        made = array.results([partial(kept, array.scratch, length) for length in (0, 5, 100_000, 7)])
        assert [in_memory(numbers).tolist() for numbers, _ in made] == [list(range(n)) for n in (0, 5, 100_000, 7)]
        assert [taken(piece)["b"] for _, piece in made] == ["text"] * 4
        assert taken(made[2][1])["a"][-1] == 99_999 * 0.5
        assert in_memory(own).tolist() == [0, 1, 2]
        assert len(list(array.folder.glob("*.numbers"))) == 4  # of three tasks and this process
    assert not list(run.iterdir())
    opened = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    mapped = Path("/proc/self/maps").read_text()
    assert ".numbers" not in " ".join([*opened, mapped])  # which on a network file system would keep the folder


def refused():
    raise AnalysisError("r: expected a column, got none")


def test_what_cannot_be_analysed_is_said_as_it_is_here(slurm, run):
    with pytest.raises(AnalysisError, match=r"^r: expected a column, got none$"), SlurmArray(run, 2, print) as array:
        array.results([partial(doubled, 1), refused])
    assert not list(run.iterdir())


def broken():
    return {}["missing"]


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def endless():
    time.sleep(SLEPT_S)


@pytest.mark.parametrize(("piece", "said"), [(broken, "KeyError: 'missing'"), (killed, "none")])
def test_a_task_without_a_result_is_one_line_that_names_its_log(slurm, run, piece, said):
    wanted = rf"^Slurm job 77_1: expected a result, got {said}; its log is (/.*) \(where it was ended"
    with pytest.raises(AnalysisError, match=wanted) as caught, SlurmArray(run, 2, print) as array:
        array.results([partial(doubled, 1), piece])
    log = Path(re.match(wanted, str(caught.value))[1])
    assert log.parent == array.folder
    assert ("Traceback" in log.read_text()) is (piece is broken)


@pytest.mark.parametrize(("piece", "said"), [(broken, "KeyError"), (killed, "got none"), (refused, "^r: expected")])
def test_one_that_fails_ends_the_others(slurm, run, piece, said):
    with pytest.raises(AnalysisError, match=said), SlurmArray(run, 2, print) as array:
        array.results([endless, piece])
    assert (slurm / "cancelled").read_text() == "77"


def test_what_ends_this_process_ends_the_tasks(slurm, run):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), SlurmArray(run, 2, interrupt) as array:
        array.results([endless, endless])
    assert (slurm / "cancelled").read_text() == "77"
    assert not list(run.iterdir())


def test_a_job_that_slurm_does_not_take(slurm, run, monkeypatch):
    monkeypatch.setenv("SBATCH_REFUSES", "1")
    with (
        pytest.raises(
            UsageError, match=r"^--slurm: expected sbatch to take a job array, got .*: Invalid account.*out$"
        ),
        SlurmArray(run, 2, print) as array,
    ):
        array.results([endless, endless])
    assert not list(run.iterdir())


@pytest.mark.parametrize("missing", ["sbatch", "squeue", "scancel"])
def test_without_slurm(slurm, run, monkeypatch, missing):
    monkeypatch.setenv("PATH", str(slurm))
    (slurm / missing).unlink()
    with pytest.raises(UsageError, match=f"^--slurm: expected the program {missing} on the PATH, got none; "):
        SlurmArray(run, 2, print)
    assert not list(run.iterdir())
