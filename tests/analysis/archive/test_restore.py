"""A run folder is made again from an archive, byte by byte, or it is not made at all and a line says why."""

from __future__ import annotations

import hashlib
import random
import tarfile
from typing import TYPE_CHECKING

import archived_runs as runs
import pytest

from analysis import pipeline
from analysis.archive import frames, names
from analysis.archive.restore import restore
from analysis.errors import ArchiveError, UsageError
from analysis.simulation.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 80


@pytest.fixture
def made(tmp_path):
    return runs.archived(runs.run(tmp_path / "results"), tmp_path / "one.tar.zst")


def refused(path: Path, results: Path, **more) -> str:
    """Return in which line an archive was refused; nothing is left of it."""
    before = sorted(results.iterdir()) if results.exists() else None
    with pytest.raises(ArchiveError) as caught:
        restore(path, results, **more)
    assert (sorted(results.iterdir()) if results.exists() else None) == before
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    assert caught.value.exit_code == 7
    return line.removeprefix(f"{path}: ")


def test_the_run_is_made_again_byte_by_byte(made, tmp_path):
    restored = restore(made.path, tmp_path / "again")
    assert restored.folders == (tmp_path / "again" / "by-hand",)
    assert runs.files_of(restored.folders[0]) == runs.files_of(tmp_path / "results" / "by-hand")
    assert restored.archived == made
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["by-hand"]


def test_analysing_a_restored_run_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_drawings", lambda _results: {})  # which are most of the time
    folder = simulate("honest", 3, 60, rate_hz=20.0, experiment="cited", results=tmp_path / "results")
    pipeline.run_all(folder)
    made = runs.archived(folder, tmp_path / "one.tar.zst")
    (again,) = restore(made.path, tmp_path / "again").folders
    before = runs.files_of(folder)
    for path in [*(again / "statistics").iterdir(), *(again / "report").iterdir()]:
        path.unlink()
    pipeline.run_all(again)
    assert len([name for name in before if name.startswith("statistics/")]) > 10
    assert runs.files_of(again) == before


@pytest.mark.parametrize("seed", [1, 2])
def test_a_changed_byte_is_found_wherever_it_is(made, tmp_path, seed):
    """Bits are flipped at both ends, where the frames and the seal begin, and at random places."""
    content, rng = made.path.read_bytes(), random.Random(seed)
    ends = [*range(24), *range(len(content) - frames.SEAL_BYTES - 8, len(content))]
    spoilt = tmp_path / "spoilt.tar.zst"
    for place in [*ends, *(rng.randrange(len(content)) for _ in range(FLIPS))]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        spoilt.write_bytes(changed)
        refused(spoilt, tmp_path / "again")


@pytest.mark.parametrize("name", ["raw/w1/events.csv", "manifest.json", "figures/some.png"])
def test_a_changed_file_is_named(tmp_path, name):
    content = runs.good_members() | {f"results/r/{name}": b"as it was"}
    sums = runs.sums_of(content)
    content[f"results/r/{name}"] = b"as it wos"
    members = [runs.plain(names.SUMS_FILE, sums.encode()), *(runs.plain(*entry) for entry in sorted(content.items()))]
    line = refused(runs.pack(tmp_path / "x.tar.zst", members), tmp_path / "again")
    assert line.startswith(f"results/r/{name}: expected sha256 ")


