"""Nothing at home is ever made worse, and nothing unverified is called verified."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from harness.errors import CollectionError, UnreachableError
from harness.results import RunFolder
from harness.run import assembly, collect
from harness.ssh import rsync
from harness.ssh.cluster import connect
from node_agent.contract.records import CHECKSUMS_FILE, events_columns, worker_columns
from tests.harness.test_results import manifest

if TYPE_CHECKING:
    from pathlib import Path

    from harness.configuration.cluster import ClusterConfig
    from harness.errors import HarnessError


def put(folder: Path, files: dict[str, str]) -> Path:
    """Make a node's folder with its checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    sums = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items())
    (folder / CHECKSUMS_FILE).write_text(sums)
    return folder


def test_a_longer_file_replaces_its_beginning(tmp_path: Path) -> None:
    home = put(tmp_path / "home", {"events.csv": "a\n1\n", "status.json": "{}"})
    collect.accept(put(tmp_path / "new", {"events.csv": "a\n1\n2\n", "status.json": "{1}"}), home)
    assert (home / "events.csv").read_text() == "a\n1\n2\n"
    collect.verify_checksums(home)


@pytest.mark.parametrize("files", [{"events.csv": "a\n"}, {"events.csv": "b\n1\n2\n"}, {"samples.csv": "x"}])
def test_a_set_that_lacks_anything_is_refused_and_changes_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    home = put(tmp_path / "home", {"events.csv": "a\n1\n"})
    with pytest.raises(CollectionError, match=r"events\.csv: the node lacks what was collected before"):
        collect.accept(put(tmp_path / "new", files), home)
    assert (home / "events.csv").read_text() == "a\n1\n"
    collect.verify_checksums(home)


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    folder = put(tmp_path / "node", {"events.csv": "a\n1\n"})
    (folder / "events.csv").write_text("a\n2\n")
    with pytest.raises(CollectionError, match=r"events\.csv: expected sha256"):
        collect.verify_checksums(folder)


def test_a_missing_file_and_missing_checksums_are_found(tmp_path: Path) -> None:
    folder = put(tmp_path / "node", {"events.csv": "a\n1\n"})
    (folder / "events.csv").unlink()
    with pytest.raises(CollectionError, match=r"events\.csv: expected it beside"):
        collect.verify_checksums(folder)
    (folder / CHECKSUMS_FILE).unlink()
    with pytest.raises(CollectionError, match="expected SHA256SUMS"):
        collect.verify_checksums(folder)


def test_a_node_that_was_not_collected_is_not_verified(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, manifest("x"))
    put(folder.raw("a"), {"events.csv": "e\n"})
    assert set(collect.verify(folder)) == {"b"}
    assert [node.checksums_verified for node in folder.manifest.nodes.values()] == [True, False]


@pytest.mark.parametrize(
    ("outcome", "error", "complete"),
    [
        ("ok", UnreachableError("b: away"), True),
        ("ok", CollectionError("b: damaged"), False),
        (None, UnreachableError("b: away"), False),
    ],
)
def test_a_node_out_of_reach_is_complete_where_its_agent_had_ended_and_all_is_at_home(
    tmp_path: Path, outcome: str | None, error: HarnessError, complete: bool
) -> None:
    folder = RunFolder(tmp_path, manifest("x"))
    put(folder.raw("b"), {"events.csv": "e\n"})
    folder.manifest.nodes["b"].status = {"outcome": outcome}
    collect.verify(folder)
    assert collect._whole(folder, "b", error) is complete
    folder.manifest.nodes["b"].checksums_verified = False
    assert not collect._whole(folder, "b", error)


def test_assembly_joins_the_uncertainties_and_leaves_torn_lines_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, manifest("x"))
    columns = events_columns("worker")
    row = ",".join(["1", "b", *([""] * (len(columns) - 2))])
    put(folder.raw("b"), {
        "events.csv": f"{','.join(columns)}\n{row}\n2,b,torn",
        "commit_wait.csv": "event_id,source,kind,delay_s,status,uncertainty_ms\n1,chronotick,remeasure,2.0,ok,0.5\n",
    })  # fmt: skip
    assembly.assemble(folder, [2.0, 4.0])
    lines = (tmp_path / "worker_b.csv").read_text().splitlines()
    assert lines[0] == ",".join(worker_columns([2.0, 4.0]))
    assert len(lines) == 2
    assert lines[1].endswith(",0.5,")
    assert not (tmp_path / "coordinator.csv").exists()


@pytest.mark.skipif(rsync.missing_here() is not None, reason="no rsync or ssh on this machine")
def test_rsync_and_sftp_bring_home_the_same_bytes(
    hosts: ClusterConfig, local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = local.homes["comp11"] / "runs-of-a-test" / "x"
    (folder / "inside").mkdir(parents=True)
    put(folder, {".hidden": "", "events.csv": "a\n" + "1234567\n" * 50_000, "run.key": "secret", "agent.log": "ä\n"})
    by_rsync, by_sftp = tmp_path / "by rsync", tmp_path / "sftp"
    by_rsync.mkdir()
    by_sftp.mkdir()
    with connect(hosts) as cluster:
        remote = cluster.plain["comp11"]
        assert remote.fetch("~/runs-of-a-test/x", by_rsync, ["run.key"]) == "rsync"
        monkeypatch.setattr(rsync, "missing_here", lambda: "no rsync here")
        assert remote.fetch("~/runs-of-a-test/x", by_sftp, ["run.key"]) == "sftp (no rsync here)"
    names = ["SHA256SUMS", "agent.log", "events.csv"]
    for folder in (by_rsync, by_sftp):
        assert sorted(path.name for path in folder.iterdir()) == names
    assert all((by_rsync / name).read_bytes() == (by_sftp / name).read_bytes() for name in names)
