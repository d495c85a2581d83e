"""An archive's bytes depend on the run and on nothing else; it holds what belongs to the run, and no key."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import archived_runs as runs
import pytest

from analysis.archive import archive, citation, contents, frames, names
from analysis.archive.restore import restore
from analysis.errors import AnalysisError, UsageError
from node_agent.contract import records

ROOT = Path(__file__).resolve().parents[3]
WRITE = (
    "import sys; from pathlib import Path; from analysis.archive import archive, contents;"
    "archive.write(contents.of_run(Path(sys.argv[1])), Path(sys.argv[2]))"
)


def test_the_same_run_is_the_same_bytes_at_another_time_by_another_user_in_another_place(tmp_path):
    here = runs.run(tmp_path / "results")
    first = runs.archived(here, tmp_path / "one.tar.zst")
    there = shutil.copytree(here, tmp_path / "elsewhere" / here.name)
    for number, path in enumerate(sorted(there.rglob("*"), reverse=True)):
        os.utime(path, (10**9 + number, 10**9 + number))
        path.chmod(0o700 if path.is_dir() else 0o640)
    target = tmp_path / "two.tar.zst"
    environment = {**os.environ, "TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITE, str(there), str(target)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=250)
    assert target.read_bytes() == first.path.read_bytes()
    assert first.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()


def test_frames_do_not_depend_on_the_pieces_that_were_written(tmp_path):
    content = os.urandom(frames.BLOCK) + b"a" * frames.BLOCK + b"end"
    written = []
    for size in (1 << 16, 999_983, len(content)):
        with (tmp_path / f"{size}").open("wb") as file:
            writer = frames.FrameWriter(file)
            for place in range(0, len(content), size):
                writer.write(content[place : place + size])
            sha256 = writer.finish()
        assert sha256 == hashlib.sha256((tmp_path / f"{size}").read_bytes()).hexdigest()
        written.append((tmp_path / f"{size}").read_bytes())
    assert written[0] == written[1] == written[2]


def test_an_archive_that_was_restored_and_archived_again_is_the_same(tmp_path):
    first = runs.archived(runs.run(tmp_path / "results"), tmp_path / "one.tar.zst")
    (folder,) = restore(first.path, tmp_path / "again").folders
    assert runs.archived(folder, tmp_path / "two.tar.zst").sha256 == first.sha256


def test_the_programs_of_others_read_it(tmp_path):
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    folder = runs.run(tmp_path / "results")
    made = runs.archived(folder, tmp_path / "one.tar.zst")
    subprocess.run(["tar", "--zstd", "-xf", made.path], cwd=tmp_path, check=True, capture_output=True, timeout=250)
    top = tmp_path / "by-hand"
    checked = subprocess.run(["sha256sum", "--strict", "-c", names.SUMS_FILE], cwd=top, check=False, timeout=250)
    assert checked.returncode == 0
    assert runs.files_of(top / "results" / "by-hand") == runs.files_of(folder)


def test_no_key_gets_in_and_what_is_left_out_is_named(tmp_path):
    folder = runs.run(tmp_path / "results")
    secret = b"2b" * 32
    for name in ("raw/w1/run.key", "configs/known_hosts", "configs/id_ed25519", "notes.txt", "parts/0.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(secret)
    (folder / "raw" / ".w1-abc").mkdir()
    (folder / "raw" / ".w1-abc" / "events.csv").write_bytes(secret)
    (folder / ".manifest.json.x").write_bytes(secret)
    (folder / "report" / citation.MACROS_FILE).write_bytes(secret)
    chosen = contents.of_run(folder)
    assert dict(chosen.left_out) == {
        "by-hand/.manifest.json.x": contents.HIDDEN,
        "by-hand/configs/id_ed25519": contents.A_KEY,
        "by-hand/configs/known_hosts": contents.A_KEY,
        "by-hand/notes.txt": contents.NOT_OURS,
        "by-hand/parts": contents.NOT_OURS,
        "by-hand/raw/.w1-abc": contents.HIDDEN,
        "by-hand/raw/w1/run.key": contents.A_KEY,
        "by-hand/report/archive.tex": contents.OWN_MACROS,
    }
    made = archive.write(chosen, tmp_path / "one.tar.zst")
    (again,) = restore(made.path, tmp_path / "again").folders
    assert not [name for name, data in runs.files_of(again).items() if secret in data]


@pytest.mark.parametrize("before", [0, contents.CHUNK - 12])
def test_a_private_key_under_another_name_is_refused_wherever_it_stands(tmp_path, before):
    folder = runs.run(tmp_path / "results")
    pem = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n"
    (folder / "raw" / "w1" / "agent.log").write_bytes(b"x" * before + pem)
    with pytest.raises(AnalysisError, match=r"raw/w1/agent\.log: expected no secret .* got a private key"):
        runs.archived(folder, tmp_path / "one.tar.zst")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("name", ["raw/w1/extra.csv", "coordinator.csv", "raw"])
def test_a_link_is_refused_for_it_may_lead_anywhere(tmp_path, name):
    folder = runs.run(tmp_path / "results")
    if (folder / name).exists():
        (folder / name).rename(tmp_path / "moved")
    (folder / name).symlink_to(tmp_path / "moved")
    with pytest.raises(AnalysisError, match=rf"{name}: expected a file or a folder, got a link"):
        contents.of_run(folder)


def test_a_folder_that_is_empty_is_restored_too_as_a_node_that_left_nothing(tmp_path):
    folder = runs.run(tmp_path / "results")
    (folder / "raw" / "w3").mkdir()
    made = runs.archived(folder, tmp_path / "one.tar.zst")
    (again,) = restore(made.path, tmp_path / "again").folders
    assert (again / "raw" / "w3").is_dir()
    assert runs.archived(again, tmp_path / "two.tar.zst").sha256 == made.sha256


def test_an_archive_that_was_interrupted_leaves_nothing(tmp_path, monkeypatch):
    folder = runs.run(tmp_path / "results")

    def interrupted(_self):
        raise KeyboardInterrupt

    monkeypatch.setattr(frames.FrameWriter, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.archived(folder, tmp_path / "one.tar.zst")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("change", [b"more\n", b""])
def test_a_file_that_changes_while_it_is_archived_is_an_error(tmp_path, monkeypatch, change):
    folder = runs.run(tmp_path / "results")
    file = folder / "raw" / "w1" / "samples.csv"
    described = archive.crate.describe

    def meanwhile(*arguments):
        file.write_bytes(change + file.read_bytes()[: 3 * len(change) or 5])
        return described(*arguments)

    monkeypatch.setattr(archive.crate, "describe", meanwhile)
    with pytest.raises(AnalysisError, match=r"raw/w1/samples\.csv: expected a run that is at rest"):
        runs.archived(folder, tmp_path / "one.tar.zst")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_another_archive_is_not_replaced_and_the_same_one_may_be_written_again(tmp_path):
    folder, target = runs.run(tmp_path / "results"), tmp_path / "one.tar.zst"
    first = runs.archived(folder, target)
    assert runs.archived(folder, target) == first
    (folder / "report" / "results.tex").write_text("% others\n")
    with pytest.raises(UsageError, match="got another that may be cited"):
        runs.archived(folder, target)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == first.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar.zst", "results"]


def test_a_file_that_is_not_what_the_node_wrote_is_archived_and_named(tmp_path):
    folder = runs.run(tmp_path / "results")
    node = folder / "raw" / "w1"
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(node.glob("*.csv"))}
    (node / records.CHECKSUMS_FILE).write_text(names.render_sums(sums))
    assert runs.archived(folder, tmp_path / "one.tar.zst").not_as_written == ()
    (node / "samples.csv").write_bytes((node / "samples.csv").read_bytes() + b"\n")
    (line,) = runs.archived(folder, tmp_path / "two.tar.zst").not_as_written
    assert line.startswith("by-hand/raw/w1/samples.csv: not what was collected: expected sha256 ")


def test_the_macros_name_the_archive_which_does_not_hold_them(tmp_path):
    folder = runs.run(tmp_path / "results")
    made = runs.archived(folder, tmp_path / "one.tar.zst")
    text = citation.write(folder / "report", made).read_text()
    assert rf"\newcommand{{\resArchiveShaTwoFiveSix}}{{{made.sha256}}}" in text
    assert rf"\newcommand{{\resArchiveContentShaTwoFiveSix}}{{{made.content_sha256}}}" in text
    assert r"\newcommand{\resArchiveFile}{one.tar.zst}" in text
    assert runs.archived(folder, tmp_path / "two.tar.zst").sha256 == made.sha256
    (again,) = restore(made.path, tmp_path / "again").folders
    assert (again / "report" / citation.MACROS_FILE).read_text() == text


def test_every_file_is_described_once_with_the_runs_own_date_and_version(tmp_path):
    folder = runs.run(tmp_path / "results")
    runs.archived(folder, tmp_path / "one.tar.zst", "https://spdx.org/licenses/CC-BY-4.0")
    chosen = contents.of_run(folder)
    sized = {item.name: contents.digest(item.path) for item in chosen.items}
    crate = json.loads(archive.crate.describe(chosen, sized, "https://spdx.org/licenses/CC-BY-4.0"))
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    assert entities["./"]["datePublished"] == "2026-11-23T20:00:00Z"
    assert entities["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    parts = {part["@id"] for part in entities["./"]["hasPart"]}
    for name, (sha256, size) in sized.items():
        described = entities[name]
        assert (described["sha256"], described["contentSize"]) == (sha256, str(size))
        assert described["description"]
        assert name in parts
    assert entities["results/by-hand/raw/w1/samples.csv"]["description"] == contents.RAW_ROLES["samples.csv"]
    assert entities["#run-by-hand"]["startTime"] == "2026-11-23T20:00:00Z"
    assert entities["#software-unknown"]["softwareVersion"] == "unknown"
    referred = {part["@id"] for entity in crate["@graph"] for part in entity.get("hasPart", [])}
    assert referred <= entities.keys()


@pytest.mark.parametrize(
    ("code", "version"),
    [
        ({"git": "ab12", "dirty": True}, "git ab12 with changes"),
        ({"git": "ab12", "dirty": False}, "git ab12"),
        ({"git": "unknown", "source_sha256": "cd"}, "source sha256 cd"),
        ({"git": None, "source_sha256": None}, "unknown"),
    ],
)
def test_the_version_is_that_of_the_code_that_ran(code, version):
    assert archive.crate.software_version(code) == version


def test_the_library_itself_reads_the_description(tmp_path):
    from rocrate.rocrate import ROCrate

    folder = runs.run(tmp_path / "results", "a run of ü")
    (folder / "configs" / "50% #1.yaml").write_text("a: 1\n")
    chosen = contents.of_run(folder)
    sized = {item.name: contents.digest(item.path) for item in chosen.items}
    top = tmp_path / "top"
    shutil.copytree(folder, top / names.RESULTS / folder.name)
    (top / names.SUMS_FILE).write_text("")
    (top / names.CRATE_FILE).write_text(archive.crate.describe(chosen, sized, None), encoding="utf-8")
    crate = ROCrate(top)
    assert crate.root_dataset["name"] == "Run a run of ü of the bounded-clock experiment"
    assert crate.root_dataset.get("license") is None
    files = [entity for entity in crate.data_entities if entity.type == "File"]
    assert len(files) == len(sized) + 1
    dataset = crate.get(f"{names.RESULTS}/a%20run%20of%20%C3%BC/")
    assert {part["name"] for part in dataset["hasPart"]} == {item.path.name for item in chosen.items}