def test_an_archive_that_was_cut_off_is_refused_at_every_length(made, tmp_path):
    content, cut = made.path.read_bytes(), tmp_path / "cut.tar.zst"
    for length in {0, 1, 4, 100, len(content) // 2, *range(len(content) - frames.SEAL_BYTES - 2, len(content))}:
        cut.write_bytes(content[:length])
        line = refused(cut, tmp_path / "again")
        assert "cut off" in line or "another kind of file" in line
    cut.write_bytes(content + b"\0")
    assert "expected the seal" in refused(cut, tmp_path / "again")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00 gzip", b"text\n" * 100])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert "got another kind of file" in refused(tmp_path / "x", tmp_path / "again")


def test_frames_that_hold_no_tar_file_are_refused(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        writer = frames.FrameWriter(file)
        writer.write(b"no tar file" * 1000)
        writer.finish()
    assert "expected members of a tar file" in refused(tmp_path / "x", tmp_path / "again")


def _sealed(tmp_path: Path, *more: tuple[tarfile.TarInfo, bytes], **changes: bytes | None) -> Path:
    """Pack good members with more behind them; ``changes``: other content, None for a file that is gone."""
    content = runs.good_members()
    members = [runs.plain(names.SUMS_FILE, runs.sums_of(content).encode())]
    members += [runs.plain(name, data) for name, data in sorted(content.items()) if name not in changes]
    return runs.pack(tmp_path / "x.tar.zst", [*members, *more])


def test_what_is_packed_by_hand_is_accepted_if_it_is_in_order(tmp_path):
    assert len(restore(_sealed(tmp_path), tmp_path / "again").folders) == 1


def test_a_missing_file_is_named(tmp_path):
    path = _sealed(tmp_path, **{"results/r/raw/n/events.csv": None})
    assert refused(path, tmp_path / "again").startswith("results/r/raw/n/events.csv: expected the file, found none")


def test_a_file_too_many_is_named(tmp_path):
    line = refused(_sealed(tmp_path, runs.plain("results/r/raw/n/more.csv", b"1")), tmp_path / "again")
    assert line.startswith("'results/r/raw/n/more.csv': expected every file once")
    assert "a file too many" in line


def test_a_file_that_comes_twice_is_named(tmp_path):
    line = refused(_sealed(tmp_path, runs.plain("results/r/raw/n/events.csv", b"1,2\n")), tmp_path / "again")
    assert "got it twice" in line


def test_more_behind_the_end_is_refused(tmp_path):
    content = runs.good_members()
    members = [
        runs.plain(names.SUMS_FILE, runs.sums_of(content).encode()),
        *(runs.plain(*it) for it in content.items()),
    ]
    path = runs.pack(tmp_path / "x.tar.zst", members, behind=b"\0" * 10240 + b"hidden")
    assert "expected the archive's end behind" in refused(path, tmp_path / "again")


@pytest.mark.parametrize(
    "name",
    [
        "results/../../out.txt", "results/r/../../../out.txt", "/etc/out.txt", "results//r/out.txt", "./results/r/out",
        "results/r/a\\b", "results/r/a\nb", "results/.hidden/manifest.json", "results/latest/manifest.json", "out.txt",
        "results/out.txt", "results/r/" + "a" * 300, "results/r/\x1b[2J",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused_in_the_list_and_among_the_members(tmp_path, name):
    content = runs.good_members() | {name: b"got out"}
    listed = runs.pack(
        tmp_path / "listed.tar.zst",
        [runs.plain(names.SUMS_FILE, runs.sums_of(content).encode()), *(runs.plain(*it) for it in content.items())],
    )
    refused(listed, tmp_path / "again")
    refused(_sealed(tmp_path, runs.plain(name, b"got out")), tmp_path / "again")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("name", ["/etc/out.txt", "../out.txt", "y/results/r/out.txt"])
def test_a_member_beside_the_top_folder_is_refused(tmp_path, name):
    member = tarfile.TarInfo(name)
    refused(_sealed(tmp_path, (member, b"")), tmp_path / "again")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("x/results/r/raw/n/link")
    member.type, member.linkname = kind, "/etc/passwd"
    assert "got a link, a device or the like" in refused(_sealed(tmp_path, (member, b"")), tmp_path / "again")


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path):
    content = runs.good_members() | {"results/r/raw/n": b"file"}
    for order in (sorted(content.items()), sorted(content.items(), reverse=True)):
        members = [runs.plain(names.SUMS_FILE, runs.sums_of(content).encode()), *(runs.plain(*it) for it in order)]
        assert "of that name as well" in refused(runs.pack(tmp_path / "x", members), tmp_path / "again")


@pytest.mark.parametrize(
    ("sums", "told"),
    [
        (b"no checksums\n", "<name>', got 'no checksums'"),
        (b"\xff\xfe", "codec can't decode"),
        (b"", f"expected {names.CRATE_FILE} in it"),
        (2 * f"{'0' * 64}  {names.CRATE_FILE}\n".encode(), "twice"),
        (f"{'0' * 64}  {names.CRATE_FILE}\n".encode(), "expected a run folder, got none"),
        (f"{'0' * 64}  {names.CRATE_FILE}\n{'0' * 64}  results/r/x\n".encode(), "expected a run folder with manifest"),
    ],
)
def test_a_list_of_checksums_that_is_none_is_refused(tmp_path, sums, told):
    path = runs.pack(tmp_path / "x", [runs.plain(names.SUMS_FILE, sums)])
    assert told in refused(path, tmp_path / "again")


def test_the_list_of_checksums_comes_first(tmp_path):
    path = runs.pack(tmp_path / "x", [runs.plain(*it) for it in runs.good_members().items()])
    assert f"expected {names.SUMS_FILE} first" in refused(path, tmp_path / "again")
    assert "got nothing" in refused(runs.pack(tmp_path / "y", []), tmp_path / "again")


def test_a_folder_that_is_there_is_left_alone(made, tmp_path):
    results = tmp_path / "results"
    before = runs.files_of(results)
    with pytest.raises(UsageError, match=r"expected a new name, got one that has .*by-hand; nothing was restored"):
        restore(made.path, results)
    with pytest.raises(UsageError, match="expected a new name, got one that has"):
        restore(made.path, results, "by-hand")
    assert runs.files_of(results) == before
    assert [path.name for path in results.iterdir()] == ["by-hand"]
    beside = restore(made.path, results, "beside")
    assert (beside.folders, beside.renamed) == ((results / "beside",), "by-hand")


def test_what_is_no_file_is_usage(tmp_path):
    for path, told in ((tmp_path / "none", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(UsageError, match=f"expected an archive, found {told}") as caught:
            restore(path, tmp_path / "again")
        assert caught.value.exit_code == 2
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: expected a folder for results, got a file"):
        restore(tmp_path / "file", tmp_path / "file")
    with pytest.raises(UsageError, match="experiment name: expected"):
        restore(runs.archived(runs.run(tmp_path / "results"), tmp_path / "x").path, tmp_path / "again", "../up")


def test_a_restoration_that_was_interrupted_leaves_nothing(made, tmp_path, monkeypatch):
    def interrupted(_self):
        raise KeyboardInterrupt

    monkeypatch.setattr(frames.FrameReader, "demand_sealed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore(made.path, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_seal_is_the_hash_of_all_before_it(made):
    content = made.path.read_bytes()
    body, seal = content[: -frames.SEAL_BYTES], content[-frames.SEAL_BYTES :]
    assert seal == frames.SEAL_HEAD + hashlib.sha256(body).hexdigest().encode()
