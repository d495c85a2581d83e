"""Nothing that becomes of the output changes what is done, or how it is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from outputs import NOBODY_LISTENS, Ended, closed_terminal, head

from harness import experiment
from harness.console import Console
from harness.errors import CollectionError, RunError
from node_agent.contract.records import COLLECTED, RUN_OK, RUN_RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project

FAB = Path(sys.executable).parent / "fab"


def manifest_of(project: Project, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((project.path / "results" / name / "manifest.json").read_text())
    return read


@pytest.mark.parametrize("listener", NOBODY_LISTENS)
def test_a_run_that_nobody_listens_to_is_carried_out_and_collected(project: Project, listener: str) -> None:
    """The outcome and the exit code are the run's; the manifest notes that nobody listened."""
    ended = NOBODY_LISTENS[listener]([FAB, "local", "run", "--experiment", "unheard"], cwd=project.path)
    manifest = manifest_of(project, "unheard")
    assert (manifest["phase"], manifest["outcome"], manifest["problems"]) == (COLLECTED, RUN_OK, [])
    assert [note.partition(": standard output: ")[0] for note in manifest["notes"]] == ["nobody listened to the end"]
    assert ended.code == 0
    assert "Traceback" not in ended.errors
    if listener in {"head", "full disk", "closed"}:
        assert ended.errors.strip().splitlines()[-1].startswith("standard output: ")


def test_a_terminal_that_is_closed_in_mid_run_is_no_interrupt(project: Project) -> None:
    """Also with the live display on it, which draws several times a second."""
    manifest_file = project.path / "results/closed/manifest.json"
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 100, "duration_minutes": None})

    def running() -> bool:
        return manifest_file.is_file() and json.loads(manifest_file.read_text())["phase"] == RUN_RUNNING

    ended = closed_terminal(
        [FAB, "local", "run", "--experiment", "closed"],
        until=running,
        cwd=project.path,
        env={**os.environ, "TERM": "xterm"},
    )
    manifest = manifest_of(project, "closed")
    assert (manifest["phase"], manifest["outcome"], manifest["problems"]) == (COLLECTED, RUN_OK, [])
    assert ended.code == 0


def test_a_run_that_is_heard_notes_nothing(project: Project) -> None:
    code, printed = project.fab("local", "run", "--experiment", "heard", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert code == 0, printed
    assert manifest_of(project, "heard")["notes"] == []
    assert "\\xb1" in printed  # ±, which ASCII does not have


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp437:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "en_US.ISO-8859-1"},
        {"LC_ALL": "tr_TR"},
    ],
    ids=str,
)
def test_an_encoding_ends_nothing(project: Project, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [FAB, "local", "check"], cwd=project.path, env={**os.environ, **environment}, capture_output=True, check=False
    )
    assert done.returncode == 0, done
    assert b"Traceback" not in done.stderr


def test_following_logs_ends_with_the_one_it_is_for(project: Project, hosts: ClusterConfig) -> None:
    """``logs --follow | head -1`` ends long before the run does, and leaves it alone."""
    project.add_cluster("lab", hosts)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 400, "duration_minutes": None})
    project.edit("configs/coordinator_config.yaml", broadcast_pattern={"pattern": ["fast"], "fast_stream": 0.05})
    running = project.start("lab", "run", "--experiment", "followed")
    assert running.stdout is not None
    while "phase=broadcasting" not in (line := running.stdout.readline()):
        assert line, "the run ended before it began"
    ended = head([FAB, "lab", "logs", "--follow", "--experiment", "followed"], cwd=project.path)
    assert (ended.code, "Traceback" in ended.errors) == (0, False)
    assert running.poll() is None
    assert running.communicate()[0].count("Traceback") == 0
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (RunError("comp11: ended"), "comp11: ended"),
        (CollectionError("results: full"), "results: full"),
        (BrokenPipeError(32, "Broken pipe"), "internal error: BrokenPipeError: [Errno 32] Broken pipe"),
        (OSError(5, "Input/output error"), "internal error: OSError: [Errno 5] Input/output error"),
        (UnicodeEncodeError("ascii", "±", 0, 1, "no"), "internal error: UnicodeEncodeError: 'ascii'"),
        (SystemExit(1), "internal error: SystemExit: 1"),
        (ValueError(), "internal error: ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_only_an_interrupt_is_an_interrupt(monkeypatch: pytest.MonkeyPatch, error: BaseException, failure: str) -> None:
    judged: list[str] = []

    def carry_out(*_: object) -> None:
        raise error

    run = SimpleNamespace(cluster=SimpleNamespace(allocation=None), agent=None, console=Console())
    monkeypatch.setattr(experiment, "_prepare", lambda *_: run)
    monkeypatch.setattr(experiment, "Monitor", lambda *_: None)
    monkeypatch.setattr(experiment, "_carry_out", carry_out)
    monkeypatch.setattr(experiment, "_bring_home", lambda *arguments: judged.append(arguments[-1]))
    with pytest.raises(type(error)):
        # Nothing else of them is looked at.
        experiment.execute(SimpleNamespace(begun=False), SimpleNamespace(manifest=None), None)
    assert len(judged) == 1
    assert judged[0].startswith(failure)


@pytest.mark.parametrize("listener", NOBODY_LISTENS)
def test_home_tasks_end_as_they_would_with_a_listener(
    listener: str, simulated: Path, run_home: Callable[..., Ended]
) -> None:
    """``validate`` finds what it finds, ``analyze`` writes what it writes, and says so with its exit code."""
    for task in ("validate", "analyze"):
        ended = run_home(NOBODY_LISTENS[listener], task, simulated)
        assert (task, ended.code) == (task, 0), ended.errors
        assert "Traceback" not in ended.errors
    assert (simulated / "report/experiment_report.md").is_file()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_home_tasks_write_what_an_encoding_lacks_otherwise(
    simulated: Path, run_home: Callable[..., Ended], encoding: str
) -> None:
    for task in ("validate", "analyze"):
        ended = run_home(head, task, simulated, PYTHONIOENCODING=encoding)
        assert (task, ended.code) == (task, 0), ended.errors
        assert "Traceback" not in ended.errors


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short run folder without any error."""
    from analysis.simulation.simulate import simulate

    return simulate("honest", 3, 60, seed=1, experiment="unheard", results=tmp_path_factory.mktemp("results"))


@pytest.fixture
def run_home() -> Callable[..., Ended]:
    root = Path(__file__).parents[3]

    def run(listener: Callable[..., Ended], task: str, folder: Path, **environment: str) -> Ended:
        argv = [Path(sys.executable).parent / "invoke", task, "--experiment", str(folder)]
        return listener(argv, cwd=root, env={**os.environ, **environment})

    return run


def test_a_file_that_is_opened_later_does_not_become_the_output(tmp_path: Path) -> None:
    """A closed standard output leaves its descriptor free, and the next file opened would have it."""
    program = (
        "import sys, os; from node_agent import streams; streams.install();"
        "file = open(sys.argv[1], 'w'); print('hello', flush=True); os.write(1, b'hello'); file.close();"
        "sys.exit(3 if streams.failure_of(sys.stdout) else 4)"
    )
    file = tmp_path / "file"
    command = ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", program, file]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 3
    assert file.read_text() == ""
