"""`uv run invoke …`: every task explains itself, starts quickly, and ends with the documented code."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from analysis.errors import UsageError
from analysis.run import load
from analysis.simulation.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments):
    command = [sys.executable, "-m", "invoke", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)


def test_listing_the_tasks_imports_nothing_heavy():
    code = "import sys, tasks; print([m for m in ('pandas', 'matplotlib', 'scipy', 'fabric') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    listed = invoke("--list").stdout
    assert all(name in listed for name in ("analyze", "import", "validate", "test", "lint", "lock"))


def test_analyze_ends_with_the_headlines_and_the_path_of_the_report(tmp_path):
    path = simulate("honest", 3, 100, rate_hz=20.0, results=tmp_path)
    done = invoke("analyze", "--experiment", str(path), "--window-sizes", "70")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"page: {path}/report/index.html"
    assert "ntp         comp11" in done.stdout


def test_an_unknown_experiment_is_one_line_and_exit_code_2():
    for task in ("analyze", "validate"):
        done = invoke(task, "--experiment", "no such run")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "experiment name: expected letters" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", "--experiment", ""),
        ("analyze", "--experiment="),
        ("analyze", "--experiment", " "),
        ("validate", "--experiment", ""),
        ("replay", "--experiment", ""),
        ("simulate", "--events", "10", "--experiment", ""),
        ("import", "--source", "x", "--experiment", ""),
    ],
)
def test_an_empty_name_is_no_experiment_and_not_the_latest(arguments):
    """A shell variable that is not set must not make a task work on another run."""
    done = invoke(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("experiment name: expected letters, digits")
    assert done.stderr.endswith("got ''; or leave --experiment out\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("analyze", "--window-sizes", ""), "window-sizes"),
        (("analyze", "--merged", ""), "merged"),
        (("simulate", "--rate-hz", ""), "rate-hz"),
        (("simulate", "--scenario", ""), "scenario"),
        (("verify-scenarios", "--only", ""), "only"),
        (("predict", "--series", ""), "series"),
        (("import", "--source", "", "--experiment", "x"), "source"),
    ],
)
def test_no_option_is_taken_for_one_that_was_not_given(arguments, option):
    done = invoke(*arguments)
    assert done.returncode == 2
    assert done.stderr == f"--{option}: expected a value, got ''; or leave --{option} out\n"


def test_functions_refuse_an_empty_name_as_well(tmp_path):
    with pytest.raises(UsageError, match="experiment name: expected"):
        simulate("honest", 3, 10, experiment="", results=tmp_path)
    with pytest.raises(Exit, match="experiment name: expected") as ended:
        tasks.validate(Context(), experiment="")
    assert ended.value.code == 2


def test_every_task_shows_its_help_and_says_in_a_line_what_it_needs():
    for task in (
        "analyze",
        "import",
        "validate",
        "replay",
        "test",
        "fuzz",
        "lint",
        "lock",
        "bench",
        "verify-scenarios",
    ):
        assert f"Usage: inv[oke] [--core-opts] {task}" in invoke(task, "--help").stdout
    for task, option, wrong in (("simulate", "--nodes", "x"), ("fuzz", "--cases", "0"), ("bench", "--rate", "nan")):
        done = invoke(task, option, wrong)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {option}: expected a ")
        assert (done.stderr.count("\n"), done.stderr.endswith(f"got '{wrong}'\n")) == (1, True)
    done = invoke("import", "--source", "x")
    assert (done.returncode, done.stderr) == (2, "error: import: expected --source FOLDER and --experiment NAME\n")


@pytest.mark.parametrize("task", [tasks.analyze, tasks.validate, tasks.replay])
def test_an_interrupted_task_ends_with_130(monkeypatch, capsys, task):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "folder", interrupted)
    with pytest.raises(Exit) as ended:
        task(Context())
    assert ended.value.code == 130
    assert [*capsys.readouterr().err.splitlines(), ended.value.message or ""][0].startswith("interrupted")


def test_a_terminated_task_takes_its_processes_along(tmp_path):
    command = [sys.executable, "-m", "invoke", "verify-scenarios", "--seeds", "100"]
    own = {"env": os.environ | {"TMPDIR": str(tmp_path)}, "stdout": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, **own) as task:
        deadline = time.monotonic() + 250
        while not list(tmp_path.glob("verify-scenarios-*/*")):  # a run of a process of the pool
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(alive(task.pid)) > 1
        task.terminate()
        assert task.wait(250) == 130
    while alive(task.pid):
        assert time.monotonic() < deadline + 120
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def alive(session: int) -> list[int]:
    """Return the processes of a session that have not ended (proc(5))."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, owner = path.read_text().rpartition(")")[2].split()[:4]
            if int(owner) == session and state != "Z":
                pids.append(int(path.parent.name))
    return pids
