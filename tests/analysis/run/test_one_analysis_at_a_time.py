"""Two analyses of one run would write the same files, each amid the other's: the second ends before it begins."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import __main__ as command
from analysis import pipeline
from analysis.errors import AnalysisError
from analysis.run.alone import alone
from analysis.simulation.simulate import simulate

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from pathlib import Path
from analysis.run.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate("honest", 3, 20, seed=3, results=tmp_path_factory.mktemp("results"))


@pytest.fixture
def other(run):
    """Start a process that is another analysis of the run, as far as anybody can see."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_second_says_so_in_a_line_and_changes_nothing(run, other, capsys):
    before = files(run)
    assert command.main(["--experiment", str(run)]) == 7
    said = capsys.readouterr().err
    assert said == f"error: {run}: expected no other analysis of this run under way, got one; wait until it has ended\n"
    assert files(run) == before


def test_one_that_was_killed_keeps_nobody_away(run, other):
    with pytest.raises(AnalysisError), alone(run):
        pass
    other.kill()
    other.wait()
    with alone(run):
        pass


def test_after_one_that_failed_the_next_begins(run, monkeypatch):
    monkeypatch.setattr(pipeline, "_of_events", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            pipeline.run_all(run)


def test_where_there_are_no_locks_nobody_is_kept_away(run, other, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with alone(run):
        pass


def test_the_manifest_stays_as_it_is(run):
    manifest = run / "manifest.json"
    before = manifest.read_bytes(), manifest.stat().st_mtime_ns
    with alone(run):
        pass
    assert (manifest.read_bytes(), manifest.stat().st_mtime_ns) == before
