"""Looking after runs from outside: logs are followed to the end, and only what is ours and done with is removed."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness import shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project

NASTY = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a'b",
    'a"b',
    "a\nb",
    "--help",
    "*",
    "~",
    "$HOME",
    "a&b|c>d",
]


@pytest.mark.parametrize("name", NASTY)
def test_any_name_is_one_word_to_the_shell(tmp_path: Path, name: str) -> None:
    """A path keeps its leading ~/ and nothing else of what a shell would do with it."""
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for text in (shell.word(name), shell.path(f"~/{name}"), shell.path(f"/{name}")):
        said = subprocess.run(
            ["/bin/sh", "-c", f"printf %s. {text}"], cwd=tmp_path, env=home, capture_output=True, text=True, check=True
        ).stdout
        assert said in {f"{name}.", f"{tmp_path}/{name}.", f"/{name}."}
    assert list(tmp_path.iterdir()) == []
    assert shlex.split(shell.word(name)) == [name]


@pytest.fixture
def done(project: Project, hosts: ClusterConfig) -> Project:
    """Return a project with a collected run named `done`."""
    project.add_cluster("lab", hosts)
    code, printed = project.fab("lab", "deploy", "--experiment", "done", "run")
    assert code == 0, printed
    return project


def test_clean_first_says_what_it_would_remove_and_then_removes_only_that(done: Project, local) -> None:
    """Gone: the run's folder and an old agent. Kept: other runs, their agents, and what is not ours."""
    bases = {node_id: home / "chronotick-harness" for node_id, home in local.homes.items()}
    old, used = "0" * 64, "1" * 64
    for node_id, base in bases.items():
        for name in (old, used, "not-ours"):
            (base / "cache" / name).mkdir(exist_ok=True)
        other = base / "runs/other" / node_id
        other.mkdir(parents=True, exist_ok=True)
        (other / "status.json").write_text(json.dumps({"agent_sha256": used}))
        (base / "mine.txt").write_text("keep me")
    try:
        code, printed = done.fab("clean")
        assert code == 0, printed
        assert printed.count("would remove") == 3
        assert "nothing was removed; to remove it: clean --yes" in printed
        assert all(
            (base / "runs/done" / node_id).is_dir() and (base / "cache" / old).is_dir()
            for node_id, base in bases.items()
        )
        code, printed = done.fab("clean", "--yes")
        assert code == 0, printed
        for base in bases.values():
            assert not (base / "runs/done").exists()
            assert not (base / "cache" / old).exists()
            assert {path.name for path in (base / "cache").iterdir()} >= {used, "not-ours"}
            assert len(list((base / "cache").iterdir())) == 3  # and this version's
            assert (base / "runs/other").is_dir()
            assert (base / "mine.txt").is_file()
        code, printed = done.fab("clean")
        assert (code, printed.count("nothing to remove")) == (0, 3)
        code, printed = done.fab("collect")
        assert code == 0, printed  # what is at home is whole
    finally:
        for base in bases.values():
            shutil.rmtree(base / "runs/other")
            for name in (old, used, "not-ours"):
                shutil.rmtree(base / "cache" / name, ignore_errors=True)


def test_a_truncated_file_on_a_node_never_replaces_the_good_one_at_home(done: Project, local) -> None:
    """Collected again and again: what is whole stays whole, and what was lost at home is fetched once more."""
    remote = local.homes["comp11"] / "chronotick-harness/runs/done/comp11/events.csv"
    kept = done.path / "results/done/raw/comp11/events.csv"
    good = kept.read_bytes()
    code, printed = done.fab("collect")
    assert code == 0, printed
    remote.write_bytes(good[: len(good) // 2])
    code, printed = done.fab("collect")
    assert (code, kept.read_bytes()) == (6, good), printed
    assert "events.csv: the node lacks what was collected before; kept that, took nothing" in printed
    remote.write_bytes(good)
    shutil.rmtree(kept.parent)
    code, printed = done.fab("collect")
    assert (code, kept.read_bytes()) == (0, good), printed


def test_logs_are_followed_until_the_run_ends(project: Project, hosts: ClusterConfig, agents_of: Callable) -> None:
    """Started while the run goes on, `logs -f` shows every node's lines and ends by itself when all agents have."""
    project.add_cluster("lab", hosts)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 800})
    run = project.start("lab", "run", "--experiment", "told")
    while "comp18 phase=broadcasting" not in run.stdout.readline():
        assert run.poll() is None
    code, printed = project.fab("logs", "--follow", "--lines", "2")
    assert code == 0, printed
    for node_id in ("comp18", "comp11", "comp12"):
        assert f"--- {node_id}" in printed
        followed = [line for line in printed.splitlines() if line.startswith(f"{node_id}: ")]
        assert "finished outcome=ok" in followed[-1]
        assert len(set(followed)) == len(followed)
    printed, _ = run.communicate(timeout=250)
    assert run.returncode == 0, printed


def test_following_ends_at_ctrl_c_and_the_run_goes_on(
    project: Project, hosts: ClusterConfig, agents_of: Callable
) -> None:
    project.add_cluster("lab", hosts)
    project.edit("configs/coordinator_config.yaml", experiment={"num_events": 800})
    run = project.start("lab", "run", "--experiment", "left")
    while "comp18 phase=broadcasting" not in run.stdout.readline():
        assert run.poll() is None
    following = project.start("logs", "-f")
    while not following.stdout.readline().startswith("--- comp12"):
        assert following.poll() is None
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=250)
    assert following.returncode == 130
    printed, _ = run.communicate(timeout=250)
    assert run.returncode == 0, printed
