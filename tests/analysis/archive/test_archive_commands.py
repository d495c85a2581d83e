"""`invoke archive` and `invoke restore` say what they did, or in one line why not, and end with the documented code."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import archived_runs as runs
import pytest
import yaml

from analysis.archive import command
from analysis.simulation.simulate import simulate
from node_agent.contract import records

ROOT = Path(__file__).resolve().parents[3]


def test_both_tasks_from_a_run_to_a_run(tmp_path):
    folder = runs.run(tmp_path / "results")
    (folder / "raw" / "w1" / "run.key").write_text("ab" * 32)
    invoke = [sys.executable, "-m", "invoke"]
    done = subprocess.run(
        [*invoke, "archive", "--experiment", str(folder), "--license", "CC-BY-4.0"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    target = tmp_path / "results" / "by-hand.tar.zst"
    lines = done.stdout.splitlines()
    assert lines[0] == "left out: by-hand/raw/w1/run.key: a key, or a list of keys"
    sha256 = f"sha256: {hashlib.sha256(target.read_bytes()).hexdigest()}"
    assert lines[-3:] == [f"macros: {folder}/report/archive.tex", sha256, f"archive: {target}"]
    again = tmp_path / "again"
    done = subprocess.run(
        [*invoke, "restore", str(target), "--results", str(again)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["12 files verified", sha256, f"{again}/by-hand"]
    assert runs.files_of(again / "by-hand").keys() == runs.files_of(folder).keys() - {"raw/w1/run.key"}


def archive(results: Path, experiment: str | None = None, sweep: str = "", output: str = "", licence: str = "") -> int:
    return command.archive(experiment, sweep, output, licence, results)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"experiment": "none"}, "no experiment 'none'"),
        ({"sweep": "none"}, "sweep none: expected runs like"),
        ({"sweep": "night", "experiment": "by-hand"}, "--sweep: expected no --experiment beside it"),
        ({"experiment": "by-hand", "output": "{}/none/x.tar.zst"}, "--output: expected a file in a folder"),
        ({"experiment": "by-hand", "output": "{}"}, "--output: expected a file in a folder"),
        ({"experiment": "by-hand", "licence": "my own"}, "--license: expected an SPDX identifier"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_code_2(tmp_path, capsys, options, told):
    runs.run(tmp_path)
    assert archive(tmp_path, **{name: value.format(tmp_path) for name, value in options.items()}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {told}")
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["by-hand"]


def test_what_is_lacking_is_said(tmp_path, capsys):
    folder = runs.run(tmp_path)
    (folder / records.REPORT_FILE).unlink()
    (folder / "report" / "results.tex").unlink()
    manifest = folder / records.MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace('"phase": "collected"', '"phase": "running"'))
    assert archive(tmp_path, "by-hand") == 0
    printed = capsys.readouterr().out
    assert "note: by-hand is running, not collected" in printed
    assert "note: by-hand has no report" in printed
    assert "macros:" not in printed


def test_damage_to_the_files_is_archived_and_ends_with_7(tmp_path, capsys):
    folder = runs.run(tmp_path)
    (folder / "raw" / "w1" / records.CHECKSUMS_FILE).write_text(f"{'0' * 64}  samples.csv\n")
    assert archive(tmp_path, "by-hand") == 7
    captured = capsys.readouterr()
    assert (tmp_path / "by-hand.tar.zst").is_file()
    assert captured.err.startswith("error: by-hand/raw/w1/samples.csv: not what was collected")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("lost", ["raw/comp11", f"raw/comp11/{records.CHECKSUMS_FILE}"])
def test_a_nodes_own_files_that_nothing_vouches_for_end_with_7_as_in_an_analysis(tmp_path, capsys, lost):
    gone = simulate("honest", 3, 20, experiment="by-hand", results=tmp_path) / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert archive(tmp_path, "by-hand") == 7
    said = capsys.readouterr().err
    sums = f"raw/comp11/{records.CHECKSUMS_FILE}"
    assert said.startswith(f"error: by-hand: not what was collected: expected {sums}, found none")
    assert said.count("\n") == 1
    assert (tmp_path / "by-hand.tar.zst").is_file()


def test_a_sweeps_archive_holds_all_of_its_runs_and_gives_them_all_back_or_none(tmp_path, capsys):
    results, again = tmp_path / "results", tmp_path / "again"
    names = ["night.c001.r01", "night.c001.r01.a2", "night.c002.r01"]
    for name in names:
        folder = runs.run(results, name)
        sweep = {"vary": {"worker.clocks.max_drift_ppm": [100.0]}}
        (folder / "configs" / records.SWEEP_CONFIG).write_text(yaml.safe_dump(sweep))
    runs.run(results, "nightly.c001.r01")
    of_sweep = results / "night.sweep"
    (of_sweep / "figures").mkdir(parents=True)
    (of_sweep / "results.tex").write_text("% results\n")
    (of_sweep / "figures" / "cells.png").write_text("picture")
    assert archive(results, sweep="night") == 0
    target = results / "night.tar.zst"
    sha256 = hashlib.sha256(target.read_bytes()).hexdigest()
    assert sha256 in (of_sweep / "archive.tex").read_text()
    assert archive(results, sweep="night") == 0, "its macros are not in it"
    assert command.restore(str(target), None, again) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == [str(again / name) for name in [*names, "night.sweep"]]
    for name in [*names, "night.sweep"]:
        assert runs.files_of(again / name) == runs.files_of(results / name)
    assert (again / "night.sweep" / "archive.tex").read_text() == (of_sweep / "archive.tex").read_text()
    assert sorted(path.name for path in again.iterdir()) == sorted([*names, "night.sweep"])
    assert command.restore(str(target), "other", tmp_path / "third") == 2
    assert "expected an archive of one run, got one of 4 folders" in capsys.readouterr().err
    for name in names[:2]:
        (tmp_path / "fourth" / names[2]).mkdir(parents=True, exist_ok=True)
        assert command.restore(str(target), None, tmp_path / "fourth") == 2
        assert not (tmp_path / "fourth" / name).exists()
    assert not (tmp_path / "third").exists()


def test_a_folder_that_appears_meanwhile_undoes_the_others(tmp_path, monkeypatch):
    """Between the last look and the move somebody makes a folder of one of the names: none of the runs is there."""
    results, again = tmp_path / "results", tmp_path / "again"
    for name in ("night.c001.r01", "night.c002.r01"):
        folder = runs.run(results, name)
        (folder / "configs" / records.SWEEP_CONFIG).write_text(yaml.safe_dump({"vary": {}}))
    assert archive(results, sweep="night") == 0
    rename = Path.rename

    def meanwhile(path: Path, target: Path) -> Path:
        (again / "night.c002.r01").mkdir(exist_ok=True)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    assert command.restore(str(results / "night.tar.zst"), None, again) == 2
    assert [path.name for path in again.iterdir()] == ["night.c002.r01"]


def test_the_citation_names_this_version_and_nobody_it_does_not_know():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nname = "{cited["title"]}"\nversion = "{cited["version"]}"\n' in project
    assert all(author.keys() == {"name"} for author in cited["authors"])
    required = {"cff-version", "message", "title", "authors"}  # by the schema of 1.2.0
    assert required <= cited.keys()
