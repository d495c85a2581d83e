"""Results folders: names, the latest link, the manifest, the version of the code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness import results
from harness.errors import ConfigError, ExperimentExistsError
from node_agent.contract.records import DEPLOYED, Manifest, NodeManifest

ROOT = Path(__file__).parents[2]


def manifest(name: str) -> Manifest:
    nodes = {"a": NodeManifest("a", "coordinator", "h"), "b": NodeManifest("b", "worker", "h")}
    return Manifest("0" * 32, name, "lab", DEPLOYED, None, results.utc_now(), {}, [], {}, nodes)


@pytest.mark.parametrize("name", ["x", "A-1_b.c", "2025-10-25", pytest.param(results.new_name(), id="new"), "x" * 64])
def test_good_names_are_taken_as_they_are(name: str) -> None:
    assert results.valid_name(name) == name


@pytest.mark.parametrize("name", ["../x", "a b", ".hidden", "-x", "latest", "", "a/b", "x\n", "x" * 65, "é", "$(id)"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="experiment name: expected"):
        results.valid_name(name)


def test_a_name_is_used_once(tmp_path: Path) -> None:
    results.create(tmp_path, manifest("one"), [])
    with pytest.raises(ExperimentExistsError):
        results.create(tmp_path, manifest("one"), [])


def test_the_latest_is_the_one_made_last(tmp_path: Path) -> None:
    for name in ("one", "two"):
        results.create(tmp_path, manifest(name), [])
    assert results.find(tmp_path).name == "two"
    assert results.find(tmp_path, "one").path == tmp_path / "one"


def test_the_configurations_are_kept_as_they_were(tmp_path: Path) -> None:
    config = tmp_path / "worker_config.yaml"
    config.write_text("timing: {}  # mine\n")
    folder = results.create(tmp_path / "results", manifest("one"), [config])
    config.write_text("changed")
    assert (folder.path / "configs/worker_config.yaml").read_text() == "timing: {}  # mine\n"


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    folder = results.create(tmp_path, manifest("one"), [])
    folder.manifest.phase_seconds["broadcast"] = 1.5
    folder.save()
    assert results.find(tmp_path).manifest == folder.manifest
    assert [path.name for path in folder.path.iterdir()] == ["manifest.json"]


def test_no_experiment_and_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="deploy or run one first"):
        results.find(tmp_path)
    (tmp_path / "odd").mkdir()
    with pytest.raises(ConfigError, match=r"manifest\.json: expected a run's manifest"):
        results.find(tmp_path, "odd")


def test_without_git_the_sources_are_their_own_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fabfile.py").write_text("one")
    monkeypatch.setenv("PATH", str(tmp_path))
    before = results.code_version(tmp_path)
    (tmp_path / "fabfile.py").write_text("two")
    assert (before["git"], before["dirty"]) == ("unknown", None)
    assert results.code_version(tmp_path)["source_sha256"] != before["source_sha256"]


def test_with_git_the_commit_is_the_version(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    assert results.code_version(tmp_path)["git"] == git("rev-parse", "HEAD").strip()
    assert results.code_version(tmp_path)["dirty"] is False
    (tmp_path / "fabfile.py").write_text("new")
    assert results.code_version(tmp_path)["dirty"] is True
