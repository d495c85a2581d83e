"""A run judged by the tasks of a job array on several hosts: the same bytes as judged here, whole or in parts."""

from __future__ import annotations

import hashlib
import sys

import pytest
from conftest import give
from project_folder import ROOT

from analysis.__main__ import main
from analysis.simulation.simulate import simulate

ONE_FLAVOUR = pytest.mark.parametrize("slurm_testbed", ["linuxproc"], indirect=True)
CUT = """
import sys
from analysis import __main__
from analysis.by_event import open_run
open_run.MOST_AS_A_WHOLE, open_run.FEWEST_AT_ONCE, open_run.PART_BYTES = 0, 100, 1
sys.exit(__main__.main(sys.argv[1:]))
"""


def digests(folder):
    """Return what an analysis wrote, each file by its digest; logs of agents and tables it did not write."""
    written = ("data", "statistics", "figures", "report")
    files = [path for name in written for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@ONE_FLAVOUR
def test_the_same_bytes(slurm_project):
    results = slurm_project.path / "results"
    folder = simulate("honest", 3, 400, experiment="r", results=results)
    give(results)
    assert main(["--experiment", str(folder)]) == 0
    expected = digests(folder)
    assert len(expected) > 20
    give(results)
    for number, program in enumerate((["-m", "analysis"], ["-c", CUT])):
        words = [sys.executable, *program, "--experiment", "results/r", "--slurm", "--jobs", "3"]
        process = slurm_project.start_command(words, PYTHONPATH=str(ROOT))
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 0, printed
        assert "the run is judged by 3 tasks; squeue -j " in printed
        assert digests(folder) == expected
        assert (folder / "parts").is_dir() is bool(number)
        assert not list(folder.glob(".array-*"))
